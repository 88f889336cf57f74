"""Keyset pages: any order, both ways, stable while rows come and go. Knows no table and no cursor's spelling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from storage.selected import Row, Selected, fetch

Each = TypeVar("Each")
Position = tuple[Any, ...]  # a row's values of the sort keys


@dataclass(frozen=True, eq=False)
class SortKey:
    """A column that is never null; the last key of an order is unique.

    Each is equal to itself alone: what is kept for an order is found again by the very same keys.
    """

    name: str  # as the API spells it; part of the cursors
    column: Any
    value: Callable[[Any], Any]  # the same of a row that was read, as text or as values
    descending: bool = True
    attribute: str = ""  # of the row, that `value` reads

    @cached_property
    def is_instant(self) -> bool:
        return self.column.type.python_type is datetime


Order = tuple[SortKey, ...]


class Bounds(NamedTuple):
    """The `limit` rows next to a position: those that follow `after`, or, backwards, those before `before`.

    Or, without a position, those behind the first `offset` rows.
    """

    limit: int
    after: Position | None = None
    before: Position | None = None
    backwards: bool = False
    offset: int = 0


class Page(NamedTuple, Generic[Each]):
    rows: list[Each]
    has_next: bool | None  # None: it was not asked
    has_previous: bool | None


def key(name: str, column: object, value: Callable[[Any], Any], *, descending: bool = True) -> SortKey:
    assert isinstance(column, InstrumentedAttribute)
    return SortKey(name=name, column=column, value=value, descending=descending, attribute=column.key)


def position(row: Any, order: Order) -> Position:
    return tuple([sort_key.value(row) for sort_key in order])


async def read(
    session: AsyncSession,
    statement: Select[Any],
    order: Order,
    bounds: Bounds,
    selected: Selected,
    *,
    kind: type[Row] = Row,
) -> Page[Any]:
    """The page of `statement`, which reads what is selected and has filters, but no order of its own."""

    async def beyond() -> list[Any]:
        return await fetch(session, outside(statement, order, bounds))

    rows = partial(fetch, session, inside(statement, order, bounds), kind)
    return await assembled(bounds, rows, beyond if selected.beyond else None)


async def assembled(
    bounds: Bounds, rows: Callable[[], Awaitable[list[Each]]], beyond: Callable[[], Awaitable[list[Any]]] | None
) -> Page[Each]:
    """The page within the bounds: of the `rows` that `inside` asks for, and `beyond` its edge what `outside` does.

    The latter is asked where there is an edge; it may be None where nobody asks for what it says.
    """
    found = await rows()
    more, shown = len(found) > bounds.limit, found[: bounds.limit]
    beyond_edge: bool | None = bounds.offset > 0
    if _edge(bounds) is not None:
        beyond_edge = None if beyond is None else bool(await beyond())
    if bounds.backwards:
        return Page(shown[::-1], has_next=beyond_edge, has_previous=more)
    return Page(shown, has_next=more, has_previous=beyond_edge)


def inside(statement: Select[Any], order: Order, bounds: Bounds) -> Select[Any]:
    """Of the rows of a statement, those of a page, and one more."""
    ordered = statement.where(*within(order, bounds)).order_by(*directions(order, backwards=bounds.backwards))
    return ordered.limit(bounds.limit + 1).offset(bounds.offset)


def outside(statement: Select[Any], order: Order, bounds: Bounds) -> Select[Any]:
    """One row beyond the edge that a page starts from. It is looked for in an order, so that an index leads to it."""
    edge = _edge(bounds)
    assert edge is not None
    beyond = statement.where(_beyond(order, edge, backwards=not bounds.backwards, inclusive=True))
    return beyond.order_by(*directions(order, backwards=not bounds.backwards)).limit(1)


async def count(session: AsyncSession, statement: SelectOfScalar[Any]) -> int:
    """How many rows `statement` selects."""
    return (await session.exec(select(func.count()).select_from(statement.subquery()))).scalar_one()  # type: ignore[call-overload, no-any-return]


def within(order: Order, bounds: Bounds) -> list[ColumnElement[bool]]:
    """What holds of the rows that a page may be read from."""
    after, before = bounds.after, bounds.before
    conditions = [] if after is None else [_beyond(order, after)]
    return conditions if before is None else [*conditions, _beyond(order, before, backwards=True)]


def directions(order: Order, *, backwards: bool) -> list[ColumnElement[Any]]:
    return [_direction(sort_key, backwards=backwards) for sort_key in order]


def _edge(bounds: Bounds) -> Position | None:
    return bounds.before if bounds.backwards else bounds.after


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
