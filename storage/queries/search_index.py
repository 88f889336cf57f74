"""Asking the index of contents' texts, as each engine has one: FTS5 on SQLite, pg_trgm on PostgreSQL.

What it lists is more than what contains the texts, never less. Of each condition one of its texts has to be there.
Texts are folded, and each has trigrams. What takes an index long are trigrams that many have, so that it is asked for
rare ones alone where a text has some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy
from sqlalchemy import (
    JSON,
    BigInteger,
    BindParameter,
    ColumnElement,
    Select,
    and_,
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
from storage.queries import search_samples, search_texts
from storage.queries.search_samples import Alternatives, Asker, Sample

FEW = 200  # contents that are read more quickly than others are left out
TRIED = 16  # trigrams at most that SQLite is asked of how many have them
FREQUENT = 20_000  # contents, which PostgreSQL's index takes some milliseconds to list
PATTERNS = 3  # of rare trigrams, that PostgreSQL is asked for: more lead to hardly less

# What PostgreSQL's is asked for: of each condition its texts, each with patterns of it.
Lookup = Sequence[Sequence[tuple[str, Sequence[str]]]]

SEARCHED: ColumnElement[str] = Content.__table__.c.searched  # type: ignore[attr-defined]

# Of each text, which is a list of trigrams, one that few have.
_RARE = """
    SELECT (
        SELECT each.value FROM json_each(sought.value) AS each
        WHERE (
            SELECT count(*) FROM (SELECT 1 FROM content_search WHERE content_search MATCH each.value LIMIT {few})
        ) < {few} LIMIT 1
    ) FROM json_each({texts}) AS sought
"""
_MATCHES = """
    SELECT count(*), json_group_array(rowid)
    FROM (SELECT rowid FROM content_search WHERE content_search MATCH {led} LIMIT {limit})
"""


@dataclass(frozen=True)
class Led:
    """What the index is asked for."""

    by: Any  # a query of FTS5's, or what is sought
    is_rare: bool  # few contents have it
    sample: Sample | None = None  # of what PostgreSQL's contents say


async def lead(asker: Asker, sought: Sequence[Alternatives], domain_id: str | None) -> Led:
    return await (_in_fts5 if asker.is_sqlite else _in_trigrams)(asker, sought, domain_id)


async def listed(asker: Asker, led: Led, domain_id: str | None, *, limit: int) -> Any:
    """The `number` of contents that it leads to, of so many at most, and the `contents` as a JSON list.

    None where PostgreSQL would list too many.
    """
    if led.sample is None:
        [found] = await asker.rows(_FEW_MATCHES if led.is_rare else _ALL_MATCHES, (led.by, limit))
        return found
    sought = lookup(led, domain_id)
    if sought is None:
        return None
    [found] = await asker.rows(_HAVING, (sought, domain_id, limit))
    return found


def lookup(led: Led, domain_id: str | None) -> Lookup | None:
    """What PostgreSQL is asked for; None where it would list too many contents: it ends at no limit."""
    assert led.sample is not None
    if not led.is_rare and led.sample.expected(led.by, domain_id) > FREQUENT:
        return None
    return tuple(tuple((each, _patterns(each, led.sample)) for each in one) for one in led.by)


def having(sought: Lookup, domain_id: str | None, limit: int) -> Select[Any]:
    """The `content_id` of contents that PostgreSQL's index leads to, of so many at most."""
    conditions = [or_(*(_in_patterns(*each) for each in one)) for one in sought]
    if domain_id is not None:
        conditions.append(col(Content.domain_id) == domain_id)
    return sqlalchemy.select(col(Content.content_id)).where(*conditions).limit(limit)


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


async def _in_fts5(asker: Asker, sought: Sequence[Alternatives], domain_id: str | None) -> Led:
    """By texts that have a trigram which few have, if any text of a condition will do; else by all conditions."""
    trigrams = [[list(map(_quoted, search_texts.trigrams(each))) for each in one] for one in sought]
    number = sum(map(len, trigrams))
    tried = [each[: TRIED // number] for one in trigrams for each in one]
    rows = await asker.rows(_TRIED, (orjson.dumps(tried).decode(), FEW // number))
    rare = iter([found for (found,) in rows])
    of_each = [[(each, next(rare)) for each in one] for one in trigrams]
    short = [one for one in of_each if all(found is not None for _, found in one)]
    mark = [] if domain_id is None else [_quoted(search_texts.mark(domain_id))]
    either = (
        " OR ".join(found or f"({' AND '.join([*mark, *each])})" for each, found in one) for one in short or of_each
    )
    return Led(" AND ".join(f"({one})" for one in either), is_rare=bool(short))


async def _in_trigrams(asker: Asker, sought: Sequence[Alternatives], domain_id: str | None) -> Led:
    sample = await search_samples.kept(asker)
    return Led(sought, sample.is_rare(sought, domain_id), sample)


def _patterns(sought: str, sample: Sample) -> tuple[str, ...]:
    """What has to be in a text. Of letters that are not ASCII, and what is no letter, the index may know no trigram."""
    known = [each for each in search_texts.trigrams(sought) if each.isascii() and each.isalnum()]
    return tuple(map(_pattern, sample.rare(known)[:PATTERNS] or [sought]))


def _tried(_fixed: None, texts: Any, few: Any) -> Any:
    return _spelled(_RARE, ("rare",), texts=texts, few=few)


def _matches(_fixed: None, led: Any, limit: Any) -> Any:
    return _spelled(_MATCHES, ("number", "contents"), led=led, limit=limit)


def _spelled(statement: str, columns: Sequence[str], **given: Any) -> Any:
    """A statement that is a text, with its parameters, which are values unless the statement is kept."""
    named = {name: each if isinstance(each, BindParameter) else bindparam(name, each) for name, each in given.items()}
    spelled = statement.format(**{name: f":{each.key}" for name, each in named.items()})
    return text(spelled).bindparams(*named.values()).columns(*map(column, columns))


def _having(_fixed: None, sought: Lookup, domain_id: str | None, limit: int) -> Any:
    found = having(sought, domain_id, limit).subquery()
    listed = cast(func.coalesce(func.json_agg(found.c.content_id), text("'[]'")), Text)
    return sqlalchemy.select(func.count().label("number"), listed.label("contents")).select_from(found)


def _in_patterns(sought: str, patterns: Sequence[str]) -> ColumnElement[bool]:
    found = [SEARCHED.like(bound(each)) for each in patterns]  # what escapes is a backslash by itself
    return and_(*found, func.strpos(SEARCHED, bound(sought)) > 0)


def _quoted(trigram: str) -> str:
    return '"{}"'.format(trigram.replace('"', '""'))


def _pattern(sought: str) -> str:
    escaped = "".join(f"\\{character}" if character in "\\%_" else character for character in sought)
    return f"%{escaped}%"


_TRIED = Kind(_tried, lambda *_given: "content_search")
_FEW_MATCHES = Kind(_matches, lambda *_given: "content_search")
_ALL_MATCHES = Kind(_matches)
_HAVING = Kind(_having)
