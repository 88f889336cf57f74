"""Asking the index of contents' texts, as each engine has one: FTS5 on SQLite, pg_trgm on PostgreSQL.

What it lists is more than what contains the texts, never less. Of each condition one of its texts has to be there.
Texts are folded, and each has trigrams.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import orjson
import sqlalchemy
from sqlalchemy import (
    JSON,
    BigInteger,
    BindParameter,
    ColumnElement,
    Select,
    TextClause,
    bindparam,
    cast,
    column,
    func,
    literal,
    or_,
    text,
)
from sqlmodel import col

from storage.columns import Text
from storage.kept import Kind
from storage.models import Content
from storage.queries import search_texts

FEW = 200  # contents that are read more quickly than others are left out

Alternatives = tuple[str, ...]  # texts of which one has to be there

SEARCHED: ColumnElement[str] = Content.__table__.c.searched  # type: ignore[attr-defined]

# FTS5 does not ask for the rarest first, and what takes it long are trigrams that many have: of a text's, one that only
# FEW have leads to it alone.
_LED = """'(' || coalesce((
    SELECT value FROM json_each({trigrams})
    WHERE (SELECT count(*) FROM (SELECT 1 FROM content_search WHERE content_search MATCH value LIMIT {few})) < {few}
    LIMIT 1
), {all}) || ')'"""
_MATCHES = """
    SELECT count(*), json_group_array(rowid)
    FROM (SELECT rowid FROM content_search WHERE content_search MATCH {led} LIMIT {limit})
"""
_PLAN = "EXPLAIN (FORMAT JSON) SELECT FROM content WHERE {}"


class Asker(Protocol):
    """What statements are asked through: the database itself, which keeps them, or a session."""

    is_sqlite: bool

    async def rows(self, kind: Kind, given: Sequence[Any], fixed: Hashable = None) -> list[Any]: ...


async def listed(asker: Asker, sought: Sequence[Alternatives], domain_id: str | None, *, limit: int) -> Any:
    """The `number` of contents that have what is sought, of so many at most, and the `contents` as a JSON list."""
    if asker.is_sqlite:
        mark = [] if domain_id is None else [_quoted(search_texts.mark(domain_id))]
        trigrams = tuple(tuple(_trigrams(each, mark) for each in one) for one in sought)
        [found] = await asker.rows(_IN_FTS5, (trigrams, FEW, limit))
    else:
        patterns = tuple(tuple(map(_pattern, one)) for one in sought)
        [found] = await asker.rows(_IN_TRIGRAMS, (patterns, domain_id, limit))
    return found


async def expected(asker: Asker, sought: Sequence[Alternatives], domain_id: str | None) -> int:
    """How many contents of the domain have the texts by PostgreSQL's statistics, which look for none.

    Its index lists all that has a text before anything is read of it: no limit ends that.
    """
    mark = "" if domain_id is None else search_texts.mark(domain_id)
    patterns = tuple(tuple(f"{mark}{_pattern(each)}" for each in one) for one in sought)
    [(plan,)] = await asker.rows(_PLANNED, (patterns,))
    return int((orjson.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]["Plan Rows"])


def read(contents: str, *, is_sqlite: bool) -> Select[Any]:
    """The `content_id` of each of the `contents` that were listed."""
    if is_sqlite:
        each: ColumnElement[Any] = func.json_each(bound(contents)).table_valued("value").c.value
    else:
        listed = func.json_array_elements_text(cast(bound(contents), JSON)).table_valued("value")
        each = cast(listed.c.value, BigInteger)
    return sqlalchemy.select(each.label("content_id"))


def bound(text: Any) -> ColumnElement[str]:
    """A text as a parameter, unless it is one already: of a statement that is kept."""
    return text if isinstance(text, BindParameter) else literal(text, Text())


def _trigrams(sought: str, mark: list[str]) -> tuple[str, str]:
    """A text's trigrams as a JSON list, and what asks for all of them."""
    trigrams = list(map(_quoted, search_texts.trigrams(sought)))
    return orjson.dumps(trigrams).decode(), " AND ".join([*mark, *trigrams])


def _in_fts5(_fixed: None, sought: Sequence[Sequence[tuple[str, str]]], few: int, limit: int) -> Any:
    named = _Named()
    given = {"few": named(few), "limit": named(limit)}
    each_of = ([_LED.format(trigrams=named(each), all=named(every), **given) for each, every in one] for one in sought)
    led = " || ' AND ' || ".join(f"""'(' || {" || ' OR ' || ".join(one)} || ')'""" for one in each_of)
    return named.text(_MATCHES.format(led=led, **given)).columns(column("number"), column("contents"))


def _in_trigrams(_fixed: None, sought: Sequence[Alternatives], domain_id: str | None, limit: int) -> Any:
    conditions = [or_(*(SEARCHED.like(bound(each), escape="\\") for each in one)) for one in sought]
    if domain_id is not None:
        conditions.append(col(Content.domain_id) == domain_id)
    found = sqlalchemy.select(col(Content.content_id)).where(*conditions).limit(limit).subquery()
    listed = cast(func.coalesce(func.json_agg(found.c.content_id), text("'[]'")), Text)
    return sqlalchemy.select(func.count().label("number"), listed.label("contents")).select_from(found)


def _planned(_fixed: None, sought: Sequence[Alternatives]) -> Any:
    named = _Named()
    each_of = (" OR ".join(f"searched LIKE {named(each)}" for each in one) for one in sought)
    return named.text(_PLAN.format(" AND ".join(f"({one})" for one in each_of))).columns(column("plan"))


class _Named:
    """Names the parameters of a statement that is a text."""

    def __init__(self) -> None:
        self._parameters: list[BindParameter[Any]] = []

    def __call__(self, value: Any) -> str:
        parameter = value if isinstance(value, BindParameter) else bindparam(f"p{len(self._parameters)}", value)
        self._parameters.append(parameter)
        return f":{parameter.key}"

    def text(self, statement: str) -> TextClause:
        return text(statement).bindparams(*self._parameters)


def _quoted(trigram: str) -> str:
    return '"{}"'.format(trigram.replace('"', '""'))


def _pattern(sought: str) -> str:
    escaped = "".join(f"\\{character}" if character in "\\%_" else character for character in sought)
    return f"%{escaped}%"


_IN_FTS5 = Kind(_in_fts5)
_IN_TRIGRAMS = Kind(_in_trigrams)
_PLANNED = Kind(_planned)
