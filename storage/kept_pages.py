"""Pages by kept statements, and which of them an index bounds, so that no more rows are looked at than are shown.

On SQLite those are read on the thread of the event loop. All others may read through whole inboxes: a reader's thread
does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any

from sqlalchemy import Select

from storage import paging
from storage.engine import Database
from storage.kept import Kind
from storage.paging import Bounds, Order, Page
from storage.selected import ROWS_ALONE, Row, Selected

# Fields of filters that narrow to a time, and, besides, the one that narrows by whatever is asked.
TIMES = frozenset({"created_after", "created_before"})
NO_EQUALITY = TIMES | {"question"}

Fixed = tuple[Order, Selected]


class KeptPages:
    """Those of one list.

    `statement` makes the list's own of an order, of what is selected, and of what is given; `led_by` says of an order,
    of bounds and of what is given which index leads to the rows of a page and to no others, if one does.
    """

    def __init__(
        self, statement: Callable[..., Select[Any]], led_by: Callable[..., str | None], row: type[Row]
    ) -> None:
        self._statement = statement
        self._led_by = led_by
        self._inside = Kind(self._page, self._index, row, by_values=True)
        self._outside = Kind(self._beyond, self._index, row, by_values=True)

    def read(
        self, database: Database, order: Order, selected: Selected, bounds: Bounds, *given: Any
    ) -> Awaitable[Page[Any]]:
        asked = bounds, *given
        rows = partial(database.rows, self._inside, asked, (order, selected))
        beyond = partial(database.rows, self._outside, asked, (order, ROWS_ALONE)) if selected.beyond else None
        return paging.assembled(bounds, rows, beyond)

    def _page(self, fixed: Fixed, bounds: Bounds, *given: Any) -> Select[Any]:
        return paging.inside(self._statement(*fixed, *given), fixed[0], bounds)

    def _beyond(self, fixed: Fixed, bounds: Bounds, *given: Any) -> Select[Any]:
        return paging.outside(self._statement(*fixed, *given), fixed[0], bounds)

    def _index(self, fixed: Fixed, bounds: Bounds, *given: Any) -> str | None:
        return self._led_by(fixed[0], bounds, *given)


def index(indexes: Mapping[frozenset[str], str], bounds: Bounds, *given: Any) -> str | None:
    """The one of `indexes` that leads to the rows of a page, by the names of the fields that narrow their list.

    None where none has just these, and where rows may have to be passed over: those before an offset, and those
    between two edges. An index is entered at one edge, of the page or of a time, and that may be the farther one.
    """
    narrowing = [each.name for value in given for each in fields(value) if getattr(value, each.name) is not None]
    names = [name for name in narrowing if name not in NO_EQUALITY]
    edges = sum(edge is not None for edge in (bounds.after, bounds.before)) + (not TIMES.isdisjoint(narrowing))
    if bounds.offset or edges > 1 or len(set(names)) < len(names):
        return None
    return indexes.get(frozenset(names))
