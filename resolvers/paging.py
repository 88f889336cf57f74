"""What a list call asks for, checked: how many rows, from where, in which direction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from resolvers import cursors
from resolvers.errors import InvalidArgument
from storage.paging import Bounds, Order, Page

DEFAULT_PAGE = 20
MAX_PAGE = 100

Row = TypeVar("Row")


class Window(NamedTuple):
    """The Relay arguments of a list, as they were given."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """A page of rows, the order that their cursors stand for, and a count that costs nothing until it is asked for."""

    page: Page[Row]
    order: Order
    count: Callable[[], Awaitable[int]]

    def cursor(self, row: Row) -> str:
        return cursors.for_row(row, self.order)


def bounds(window: Window, order: Order) -> Bounds:
    """Raises InvalidArgument."""
    if window.first is not None and window.last is not None:
        raise InvalidArgument("Ask for the first or for the last, not for both.", field="last")
    after, before = window.after, window.before
    return Bounds(
        limit=size(window.last, "last") if window.last is not None else size(window.first, "first"),
        after=None if after is None else cursors.list_position(after, order, field="after"),
        before=None if before is None else cursors.list_position(before, order, field="before"),
        backwards=window.last is not None,
    )


def size(asked: int | None, field: str) -> int:
    """How many rows a call asks for. Raises InvalidArgument."""
    rows = DEFAULT_PAGE if asked is None else asked
    if not 0 <= rows <= MAX_PAGE:
        raise InvalidArgument(f"A page has between 0 and {MAX_PAGE} rows.", field=field)
    return rows
