"""Keyset pages against a list that is sorted in memory: any order, both ways, from any row."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import product

import pytest
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import inboxes, notifications, paging
from storage.engine import Database
from storage.models import Content, Notification, NotificationLevel, NotificationType
from storage.notifications import CREATED_AT, ID, LEVEL, TOPIC, TYPE, Filter
from storage.paging import Bounds, Order
from storage.scope import Scope
from tests.conftest import Clock

SCOPE = Scope("d", user_id="u")
ROWS = 60


@pytest.fixture
async def rows(database: Database, clock: Clock) -> list[Notification]:
    """Rows with many ties in everything but their ids."""
    chance = random.Random(7)

    async def work(session: AsyncSession) -> list[Notification]:
        inbox = (await inboxes.add_one_to_each(session, [inboxes.of_user("d", "u")])).popitem()[1]
        made = [
            Notification(
                notification_id=f"notification-{number:012x}",
                domain_id="d",
                user_id="u",
                inbox=inbox,
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
        [paging.SortKey(key.name, key.column, key.value, way) for key, way in zip(keys, ways, strict=True)]
        for keys in one + two
        for ways in product((True, False), repeat=len(keys))
    ]


def _sorted(rows: Sequence[Notification], order: Order) -> list[str]:
    ordered = list(rows)
    for key in reversed(order):
        ordered.sort(key=key.value, reverse=key.descending)
    return [row.notification_id for row in ordered]


async def test_pages_forwards_and_backwards_are_the_sorted_list(database: Database, rows: list[Notification]) -> None:
    for order in _orders():
        expected = _sorted(rows, order)
        assert await _walk(database, order, backwards=False) == expected
        assert await _walk(database, order, backwards=True) == expected


async def _walk(database: Database, order: Order, *, backwards: bool) -> list[str]:
    """All rows, page by page, from one end to the other."""
    found: list[str] = []
    bounds = Bounds(limit=17, backwards=backwards)
    async with database.read() as session:
        while True:
            page = await notifications.page(session, SCOPE, Filter(), order, bounds)
            ids = [row.notification_id for row in page.rows]
            found = ids + found if backwards else found + ids
            assert (page.has_next if backwards else page.has_previous) == (len(found) > len(ids))
            if not (page.has_previous if backwards else page.has_next):
                return found
            edge = paging.position(page.rows[0 if backwards else -1], order)
            bounds = Bounds(limit=17, before=edge, backwards=True) if backwards else Bounds(limit=17, after=edge)


async def test_a_page_between_two_positions_holds_only_what_lies_there(
    database: Database, rows: list[Notification]
) -> None:
    order = [CREATED_AT, ID]
    expected = _sorted(rows, order)
    by_id = {row.notification_id: row for row in rows}
    after, before = (paging.position(by_id[expected[index]], order) for index in (9, 20))

    async with database.read() as session:
        page = await notifications.page(session, SCOPE, Filter(), order, Bounds(limit=50, after=after, before=before))

    assert [row.notification_id for row in page.rows] == expected[10:20]


async def test_a_page_of_nothing_still_tells_whether_there_is_more(
    database: Database, rows: list[Notification]
) -> None:
    async with database.read() as session:
        page = await notifications.page(session, SCOPE, Filter(), [CREATED_AT, ID], Bounds(limit=0))

    assert (page.rows, page.has_next, page.has_previous) == ([], True, False)


async def test_a_count_is_of_all_rows(database: Database, rows: list[Notification]) -> None:
    async with database.read() as session:
        assert await paging.count(session, select(Notification)) == ROWS
