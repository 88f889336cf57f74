"""Keyset pages against a list that is sorted in memory: any order, both ways, from any row."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import cursors
from storage import inboxes, notification_lists, paging
from storage.engine import Database
from storage.models import Content, Notification, NotificationLevel, NotificationType
from storage.notification_filters import CREATED_AT, ID, LEVEL, TOPIC, TYPE, Filter
from storage.notification_lists import InScope
from storage.notifications import NotificationRow
from storage.paging import Bounds, Order, Page, Position
from storage.scope import Scope
from storage.selected import Selected
from tests.conftest import Clock

SCOPE = Scope("d", user_id="u")
ROWS = 60


@pytest.fixture
async def rows(database: Database, clock: Clock) -> list[Notification]:
    """Rows with many ties in everything but their ids."""
    chance = random.Random(7)

    async def work(session: AsyncSession) -> list[Notification]:
        [inbox_id] = [inbox.inbox_id for inbox in (await inboxes.add(session, {inboxes.of_user("d", "u"): 1})).values()]
        made = [
            Notification(
                notification_id=f"notification-{number:012x}",
                domain_id="d",
                user_id="u",
                inbox_id=inbox_id,
                seq=number,
                content=Content(
                    domain_id="d",
                    topic=chance.choice("aBc"),
                    message={},
                    notification_type=chance.choice(list(NotificationType)),
                    notification_level=chance.choice(list(NotificationLevel)),
                ),
                created_by="s",
                created_at=clock.now + timedelta(milliseconds=chance.randrange(4)),
            )
            for number in range(ROWS)
        ]
        session.add_all(made)
        return made

    return await database.write(work)


def _orders() -> list[Order]:
    one = [(key, ID) for key in (CREATED_AT, TOPIC, TYPE, LEVEL)]
    two = [(TOPIC, CREATED_AT, ID), (LEVEL, TYPE, ID)]
    return [
        tuple([replace(key, descending=way) for key, way in zip(keys, ways, strict=True)])
        for keys in one + two
        for ways in product((True, False), repeat=len(keys))
    ]


def _sorted(rows: Sequence[Notification], order: Order) -> list[str]:
    ordered = list(rows)
    for key in reversed(order):
        ordered.sort(key=key.value, reverse=key.descending)
    return [row.notification_id for row in ordered]


async def _in_a_session(database: Database, order: Order, bounds: Bounds) -> Page[NotificationRow]:
    async with database.read() as session:
        return await InScope(SCOPE, order).page(session, Filter(), bounds)


async def _kept(database: Database, order: Order, bounds: Bounds) -> Page[NotificationRow]:
    return await notification_lists.page_kept(database, SCOPE, Filter(), order, bounds)


async def _kept_as_text(database: Database, order: Order, bounds: Bounds) -> Page[NotificationRow]:
    """With no more columns than cursors need."""
    selected = Selected(frozenset({"notification_id"}), as_text=True)
    return await notification_lists.page_kept(database, SCOPE, Filter(), order, bounds, selected)


Ask = Callable[[Database, Order, Bounds], Awaitable[Page[NotificationRow]]]

every_way = pytest.mark.parametrize("ask", [_in_a_session, _kept, _kept_as_text])


@every_way
async def test_pages_forwards_and_backwards_are_the_sorted_list(
    database: Database, rows: list[Notification], ask: Ask
) -> None:
    for order in _orders():
        expected = _sorted(rows, order)
        assert await _walk(database, ask, order, backwards=False) == expected
        assert await _walk(database, ask, order, backwards=True) == expected


async def _walk(database: Database, ask: Ask, order: Order, *, backwards: bool) -> list[str]:
    """All rows, page by page, from one end to the other."""
    found: list[str] = []
    bounds = Bounds(limit=17, backwards=backwards)
    while True:
        page = await ask(database, order, bounds)
        ids = [row.notification_id for row in page.rows]
        found = ids + found if backwards else found + ids
        assert (page.has_next if backwards else page.has_previous) == (len(found) > len(ids))
        if not (page.has_previous if backwards else page.has_next):
            return found
        edge = _position(page.rows[0 if backwards else -1], order)
        bounds = Bounds(limit=17, before=edge, backwards=True) if backwards else Bounds(limit=17, after=edge)


def _position(row: NotificationRow, order: Order) -> Position:
    """As a cursor brings it back."""
    return cursors.list_position(cursors.for_row(row, order), order, field="after")


@every_way
async def test_rows_are_passed_over_by_their_number(database: Database, rows: list[Notification], ask: Ask) -> None:
    order = (CREATED_AT, ID)

    page = await ask(database, order, Bounds(limit=5, offset=7))

    assert [row.notification_id for row in page.rows] == _sorted(rows, order)[7:12]
    assert (page.has_next, page.has_previous) == (True, True)


async def test_what_lies_beyond_is_not_asked_where_nobody_wants_to_know(
    database: Database, rows: list[Notification]
) -> None:
    after = paging.position(rows[0], (CREATED_AT, ID))
    selected = Selected(beyond=False)

    page = await notification_lists.page_kept(
        database, SCOPE, Filter(), (CREATED_AT, ID), Bounds(limit=100, after=after), selected
    )

    assert (page.has_next, page.has_previous) == (False, None)


@every_way
async def test_a_page_between_two_positions_holds_only_what_lies_there(
    database: Database, rows: list[Notification], ask: Ask
) -> None:
    order = (CREATED_AT, ID)
    expected = _sorted(rows, order)
    by_id = {row.notification_id: row for row in rows}
    after, before = (paging.position(by_id[expected[index]], order) for index in (9, 20))

    page = await ask(database, order, Bounds(limit=50, after=after, before=before))

    assert [row.notification_id for row in page.rows] == expected[10:20]


@every_way
async def test_a_page_of_nothing_still_tells_whether_there_is_more(
    database: Database, rows: list[Notification], ask: Ask
) -> None:
    page = await ask(database, (CREATED_AT, ID), Bounds(limit=0))

    assert (page.rows, page.has_next, page.has_previous) == ([], True, False)


async def test_a_count_is_of_all_rows(database: Database, rows: list[Notification]) -> None:
    async with database.read() as session:
        assert await paging.count(session, select(Notification)) == ROWS
