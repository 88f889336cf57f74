"""Narrowing what is asked of notifications down by an index of their contents' texts.

It narrows only, so answers are the same without it: the conditions of `storage.queries.operators` still hold of every
row. What is rare is read from what the index leads to. Else a list begins to be read without it, row by row in its
order: where that ends soon, because its rows do or because the page is full, the index is never asked. It is asked for
the rest.

It knows the index and when it helps; the statements that find notifications are `storage.notification_searches`'.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, ColumnElement, func, or_, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import selected
from storage.columns import Text
from storage.engine import EXAMPLES
from storage.kept import Kind
from storage.paging import Bounds
from storage.planning import FOR_MANY_ROWS
from storage.queries import fields, folding, operators, search_index, search_texts
from storage.queries.operators import Filter, Operator, Question
from storage.queries.search_index import SEARCHED, Found, Led
from storage.queries.search_samples import Alternatives, Asker, Examples

FIRST_ROWS = 250  # of a list that are read in any case: well below a millisecond
NEXT_ROWS = 5_000  # and of one that had something among those, but no whole page
MANY_FOUND = 5_000  # contents, beyond which the index is of no use
MAX_ALTERNATIVES = 32  # of one condition that the index is asked for
MAX_CONDITIONS = 4

TOPIC, WHOLE = "topic", {Operator.EQ, Operator.IN}
_SEARCHED = {(asked.field.name, asked.path) for asked in map(fields.NOTIFICATION.resolve, fields.NOTIFICATION.keyword)}

# What is searched of a content, without its domain's mark. A word, which has no line break, is in there if, and only
# if, it is in one of the fields.
_TEXTS: ColumnElement[str] = func.substr(SEARCHED, search_texts.BEGINNING + 1, type_=Text())


class InSession:
    """A session, whose statements are built each time, and all see one snapshot."""

    is_inline = False

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self.is_sqlite = session.get_bind().dialect.name == "sqlite"
        self.examples: Examples = session.info[EXAMPLES]

    async def rows(self, kind: Kind, given: Sequence[Any], fixed: Hashable = None) -> list[Any]:
        return await selected.fetch(self._session, kind.build(fixed, *given), kind.row)


@dataclass(frozen=True)
class Walked:
    """The beginning of a list, as far as it was read."""

    rows: list[Any]  # those of them that are found
    is_all: bool  # there are no more in the list


@dataclass(frozen=True)
class Texts:
    """What is asked of contents' texts, folded."""

    words: Alternatives  # a keyword's: of these, one has to be there, and nothing else is asked by them
    sought: Sequence[Alternatives]  # of each of these as well, but in which field, other conditions say
    topics: Sequence[Alternatives] = ()  # one of each of these is the topic, as other conditions say

    def conditions(self) -> list[ColumnElement[bool]]:
        """Those that are a matter of `searched`, which is far less to check than fields are."""
        asked = (one for one in (*self.sought, self.words) if one)
        return [or_(*(_has(_TEXTS, search_index.bound(each)) for each in one)) for one in asked]

    @property
    def indexed(self) -> list[Alternatives]:
        """Those of them that an index can be asked for."""
        asked = [one for one in (*self.sought, self.words, *self.topics) if 0 < len(one) <= MAX_ALTERNATIVES]
        return [one for one in asked if all(map(search_texts.trigrams, one))][:MAX_CONDITIONS]

    @property
    def are_topics(self) -> bool:
        """Whether whole topics are asked for and nothing else: most of those many contents have."""
        return not (self.words or self.sought)


def texts(question: Question, topics: Sequence[str] | None = None) -> Texts:
    """Those of which one has to be in contents that are asked for, for conditions that are a matter of texts.

    Raises Unaskable for a keyword; filters have to be ones that can be asked.
    """
    either = [_parts(each) or _topics(each) for each in question.filter_or]
    sought = [*map(_parts, question.filter), [text for one in either for text in one] if all(either) else []]
    whole = [*map(_topics, question.filter), topics or []]
    return Texts(_folded(operators.words(question.keyword)), _few(sought), _few(whole))


def _few(sought: Sequence[Sequence[str]]) -> Sequence[Alternatives]:
    few = [one for one in sought if 0 < len(one) <= MAX_ALTERNATIVES]
    return tuple(map(_folded, few[:MAX_CONDITIONS]))


def _folded(texts: Sequence[str]) -> Alternatives:
    return tuple(map(folding.fold, texts))


async def beginning(walk: Callable[[int], Awaitable[Walked]], bounds: Bounds) -> list[Any] | None:
    """The rows of a page, and one more, where the first ones of its list are enough to find them.

    `walk` reads so many of the list, from its beginning on, and finds those up to the page's end.
    """
    wanted = bounds.offset + bounds.limit + 1
    for rows in (FIRST_ROWS, NEXT_ROWS):
        walked = await walk(rows)
        if walked.is_all or len(walked.rows) >= wanted:
            return walked.rows[bounds.offset : wanted]
        if not walked.rows:
            break
    return None


async def contents(asker: Asker, led: Led, domain_id: str | None) -> Found | None:
    """The contents among which all is that is sought; None where the index is of no use."""
    found = await search_index.listed(asker, led, domain_id, limit=MANY_FOUND + 1)
    return None if found is None or found.number > MANY_FOUND else found


@asynccontextmanager
async def by_index(session: AsyncSession, texts: Texts) -> AsyncIterator[None]:
    """Meanwhile, PostgreSQL reads few rows."""
    is_set = session.get_bind().dialect.name == "postgresql" and bool(texts.indexed)
    if is_set:
        await _set(session, "off")
    yield
    if is_set:
        await _set(session, "on")


async def _set(session: AsyncSession, value: str) -> None:
    settings = ", ".join(f"set_config('{name}', '{value}', true)" for name in FOR_MANY_ROWS)
    await session.exec(text(f"SELECT {settings}"))  # type: ignore[call-overload]


def _parts(wanted: Filter) -> Sequence[str]:
    """The texts of which a content has to have one to be found by a filter; none where that is no matter of texts."""
    asked = fields.NOTIFICATION.resolve(wanted.key)
    if (asked.field.name, asked.path) not in _SEARCHED:
        return []
    if wanted.operator == Operator.CONTAIN:
        return [wanted.value]
    return wanted.value if wanted.operator == Operator.CONTAIN_IN else []


def _topics(wanted: Filter) -> Sequence[str]:
    """Those of which one has to be a content's topic to be found by a filter; none where that is no such matter."""
    if fields.NOTIFICATION.resolve(wanted.key).field.name != TOPIC or wanted.operator not in WHOLE:
        return []
    values = wanted.value if wanted.operator == Operator.IN else [wanted.value]
    return values if all(isinstance(each, str) for each in values) else []


class _has(FunctionElement[bool]):
    """Whether a text is a part of the first one: no pattern, and nothing that a database would ask an index for."""

    type = Boolean()
    inherit_cache = True


@compiles(_has, "sqlite")
def _sqlite_has(element: _has, compiler: SQLCompiler, **options: Any) -> str:
    return f"(instr({compiler.process(element.clauses, **options)}) > 0)"


@compiles(_has, "postgresql")
def _postgresql_has(element: _has, compiler: SQLCompiler, **options: Any) -> str:
    return f"(strpos({compiler.process(element.clauses, **options)}) > 0)"
