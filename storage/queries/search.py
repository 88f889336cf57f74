"""Narrowing what is asked of notifications down by an index of their contents' texts.

It narrows only, so answers are the same without it: the conditions of `storage.queries.operators` still hold of every
row. A list begins to be read without it, row by row in its order: where that ends soon, because its rows do or because
the page is full, the index is never asked. It is asked for the rest, and what it leads to is read instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy import Boolean, ColumnElement, Select, and_, case, func, literal, null, or_, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.columns import Text
from storage.models import Content, Notification
from storage.queries import fields, folding, search_index, search_texts
from storage.queries.operators import Filter, Operator, Question
from storage.queries.search_index import SEARCHED, Alternatives, Listing
from storage.scope import Scope

FIRST_ROWS = 250  # of a list that are read in any case: well below a millisecond
NEXT_ROWS = 5_000  # and of one that had something among those, but no whole page
MANY_FOUND = 5_000  # contents, beyond which the index is of no use
FREQUENT = 20_000  # contents, which PostgreSQL's index takes some milliseconds to list
MAX_ALTERNATIVES = 32  # of one condition that the index is asked for
MAX_CONDITIONS = 4

# What contains a text, or who has many rows, PostgreSQL does not foresee well: it would read through a table, or make
# room to remember many rows of which few are read.
_BY_INDEX = text("SELECT set_config('enable_seqscan', 'off', true), set_config('enable_memoize', 'off', true)")

_SEARCHED = {(asked.field.name, asked.path) for asked in map(fields.NOTIFICATION.resolve, fields.NOTIFICATION.keyword)}


@dataclass(frozen=True)
class Walk:
    """How a list is read without the index."""

    within: Sequence[ColumnElement[bool]]  # what leads to its rows
    asked: Sequence[ColumnElement[bool]]  # what is asked of each of them
    order: Sequence[ColumnElement[Any]]  # in which an index has them
    wanted: int | None = None  # the first of those that are found; None: all


def conditions(question: Question) -> list[ColumnElement[bool]]:
    """What holds of all contents that the question finds, and costs far less to check than what it asks.

    The question has to be one that can be asked.
    """
    return [or_(*(_has(SEARCHED, literal(folding.fold(each), Text())) for each in one)) for one in _sought(question)]


async def candidates(session: AsyncSession, question: Question, scope: Scope, walk: Walk) -> list[int] | None:
    """The contents among which all is that the question asks for; None where the walk is as good.

    The question has to be one that can be asked.
    """
    sought = [each for each in _sought(question) if all(map(search_texts.trigrams, each))]
    if not sought:
        return None
    index = search_index.listed(session, sought, scope.domain_id, limit=MANY_FOUND + 1)
    if session.get_bind().dialect.name == "sqlite":
        return await _candidates(session, index, walk)
    if await search_index.expected(session, sought, scope.domain_id) > FREQUENT:
        return None
    await session.exec(_BY_INDEX)  # type: ignore[call-overload]
    found = await _candidates(session, index, walk)
    if walk.wanted is None:
        await session.exec(text("SET LOCAL enable_seqscan TO DEFAULT"))  # type: ignore[call-overload]
    return found


async def _candidates(session: AsyncSession, index: Listing, walk: Walk) -> list[int] | None:
    for rows, enough in ((FIRST_ROWS, 1), (NEXT_ROWS, walk.wanted)):
        [(there, found, listed)] = await session.exec(_beginning(walk, rows, enough, index))  # type: ignore[call-overload]
        if there < rows or (walk.wanted is not None and found >= walk.wanted):
            return None
        if listed is not None:
            contents = search_index.read(listed)
            return contents if len(contents) <= MANY_FOUND else None
    raise AssertionError("unreachable")


def _beginning(walk: Walk, rows: int, enough: int | None, index: Listing) -> Select[Any]:
    """Of the walk's first rows how many there are, and how many are found; if not enough, what the index lists."""
    first = (
        sqlalchemy.select(case((and_(*walk.asked), 1), else_=0).label("is_found"))
        .select_from(Notification)
        .join(Content)
        .where(*walk.within)
        .order_by(*walk.order)
        .limit(rows)
        .subquery()
    )
    there, found = func.count(), func.count().filter(first.c.is_found == 1)
    is_asked = there == rows if walk.wanted is None else and_(there == rows, found < enough)
    return sqlalchemy.select(there, found, case((is_asked, index), else_=null())).select_from(first)


def _sought(question: Question) -> list[Alternatives]:
    """Texts of which one has to be in contents that are asked for, for conditions that are a matter of a few texts."""
    every = [_alternatives(each) for each in question.filter]
    either = [_alternatives(each) for each in question.filter_or]
    words = (question.keyword or "").split()
    conditions = [*every, [text for one in either for text in one] if all(either) else [], words]
    return [each for each in conditions if 0 < len(each) <= MAX_ALTERNATIVES][:MAX_CONDITIONS]


def _alternatives(wanted: Filter) -> Alternatives:
    """The texts of which a content has to have one to be found by a filter; none where that is no matter of texts."""
    asked = fields.NOTIFICATION.resolve(wanted.key)
    if (asked.field.name, asked.path) not in _SEARCHED:
        return []
    if wanted.operator == Operator.CONTAIN:
        return [wanted.value]
    return list(wanted.value) if wanted.operator == Operator.CONTAIN_IN else []


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
