"""The first rows of a list of notifications, read as far as a page needs what is found among them."""

from __future__ import annotations

from typing import Any

import sqlalchemy
from sqlalchemy import CTE, ColumnElement, Select, func, literal

from storage import kept_pages, paging
from storage.columns import Text, UtcDateTime
from storage.kept import Kind
from storage.listed import Listed
from storage.notification_filters import LED_BY
from storage.notifications import TABLE, NotificationRow, read_from, selection
from storage.paging import Bounds, Order
from storage.queries import moments, search
from storage.queries.search import Walked
from storage.queries.search_samples import Asker


async def read(asker: Asker, given: tuple[Any, ...], fixed: kept_pages.Fixed, rows: int) -> Walked:
    """So many rows of a list, of which those are found that are wanted, up to the end of a page."""
    first, rest = _FIRST if rows == search.FIRST_ROWS else _NEXT
    found = await asker.rows(first, (*given, rows, asker.is_sqlite), fixed)
    [behind] = found[:1] or await asker.rows(rest, (*given, rows), fixed)
    return Walked(found, is_all=not behind.more)


def _walked(fixed: kept_pages.Fixed, bounds: Bounds, listed: Listed, rows: int, is_sqlite: bool) -> Select[Any]:
    """Of the first rows of a list, those that are found, each with what `_more` says.

    SQLite would copy the first rows, look at each, and sort what it finds. It is told up to where to read instead, and
    ends with the page. PostgreSQL does so by itself, and expects no more rows than these.
    """
    order, selected = fixed
    behind = _behind(order, bounds, listed, rows).cte("behind")
    leading = [*listed.leading(), *paging.within(order, bounds)]
    directions = paging.directions(order, backwards=bounds.backwards)
    statement = selection(selected, order, listed.asked()).order_by(*directions).limit(bounds.offset + bounds.limit + 1)
    if is_sqlite:
        statement = statement.where(*leading, *paging.within(order, _up_to(behind, order, bounds)))
    else:
        first = sqlalchemy.select(TABLE).where(*leading).order_by(*directions).limit(rows)
        statement = read_from(first.subquery("first"), statement)
    return statement.add_columns(_number(behind))


def _more(fixed: kept_pages.Fixed, bounds: Bounds, listed: Listed, rows: int) -> Select[Any]:
    """Whether there are `more` than the first rows of a list: 1 or 0."""
    return sqlalchemy.select(_number(_behind(fixed[0], bounds, listed, rows).cte("behind")))


def _number(behind: CTE) -> ColumnElement[int]:
    return sqlalchemy.select(func.count()).select_from(behind).scalar_subquery().label("more")


def _behind(order: Order, bounds: Bounds, listed: Listed, rows: int) -> Select[Any]:
    """The position of the row behind the first ones of a list."""
    position = sqlalchemy.select(*(key.column.label(key.attribute) for key in order))
    position = position.where(*listed.leading(), *paging.within(order, bounds))
    return position.order_by(*paging.directions(order, backwards=bounds.backwards)).offset(rows).limit(1)


def _up_to(behind: CTE, order: Order, bounds: Bounds) -> Bounds:
    """Before that row; where there is none, before all that can be."""
    last = moments.EARLIEST if order[0].descending != bounds.backwards else moments.LATEST
    otherwise = literal(last, UtcDateTime()), literal("", Text())
    position = tuple(
        func.coalesce(sqlalchemy.select(column).scalar_subquery(), value)
        for column, value in zip(behind.c, otherwise, strict=True)
    )
    return Bounds(1, after=position) if bounds.backwards else Bounds(1, before=position)


def _led_by(_fixed: kept_pages.Fixed, bounds: Bounds, listed: Listed, *_walk: Any) -> str | None:
    return kept_pages.index(LED_BY, bounds._replace(offset=0), listed.scope, listed.narrowing())


_FIRST = Kind(_walked, _led_by, NotificationRow), Kind(_more, _led_by)
_NEXT = Kind(_walked, row=NotificationRow), Kind(_more)
