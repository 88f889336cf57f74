"""Asking the index of contents' texts, as each engine has one: FTS5 on SQLite, pg_trgm on PostgreSQL.

What it lists is more than what contains the texts, never less. Of each condition one of its texts has to be there.
Texts are folded, and each has trigrams. What takes an index long are trigrams that many have, so that it is asked for
rare ones alone where a text has some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

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

# Of each text, which is a list of trigrams, the contents that have one which few have. Without LIMIT -1, SQLite would
# list them a second time, to see that there are some.
_RARE = """
    SELECT (
        SELECT contents FROM (
            SELECT (
                SELECT json_group_array(rowid) FROM (
                    SELECT rowid FROM content_search WHERE content_search MATCH each.value LIMIT {few}
                ) HAVING count(*) < {few}
            ) AS contents FROM json_each(sought.value) AS each LIMIT -1
        ) WHERE contents IS NOT NULL LIMIT 1
    ) FROM json_each({texts}) AS sought
"""
_MATCHES = """
    SELECT count(*), json_group_array(rowid)
    FROM (SELECT rowid FROM content_search WHERE content_search MATCH {query} LIMIT {limit})
"""


class Found(NamedTuple):
    """Contents: how many, and which, as a JSON list."""

    number: int
    contents: str


@dataclass(frozen=True)
class Led:
    """What the index is asked for."""

    is_rare: bool  # few contents have it
    by: Any = None  # a query of FTS5's, or what is sought
    found: Found | None = None  # on SQLite, which lists contents to see that they are few
    sample: Sample | None = None  # of what PostgreSQL's contents say


async def lead(asker: Asker, sought: Sequence[Alternatives], domain_id: str | None) -> Led:
    return await (_in_fts5 if asker.is_sqlite else _in_trigrams)(asker, sought, domain_id)


async def listed(asker: Asker, led: Led, domain_id: str | None, *, limit: int) -> Found | None:
    """The contents that it leads to, of so many at most. None where PostgreSQL would list too many."""
    if led.found is not None:
        return led.found
    if led.sample is None:
        [found] = await asker.rows(_MATCHING, (led.by, limit))
        return Found(*found)
    sought = lookup(led, domain_id)
    if sought is None:
        return None
    [found] = await asker.rows(_HAVING, (sought, domain_id, limit))
    return Found(*found)


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
    contents = iter([found for (found,) in rows])
    of_each = [[next(contents) for _ in one] for one in trigrams]
    rare = [one for one in of_each if None not in one]
    if rare:
        return Led(is_rare=True, found=_in_all(rare))
    mark = [] if domain_id is None else [_quoted(search_texts.mark(domain_id))]
    either = (" OR ".join(f"({' AND '.join([*mark, *each])})" for each in one) for one in trigrams)
    return Led(is_rare=False, by=" AND ".join(f"({one})" for one in either))


def _in_all(conditions: Sequence[Sequence[str]]) -> Found:
    """The contents that are in one of the lists of each condition."""
    of_each = [set(chain.from_iterable(map(orjson.loads, lists))) for lists in conditions]
    found = sorted(set.intersection(*of_each))
    return Found(len(found), orjson.dumps(found).decode())


async def _in_trigrams(asker: Asker, sought: Sequence[Alternatives], domain_id: str | None) -> Led:
    sample = await search_samples.kept(asker)
    return Led(sample.is_rare(sought, domain_id), by=sought, sample=sample)


def _patterns(sought: str, sample: Sample) -> tuple[str, ...]:
    """What has to be in a text. Of letters that are not ASCII, and what is no letter, the index may know no trigram."""
    known = [each for each in search_texts.trigrams(sought) if each.isascii() and each.isalnum()]
    return tuple(map(_pattern, sample.rare(known)[:PATTERNS] or [sought]))


def _tried(_fixed: None, texts: Any, few: Any) -> Any:
    return _spelled(_RARE, ("contents",), texts=texts, few=few)


def _matches(_fixed: None, query: Any, limit: Any) -> Any:
    return _spelled(_MATCHES, ("number", "contents"), query=query, limit=limit)


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
_MATCHING = Kind(_matches)
_HAVING = Kind(_having)
