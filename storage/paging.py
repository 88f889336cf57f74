"""Keyset pages: any order, both ways, stable while rows come and go. Knows no table and no cursor's spelling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

Row = TypeVar("Row")
Position = tuple[Any, ...]  # a row's values of the sort keys


@dataclass(frozen=True)
class SortKey:
    """A column that is never null; the last key of an order is unique."""

    name: str  # as the API spells it; part of the cursors
    column: Any
    value: Callable[[Any], Any]  # the same of a row that was read
    descending: bool = True


Order = Sequence[SortKey]


@dataclass(frozen=True)
class Bounds:
    """The `limit` rows next to a position: those that follow `after`, or, backwards, those before `before`.

    Or, without a position, those behind the first `offset` rows.
    """

    limit: int
    after: Position | None = None
    before: Position | None = None
    backwards: bool = False
    offset: int = 0


@dataclass(frozen=True)
class Page(Generic[Row]):
    rows: list[Row]
    has_next: bool
    has_previous: bool


def key(name: str, column: object, value: Callable[[Any], Any], *, descending: bool = True) -> SortKey:
    assert isinstance(column, InstrumentedAttribute)
    return SortKey(name=name, column=column, value=value, descending=descending)


def position(row: Any, order: Order) -> Position:
    return tuple(sort_key.value(row) for sort_key in order)


async def read(session: AsyncSession, statement: SelectOfScalar[Row], order: Order, bounds: Bounds) -> Page[Row]:
    """The page of `statement` (which has filters, but no order of its own) within the bounds."""
    within = statement
    if bounds.after is not None:
        within = within.where(_beyond(order, bounds.after))
    if bounds.before is not None:
        within = within.where(_beyond(order, bounds.before, backwards=True))
    ordered = within.order_by(*(_direction(sort_key, backwards=bounds.backwards) for sort_key in order))
    rows = list(await session.exec(ordered.limit(bounds.limit + 1).offset(bounds.offset or None)))
    more, rows = len(rows) > bounds.limit, rows[: bounds.limit]
    if bounds.backwards:
        rows.reverse()
        edge, outside = bounds.before, bounds.before is not None and _beyond(order, bounds.before, inclusive=True)
    else:
        edge = bounds.after
        outside = edge is not None and _beyond(order, edge, backwards=True, inclusive=True)
    beyond_edge = bounds.offset > 0 or (
        edge is not None and await _exists(session, statement.where(outside), order, backwards=not bounds.backwards)
    )
    return Page(rows, has_next=beyond_edge, has_previous=more) if bounds.backwards else Page(rows, more, beyond_edge)


async def count(session: AsyncSession, statement: SelectOfScalar[Any]) -> int:
    """How many rows `statement` selects."""
    return (await session.exec(select(func.count()).select_from(statement.subquery()))).scalar_one()  # type: ignore[call-overload, no-any-return]


async def _exists(session: AsyncSession, statement: SelectOfScalar[Any], order: Order, *, backwards: bool) -> bool:
    """Whether there is a row. It is looked for in an order, so that an index leads to the first one."""
    ordered = statement.order_by(*(_direction(sort_key, backwards=backwards) for sort_key in order))
    return (await session.exec(ordered.limit(1))).first() is not None


def _direction(sort_key: SortKey, *, backwards: bool) -> ColumnElement[Any]:
    descending = sort_key.descending != backwards
    ordered: ColumnElement[Any] = sort_key.column.desc() if descending else sort_key.column.asc()
    return ordered


def _beyond(
    order: Order, position: Position, *, backwards: bool = False, inclusive: bool = False
) -> ColumnElement[bool]:
    """The rows after the position in this order (before it, when backwards)."""
    if _one_way(order):
        return _compare_as_row(order, position, backwards=backwards, inclusive=inclusive)
    here = and_(*(sort_key.column == value for sort_key, value in zip(order, position, strict=True)))
    strictly = _compare_by_key(order, position, backwards)
    return or_(strictly, here) if inclusive else strictly


def _one_way(order: Order) -> bool:
    return len({sort_key.descending for sort_key in order}) == 1


def _compare_as_row(order: Order, position: Position, *, backwards: bool, inclusive: bool) -> ColumnElement[bool]:
    # One row-value comparison, which both engines answer from a composite index.
    columns = tuple_(*(sort_key.column for sort_key in order))
    values = tuple_(*position, types=[sort_key.column.type for sort_key in order])
    if order[0].descending != backwards:
        return columns <= values if inclusive else columns < values
    return columns >= values if inclusive else columns > values


def _compare_by_key(order: Order, position: Position, backwards: bool) -> ColumnElement[bool]:
    alternatives = []
    for index, sort_key in enumerate(order):
        equal = [earlier.column == value for earlier, value in zip(order[:index], position, strict=False)]
        value = position[index]
        beyond = sort_key.column < value if sort_key.descending != backwards else sort_key.column > value
        alternatives.append(and_(*equal, beyond))
    return or_(*alternatives)
