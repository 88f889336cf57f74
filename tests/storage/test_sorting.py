"""Orders by any field and any path: pages both ways are the list as it is sorted in memory, while rows come and go."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import col, delete

from resolvers import cursors
from storage.engine import Database
from storage.models import Notification, NotificationType
from storage.notification_filters import Filter
from storage.notification_lists import InScope
from storage.notifications import NotificationRow
from storage.paging import Bounds, Order, Page
from storage.queries import fields, sorting
from storage.queries.operators import Unaskable
from storage.queries.sorting import Sort
from storage.scope import Scope
from tests.storage.asked import add, number, store

NOW = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)
ROWS = 50
SIZE = 11  # of a page

IN_JSON = [
    *(None, True, False, {"b": 1}, {"b": "x"}, {"b": None}, {}, [], [{"b": 2}], "", "a", "B", "é", "10", "x" * 300),
    *(0, -0.0, -1, 1, 1.5, -1.5, 10, 2**53, 1e300, -1e300, 5e-324),
]
RANKS = {type(None): 0, int: 1, float: 1, str: 2, dict: 3, list: 4, bool: 5}


def _rows(chance: random.Random, count: int) -> list[dict[str, Any]]:
    return [
        {
            "topic": chance.choice("aBé"),
            "message": {"a": chance.choice(IN_JSON)} if chance.random() < 0.9 else {},
            "isRead": chance.random() < 0.5,
            "readAt": chance.choice([None, NOW, NOW + timedelta(milliseconds=1), datetime(1970, 1, 1, tzinfo=UTC)]),
            "userId": chance.choice([None, "", "u", "v"]),
            "createdAt": NOW + timedelta(milliseconds=chance.randrange(3)),
            "notificationType": chance.choice(list(NotificationType)),
        }
        for _ in range(count)
    ]


SORTS = [
    [Sort(key, descending)]
    for key in ("topic", "isRead", "read_at", "userId", "createdAt", "notificationType", "message.a", "message.a.b")
    for descending in (False, True)
] + [
    [Sort("userId"), Sort("message.a", descending=True), Sort("readAt")],
    [Sort("message.a.b", descending=True), Sort("isRead"), Sort("topic", descending=True)],
    [Sort("message"), Sort("notificationId", descending=True)],
]


def _expected(rows: Sequence[dict[str, Any]], sort: Sequence[Sort]) -> list[int]:
    """The rows' numbers, which sort as their ids do."""
    ordered = sorted(range(len(rows)), reverse=sort[-1].descending)
    for each in reversed(sort):
        if each.key != "notificationId":
            ordered.sort(key=lambda number: _place(rows[number], each.key), reverse=each.descending)
    return ordered


def _place(row: dict[str, Any], key: str) -> Any:
    value: Any = row
    name = {"read_at": "readAt"}.get(key, key)
    for segment in name.split("."):
        value = value.get(segment) if isinstance(value, dict) else None
    if isinstance(value, datetime):
        return 1, value.timestamp()
    comparable = value[:255] if isinstance(value, str) else value if isinstance(value, int | float) else 0
    return RANKS.get(type(value), 2), comparable


@pytest.mark.parametrize("backwards", [False, True])
async def test_pages_are_the_sorted_list(database: Database, backwards: bool) -> None:
    rows = _rows(random.Random(7), ROWS)
    scope = await store(database, rows)
    for sort in SORTS:
        order = InScope(scope).order(sort)
        page = await _page(database, scope, order, None, backwards=backwards)
        found = [number(row) for row in page.rows]
        while page.has_previous if backwards else page.has_next:
            edge = page.rows[0 if backwards else -1]
            page = await _page(database, scope, order, edge, backwards=backwards)
            assert page.has_next if backwards else page.has_previous
            numbers = [number(row) for row in page.rows]
            found = numbers + found if backwards else found + numbers

        assert found == _expected(rows, sort)


