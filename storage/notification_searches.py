"""Pages and counts of notifications that say what is sought: by an index of texts, or through their list.

Where nothing is sought, they are lists like others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, CompoundSelect, FromClause, Select, func, true, union_all
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from storage import inboxes, kept_pages, notification_beginnings, paging, places
from storage.dialects import checked
from storage.kept import Kind
from storage.listed import Listed
from storage.models import Content, Inbox, Notification
from storage.notification_filters import Filter, is_indexed
from storage.notifications import SAID, TABLE, NotificationRow, read_from, selection, within
from storage.paging import Bounds, Order, Page
from storage.queries import search, search_index
from storage.queries.search import InSession
from storage.queries.search_index import Found, Led, Lookup
from storage.queries.search_samples import Asker
from storage.scope import Scope
from storage.selected import ROWS_ALONE, Selected

ROWS_A_CONTENT = 4  # of an inbox are read in the time that one of a content takes to be looked up


async def page(asker: Asker, listed: Listed, order: Order, bounds: Bounds, selected: Selected) -> Page[NotificationRow]:
    fixed = tuple(order)
    way = await _way(asker, listed, bounds, (fixed, selected))

    async def rows() -> list[NotificationRow]:
        return await asker.rows(way.inside, way.given, (fixed, selected)) if way.rows is None else way.rows

    async def beyond() -> list[NotificationRow]:
        return await asker.rows(way.outside, way.given, (fixed, ROWS_ALONE))

    return await paging.assembled(bounds, rows, beyond if selected.beyond else None)


async def matching(session: AsyncSession, scope: Scope, wanted: Filter) -> SelectOfScalar[Notification]:
    """All that a list has, without what a list shows of them."""
    listed, asker = Listed.of(scope, wanted), InSession(session)
    async with search.by_index(session, listed.texts):
        found = await _contents(asker, listed)
    every = [*within(scope, is_led=found is None), *listed.asked()]
    if found is not None:
        contents = search_index.read(found.contents, is_sqlite=asker.is_sqlite)
        every.append(col(Notification.content_id).in_(contents))
    return select(Notification).join(Content, SAID).where(*every)


@dataclass(frozen=True)
class _Way:
    """What reads the rows of a page, and whether there are rows beyond it."""

    inside: Kind
    outside: Kind
    given: tuple[Any, ...]
    rows: list[NotificationRow] | None = None  # the page's, where they have been read


async def _way(asker: Asker, listed: Listed, bounds: Bounds, fixed: kept_pages.Fixed) -> _Way:
    """By the first rows of the list, by the index of texts, or, where neither helps, through the list."""
    through = _Way(*_THROUGH, (bounds, listed))
    if listed.wanted.notification_ids is not None:
        return through
    texts = listed.texts
    led = await _led(asker, listed) if texts.indexed and not texts.are_topics else None
    first = None if led is not None and led.is_rare else await _first(asker, through, fixed)
    if first is not None:
        return replace(through, rows=first)
    if not texts.indexed:
        return through
    led = led or await _led(asker, listed)
    if not (led.is_rare or is_indexed(fixed[0]) or await _is_long(asker, listed)):
        return through
    return await (_listed_first if asker.is_sqlite else _looked_up)(asker, led, through, fixed) or through


async def _first(asker: Asker, through: _Way, fixed: kept_pages.Fixed) -> list[NotificationRow] | None:
    """The rows of a page, where the first ones of the list are enough to find them, and are worth a try."""
    bounds, listed = through.given
    if not is_indexed(fixed[0]) or not (listed.texts.indexed or asker.is_inline):
        return None
    return await search.beginning(partial(notification_beginnings.read, asker, through.given, fixed), bounds)


async def _listed_first(asker: Asker, led: Led, through: _Way, _fixed: kept_pages.Fixed) -> _Way | None:
    """On SQLite, where two statements cost no more than one."""
    bounds, listed = through.given
    found = await search.contents(asker, led, listed.scope.domain_id)
    return None if found is None else _Way(*(_RARE if led.is_rare else _FOUND), (bounds, listed, found))


async def _looked_up(asker: Asker, led: Led, through: _Way, fixed: kept_pages.Fixed) -> _Way | None:
    """On PostgreSQL, which is not waited for twice: the contents and the page by one statement."""
    bounds, listed = through.given
    lookup, limit = search_index.lookup(led, listed.scope.domain_id), search.MANY_FOUND + 1
    if lookup is None:
        return None
    given = (bounds, listed, lookup, limit)
    rows = await asker.rows(_LOOKED_UP[0], given, fixed)
    return _Way(*_LOOKED_UP, given, [row for row in rows if row.position]) if rows[0].number < limit else None


async def _contents(asker: Asker, listed: Listed) -> Found | None:
    """What the index of texts leads to, where that is rare, or there are more rows than are read in any case."""
    texts = listed.texts
    if not texts.indexed or (texts.are_topics and not await _is_long(asker, listed)):
        return None
    led = await _led(asker, listed)
    is_worth_it = led.is_rare or texts.are_topics or await _is_long(asker, listed)
    return await search.contents(asker, led, listed.scope.domain_id) if is_worth_it else None


async def _led(asker: Asker, listed: Listed) -> Led:
    return await search_index.lead(asker, listed.texts.indexed, listed.scope.domain_id)


async def _is_long(asker: Asker, listed: Listed) -> bool:
    [(rows,)] = await asker.rows(_COUNTED, (listed, search.FIRST_ROWS))
    return bool(rows >= search.FIRST_ROWS)


def _inside(fixed: kept_pages.Fixed, bounds: Bounds, listed: Listed) -> Select[Any]:
    return _through(paging.inside, fixed, bounds, listed)


def _outside(fixed: kept_pages.Fixed, bounds: Bounds, listed: Listed) -> Select[Any]:
    return _through(paging.outside, fixed, bounds, listed)


def _through(part: Callable[..., Select[Any]], fixed: kept_pages.Fixed, bounds: Bounds, listed: Listed) -> Select[Any]:
    """Rows that are named are read before it is asked whose they are: an inbox may have more than are ever named."""
    named, wanted = listed.wanted.notification_ids, replace(listed.wanted, notification_ids=None)
    searched = _searched(fixed, replace(listed, wanted=wanted), within(listed.scope))
    statement = part(searched, fixed[0], bounds)
    if named is None:
        return statement
    rows = sqlalchemy.select(TABLE).where(TABLE.c.notification_id.in_(named)).offset(0)
    return read_from(rows.subquery("named"), statement)


def _found_inside(fixed: kept_pages.Fixed, bounds: Bounds, listed: Listed, found: Found) -> Select[Any]:
    page = paging.inside(_searched(fixed, listed), fixed[0], bounds)
    return read_from(_of_listed(listed, found), page)


def _found_outside(fixed: kept_pages.Fixed, bounds: Bounds, listed: Listed, found: Found) -> Select[Any]:
    beyond = paging.outside(_searched(fixed, listed), fixed[0], bounds)
    return read_from(_of_listed(listed, found), beyond)


def _looked_up_inside(
    fixed: kept_pages.Fixed, bounds: Bounds, listed: Listed, lookup: Lookup, limit: int
) -> Select[Any]:
    """Each row with its `position` in the page, and the `number` of contents that were found, `limit` at most.

    Where that is reached, or the page is empty, there is one row without a position.
    """
    them = search_index.having(lookup, listed.scope.domain_id, limit).cte("them")
    counted = sqlalchemy.select(func.count().label("number")).select_from(them).subquery("counted")
    directions = paging.directions(fixed[0], backwards=bounds.backwards)
    position = func.row_number().over(order_by=directions).label("position")
    statement = paging.inside(_searched(fixed, listed).add_columns(position), fixed[0], bounds)
    page = read_from(_of_each(listed, them), statement).where(counted.c.number < limit).lateral("page")
    rows = sqlalchemy.select(*page.c, counted.c.number).select_from(counted.outerjoin(page, true()))
    return rows.order_by(page.c.position)


def _looked_up_outside(
    fixed: kept_pages.Fixed, bounds: Bounds, listed: Listed, lookup: Lookup, limit: int
) -> Select[Any]:
    them = search_index.having(lookup, listed.scope.domain_id, limit).subquery("them")
    return read_from(_of_each(listed, them), paging.outside(_searched(fixed, listed), fixed[0], bounds))


def _found_led_by(_fixed: kept_pages.Fixed, _bounds: Bounds, listed: Listed, *_found: Any) -> str | None:
    """Of few contents, of which a user has a row each."""
    return None if listed.scope.user_id is None else "notification_by_content"


def _of_listed(listed: Listed, found: Found) -> FromClause:
    """The rows of a list that have one of these contents, which SQLite reads as JSON."""
    contents = search_index.read(found.contents, is_sqlite=True)
    if listed.scope.user_id is None:
        them = [TABLE.c.content_id.in_(contents), *listed.leading(is_led=False)]
    else:
        them = [TABLE.c.place.in_(_places(listed.scope, contents, number=found.number))]
    return sqlalchemy.select(TABLE).where(*them).subquery("found")


def _places(scope: Scope, contents: Select[Any], *, number: int) -> CompoundSelect[Any]:
    """Those in a user's inbox that have one of so many contents.

    The rows of an inbox lie together, and those of contents far from each other. So an inbox that has but a few for
    each content is read through. How many it has it says itself: one of the two parts ends there.
    """
    assert scope.domain_id is not None
    assert scope.user_id is not None
    inbox = sqlalchemy.select(TABLE.c.place).select_from(Inbox)
    inbox = inbox.where(inboxes.is_one_of([inboxes.of_user(scope.domain_id, scope.user_id)]))
    rows, few = col(Inbox.total_count), number * ROWS_A_CONTENT
    read_through = inbox.join(TABLE, places.within(TABLE.c.place, Inbox.inbox_id))
    read_through = read_through.where(rows <= few, checked(TABLE.c.content_id).in_(contents))
    looked_up = inbox.join(TABLE, TABLE.c.user_id == Inbox.owner_id)
    looked_up = looked_up.where(
        rows > few, TABLE.c.content_id.in_(contents), places.within(checked(TABLE.c.place), Inbox.inbox_id)
    )
    return union_all(read_through, looked_up)


def _of_each(listed: Listed, them: FromClause) -> FromClause:
    """The rows of a list that have one of these contents.

    PostgreSQL is to look for them content by content: who has how many rows it does not know of kept statements.
    """
    of_content = col(Notification.content_id) == them.c.content_id
    rows = sqlalchemy.select(TABLE).where(of_content, *listed.leading(is_led=False)).offset(0).lateral("of_one")
    return sqlalchemy.select(rows).select_from(them).join(rows, true()).subquery("found")


def _counted(_fixed: None, listed: Listed, rows: int) -> Select[Any]:
    first = sqlalchemy.select(TABLE.c.notification_id).where(*listed.leading()).limit(rows)
    return sqlalchemy.select(func.count().label("rows")).select_from(first.subquery())


def _searched(fixed: kept_pages.Fixed, listed: Listed, scope: Sequence[ColumnElement[bool]] = ()) -> Select[Any]:
    order, selected = fixed
    return selection(selected, order, [*scope, *listed.asked()])


_THROUGH = (
    Kind(_inside, row=NotificationRow, by_values=True),
    Kind(_outside, row=NotificationRow, by_values=True),
)
_FOUND = Kind(_found_inside, row=NotificationRow), Kind(_found_outside, row=NotificationRow)
_RARE = replace(_FOUND[0], led_by=_found_led_by), replace(_FOUND[1], led_by=_found_led_by)
_LOOKED_UP = Kind(_looked_up_inside, row=NotificationRow), Kind(_looked_up_outside, row=NotificationRow)
_COUNTED = Kind(_counted)
