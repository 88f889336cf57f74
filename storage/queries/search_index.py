"""Asking the index of contents' texts, as each engine has one: FTS5 on SQLite, pg_trgm on PostgreSQL.

What it lists is more than what contains the texts, never less. Of each condition one of its texts has to be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import sqlalchemy
from sqlalchemy import ColumnElement, TextClause, func, or_, text
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.models import Content
from storage.queries import folding, search_texts

FEW = 200  # contents that are read more quickly than others are left out

Alternatives = list[str]  # texts of which one has to be there
Listing = ColumnElement[Any] | TextClause

SEARCHED: ColumnElement[str] = Content.__table__.c.searched  # type: ignore[attr-defined]

# FTS5 does not ask for the rarest first, and what takes it long are trigrams that many have: of a text's, one that only
# FEW have leads to it alone.
_LED = """'(' || coalesce((
    SELECT value FROM json_each(:trigrams_{number})
    WHERE (SELECT count(*) FROM (SELECT 1 FROM content_search WHERE content_search MATCH value LIMIT :few)) < :few
    LIMIT 1
), :all_{number}) || ')'"""
_MATCHES = """(
    SELECT json_group_array(rowid)
    FROM (SELECT rowid FROM content_search WHERE content_search MATCH {led} LIMIT :limit)
)"""


def listed(session: AsyncSession, sought: Sequence[Alternatives], domain_id: str | None, *, limit: int) -> Listing:
    """An expression of a list of contents, of this many at most; `read` reads it. Each text has trigrams."""
    if session.get_bind().dialect.name == "sqlite":
        return _in_fts5(sought, domain_id, limit)
    conditions = [or_(*(SEARCHED.like(_pattern(each), escape="\\") for each in one)) for one in sought]
    if domain_id is not None:
        conditions.append(col(Content.domain_id) == domain_id)
    return func.array(sqlalchemy.select(col(Content.content_id)).where(*conditions).limit(limit).scalar_subquery())


def read(listed: str | list[int]) -> list[int]:
    contents: list[int] = orjson.loads(listed) if isinstance(listed, str) else listed
    return contents


async def expected(session: AsyncSession, sought: Sequence[Alternatives], domain_id: str | None) -> int:
    """How many contents of the domain have the texts by PostgreSQL's statistics, which look for none.

    Its index lists all that has a text before anything is read of it: no limit ends that.
    """
    mark = _mark(domain_id)
    texts = [[f"{mark}{_pattern(each)}" for each in one] for one in sought]
    bound = {f"text_{i}_{j}": each for i, one in enumerate(texts) for j, each in enumerate(one)}
    each_of = (" OR ".join(f"searched LIKE :text_{i}_{j}" for j in range(len(one))) for i, one in enumerate(texts))
    explain = text(f"EXPLAIN (FORMAT JSON) SELECT FROM content WHERE ({') AND ('.join(each_of)})").bindparams(**bound)
    [(plans,)] = await session.exec(explain)  # type: ignore[call-overload]
    return int((orjson.loads(plans) if isinstance(plans, str) else plans)[0]["Plan"]["Plan Rows"])


def _in_fts5(sought: Sequence[Alternatives], domain_id: str | None, limit: int) -> TextClause:
    bound: dict[str, Any] = {"few": FEW, "limit": limit}
    conditions = []
    for one in sought:
        alternatives = []
        for each in one:
            number, trigrams = len(bound), list(map(_quoted, search_texts.trigrams(each)))
            everything = [_quoted(_mark(domain_id)), *trigrams] if domain_id is not None else trigrams
            bound |= {
                f"trigrams_{number}": orjson.dumps(trigrams).decode(),
                f"all_{number}": " AND ".join(everything),
            }
            alternatives.append(_LED.format(number=number))
        conditions.append(f"""'(' || {" || ' OR ' || ".join(alternatives)} || ')'""")
    return text(_MATCHES.format(led=" || ' AND ' || ".join(conditions))).bindparams(**bound)


def _mark(domain_id: str | None) -> str:
    return "" if domain_id is None else search_texts.mark(domain_id)


def _quoted(trigram: str) -> str:
    return '"{}"'.format(trigram.replace('"', '""'))


def _pattern(sought: str) -> str:
    escaped = "".join(f"\\{character}" if character in "\\%_" else character for character in folding.fold(sought))
    return f"%{escaped}%"