@settings(max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chance=st.randoms(use_true_random=False), sort=st.sampled_from(SORTS), size=st.integers(1, 4), data=st.data())
async def test_pages_are_stable_while_rows_come_and_go(
    database: Database, chance: random.Random, sort: list[Sort], size: int, data: st.DataObject
) -> None:
    """Each page has what lies beyond the row that the one before ended with, whatever has become of that row."""
    backwards = data.draw(st.booleans())
    rows = _rows(chance, data.draw(st.integers(1, 12)))  # all that there ever were
    scope = await store(database, rows)
    order = InScope(scope).order(sort)
    there, edge = set(range(len(rows))), None
    while (page := await _page(database, scope, order, edge, backwards=backwards, size=size)).rows:
        everything = _expected(rows, sort)[:: -1 if backwards else 1]
        start = 0 if edge is None else everything.index(number(edge)) + 1
        beyond = [each for each in everything[start:] if each in there]
        more, behind = len(beyond) > size, edge is not None and not there.isdisjoint(everything[:start])

        assert [number(row) for row in page.rows] == beyond[:size][:: -1 if backwards else 1]
        assert (page.has_next, page.has_previous) == ((behind, more) if backwards else (more, behind))
        edge = page.rows[0 if backwards else -1]
        gone = data.draw(st.sets(st.sampled_from(sorted(there)), max_size=4))
        come = _rows(chance, data.draw(st.integers(0, 2)) if len(rows) < 30 else 0)
        await _remove(database, scope, sorted(gone))
        await add(database, scope.domain_id or "", dict(enumerate(come, start=len(rows))))
        there = (there - gone) | set(range(len(rows), len(rows) + len(come)))
        rows = [*rows, *come]


async def test_rows_by_number_are_those_of_the_sorted_list(database: Database) -> None:
    rows = _rows(random.Random(9), ROWS)
    scope = await store(database, rows)
    order = InScope(scope).order(SORTS[-1])
    for offset, has_next in ((0, True), (SIZE, True), (ROWS - SIZE, False), (ROWS - 1, False), (ROWS, False)):
        async with database.read() as session:
            page = await InScope(scope, order).page(session, Filter(), Bounds(limit=SIZE, offset=offset))

        assert [number(row) for row in page.rows] == _expected(rows, SORTS[-1])[offset : offset + SIZE]
        assert (page.has_previous, page.has_next) == (offset > 0, has_next)


@pytest.mark.parametrize(
    ("sort", "field"),
    [
        ([Sort("nothing")], "keys.0.key"),
        ([Sort("topic"), Sort("topic.a")], "keys.1.key"),
        ([Sort("isRead"), Sort("is_read", descending=True)], "keys.1.key"),
        ([Sort("message.\0")], "keys.0.key"),
        ([Sort("topic"), Sort("message.\ud800")], "keys.1.key"),
        ([Sort(f"message.{number}") for number in range(9)], "keys.8"),
    ],
)
def test_what_cannot_be_sorted_by_is_told(sort: list[Sort], field: str) -> None:
    with pytest.raises(Unaskable) as refusal:
        InScope(Scope(None)).order(sort)

    assert refusal.value.field == field


def test_every_field_of_every_record_can_be_sorted_by() -> None:
    records = (fields.NOTIFICATION, fields.DELIVERY, fields.PROTOCOL, fields.PROJECT_CHANNEL, fields.USER_CHANNEL)
    for record in (*records, fields.QUOTA, fields.NOTIFICATION_USAGE):
        for key in record.fields:
            order = sorting.order(record, [Sort(key)], otherwise=(), unique=())
            assert [each.name.rstrip("?") for each in order] == [key] * len(order)


async def _page(
    database: Database, scope: Scope, order: Order, edge: NotificationRow | None, *, backwards: bool, size: int = SIZE
) -> Page[NotificationRow]:
    """The page beside a row, whose position goes through its cursor."""
    where = None if edge is None else cursors.list_position(cursors.for_row(edge, order), order, field="after")
    bounds = Bounds(
        limit=size, after=None if backwards else where, before=where if backwards else None, backwards=backwards
    )
    async with database.read() as session:
        return await InScope(scope, order).page(session, Filter(), bounds)


async def _remove(database: Database, scope: Scope, numbers: Sequence[int]) -> None:
    ids = [f"{scope.domain_id}-{each:04}" for each in numbers]
    await database.write(
        lambda session: session.exec(delete(Notification).where(col(Notification.notification_id).in_(ids)))
    )
