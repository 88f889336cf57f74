"""Kept statements: one for each shape, the newest commit for each read, text as it is answered, lost connections."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import deliveries, inboxes, kept, notification_filters, notification_lists, notifications, reading
from storage.columns import UtcDateTime
from storage.engine import Database
from storage.errors import DatabaseUnavailable
from storage.models import Content, Delivery, Notification, NotificationLevel, NotificationType
from storage.notification_filters import CREATED_AT, ID
from storage.notifications import NotificationRow
from storage.paging import Bounds
from storage.scope import Scope
from storage.selected import ALL, Selected
from tests.conftest import Clock

ALICE = Scope("home", user_id="alice")
INBOX = inboxes.of_user("home", "alice")
MESSAGE = {"title": "Größe", "numbers": [1.5, -0.0, 1e300, 2**53, 10**18], "deep": {"a": [None, True, {}]}}
DEADLINE_S = 10

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


def _notification(number: int, at: datetime, inbox_id: int) -> Notification:
    content = Content(
        domain_id="home",
        topic="disk",
        message=MESSAGE,
        notification_type=NotificationType.ERROR,
        notification_level=NotificationLevel.LV2,
    )
    return Notification(
        notification_id=f"notification-{number:012x}",
        domain_id="home",
        user_id="alice",
        inbox_id=inbox_id,
        seq=number,
        content=content,
        created_by="backend",
        created_at=at,
        read_at=at if number % 2 else None,
        is_read=bool(number % 2),
    )


@pytest.fixture
async def said(database: Database, clock: Clock) -> list[str]:
    """Notifications to alice, the newest first."""

    async def work(session: AsyncSession) -> list[str]:
        counted = await inboxes.add(session, {INBOX: 5})
        rows = [_notification(n, clock.now + timedelta(seconds=n), counted[INBOX].inbox_id) for n in range(1, 6)]
        session.add_all(rows)
        return [row.notification_id for row in reversed(rows)]

    return await database.write(work)


async def _page(database: Database, selected: Selected = ALL, **wanted: Any) -> list[NotificationRow]:
    filter_ = notification_filters.Filter(**wanted)
    found = await notification_lists.page_kept(database, ALICE, filter_, (CREATED_AT, ID), Bounds(limit=20), selected)
    return found.rows


async def test_rows_of_values_have_what_the_models_have(database: Database, said: list[str]) -> None:
    async with database.read() as session:
        model = await notifications.find(session, said[0], ALICE)
    assert model is not None

    row = await notifications.find_kept(database, said[0], ALICE)

    assert row is not None
    for name in ("notification_id", "user_id", "is_read", "read_at", "created_at", "decisions", "inbox_id", "seq"):
        assert getattr(row, name) == getattr(model, name)
    for name in ("topic", "message", "notification_type", "notification_level"):
        assert getattr(row.content, name) == getattr(model.content, name)
    assert row.inbox is not None
    assert model.inbox is not None
    assert row.inbox.generation == model.inbox.generation
    assert type(row.notification_type) is NotificationType


async def test_rows_of_text_have_what_is_answered(database: Database, said: list[str]) -> None:
    names = frozenset({"message", "created_at", "read_at", "notification_type", "is_read", "seq", "topic"})

    row, *_ = await _page(database, Selected(names, as_text=True))

    assert row.message.encode() == orjson.dumps(MESSAGE)
    assert (row.created_at, row.read_at) == ("2026-01-31T17:12:45.990Z", "2026-01-31T17:12:45.990Z")
    assert (type(row.notification_type), row.notification_type) == (str, "ERROR")
    assert (row.is_read, row.seq, row.topic) == (True, 5, "disk")


async def test_a_row_has_nothing_that_was_not_selected(database: Database, said: list[str]) -> None:
    row, *_ = await _page(database, Selected(frozenset({"topic"}), cursors=False))

    assert tuple(row) == ("disk",)
    with pytest.raises(AttributeError):
        _ = row.message


async def test_positions_are_those_of_the_attributes(database: Database, said: list[str]) -> None:
    selected = Selected(frozenset({"topic", "is_read", "seq"}), as_text=True)

    row, *_ = await _page(database, selected)

    assert {name: row[at] for name, at in selected.positions.items()} == {
        name: getattr(row, name) for name in ("topic", "is_read", "seq")
    }


async def test_what_has_the_same_shape_shares_a_statement(database: Database, said: list[str]) -> None:
    made = _made(database)

    for year in (2020, 2021):
        assert len(await _page(database, created_after=datetime(year, 1, 1, tzinfo=UTC))) == 5
    assert made() == 1
    assert len(await _page(database, notification_types=[NotificationType.ERROR])) == 5
    assert len(await _page(database, notification_types=[NotificationType.ERROR, NotificationType.INFO])) == 5
    assert made() == 3
    assert len(await _page(database, is_read=True)) == 3
    assert len(await _page(database, is_read=False)) == 2
    assert made() == 5
    assert await _page(database, topics=[]) == await _page(database, topics=["network"]) == []


async def test_values_are_those_of_each_call(database: Database, said: list[str]) -> None:
    for topic, found in (("disk", 5), ("network", 0), ("disk", 5)):
        assert len(await _page(database, topics=[topic])) == found
    for notification_id in said:
        [row] = await _page(database, notification_ids=[notification_id])
        assert row.notification_id == notification_id


async def test_as_many_statements_are_kept_as_there_is_room_for(
    database: Database, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MAX_KEPT", 3)
    made = _made(database)

    for number in range(1, 8):
        assert len(await _page(database, topics=["disk"] * number)) == 5

    assert made() == 3


def test_a_constant_has_the_shape_of_its_equals() -> None:
    bounds = Bounds(limit=20)

    assert kept.shape((bounds, notification_filters.UNFILTERED)) == kept.shape((bounds, notification_filters.Filter()))
    assert kept.shape(notification_filters.UNFILTERED) != kept.shape(notification_filters.Filter(is_read=False))


async def test_a_statement_with_many_parameters_is_not_kept(database: Database, said: list[str]) -> None:
    made = _made(database)

    assert len(await _page(database, notification_ids=[f"notification-{n:012x}" for n in range(500)])) == 5

    assert made() == 0


def _made(database: Database) -> Any:
    statements = database._kept._kept
    before = len(statements)
    return lambda: len(statements) - before


async def test_every_read_sees_the_newest_commit(database: Database, said: list[str]) -> None:
    for number in (1, 2, 3):
        await database.write(lambda session: inboxes.add(session, {INBOX: 1}))
        row = await inboxes.find_kept(database, INBOX)
        assert row is not None
        assert (row.total_count, row.last_seq) == (5 + number, 5 + number)


async def test_nothing_is_found_of_what_is_out_of_scope(database: Database, said: list[str]) -> None:
    for scope in (Scope("away"), Scope("home", user_id="bob"), Scope("home", created_by="backend")):
        assert await notifications.find_kept(database, said[0], scope) is None
    assert await inboxes.find_kept(database, inboxes.of_user("away", "alice")) is None


async def test_more_reads_than_connections_are_all_answered(database: Database, said: list[str]) -> None:
    reads = [notifications.find_kept(database, said[number % 5], ALICE) for number in range(100)]

    rows = await asyncio.wait_for(asyncio.gather(*reads), DEADLINE_S)

    assert [row.notification_id for row in rows if row] == [said[number % 5] for number in range(100)]


async def test_deliveries_are_read_as_the_models_are(database: Database, clock: Clock) -> None:
    rows = [
        Delivery(
            delivery_id=f"delivery-{number}",
            domain_id="home",
            notification_id="notification-1",
            protocol_id="protocol-1",
            plugin_id="webhook",
            user_id="alice" if number % 2 else None,
            created_by="backend",
            created_at=clock.now + timedelta(seconds=number),
        )
        for number in range(5)
    ]
    await database.write(lambda session: deliveries.enqueue(session, rows))

    page = await deliveries.page_kept(database, ALICE, deliveries.Filter(), Bounds(limit=1))
    one = await deliveries.find_kept(database, "delivery-3", ALICE)

    async with database.read() as session:
        wanted = deliveries.Filter(delivery_ids=["delivery-3"])
        model = (await session.exec(deliveries.in_scope(ALICE).matching(wanted))).one()
    assert [row.delivery_id for row in page.rows] == ["delivery-3"]
    assert page.has_next
    assert one is not None
    for name in ("state", "created_at", "next_attempt_at", "part", "reason", "channel_id"):
        assert getattr(one, name) == getattr(page.rows[0], name) == getattr(model, name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_stored_json_is_spelled_as_an_answer_of_it_would_be(value: Any) -> None:
    """So that the text can be passed through: what is stored was written by the same orjson."""
    try:
        stored = orjson.dumps(value)
    except orjson.JSONEncodeError:  # lone surrogates, which are refused before they are stored
        return

    assert orjson.dumps(orjson.loads(stored)) == stored


@given(st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_000), timezones=st.just(UTC)))
def test_an_instant_on_sqlite_is_spelled_as_the_api_does(moment: datetime) -> None:
    dialect: Any = type("Dialect", (), {"name": "sqlite"})
    spelled = UtcDateTime().process_bind_param(moment, dialect)

    millisecond = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert spelled == millisecond.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _kill_readers(database: Database, own: asyncpg.Connection) -> int:
    open_ones = [each._connection for each in database._connections._free if each._connection is not None]
    pids = [connection.get_server_pid() for connection in open_ones]
    await own.fetch("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", pids)
    return len(pids)


@on_postgres
async def test_a_page_is_planned_once_for_a_connection_where_an_index_leads_to_its_rows(
    database: Database, said: list[str]
) -> None:
    """Else by the values each time, on another connection: of a project, a user may have many or none."""
    for _ in range(5):
        assert len(await _page(database)) == 5
        assert await _page(database, project_id="project-1") == []

    connections = [each._connection for each in database._connections._free if each._connection is not None]
    asked = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE $1"
    plans = {tuple(counts) for each in connections for counts in await each.fetch(asked, "%FROM notification%")}
    assert plans == {(5, 0), (0, 5)}
    assert len(connections) == 2


@on_postgres
async def test_a_read_after_its_connection_was_lost_is_answered(database: Database, said: list[str]) -> None:
    await asyncio.gather(*(notifications.find_kept(database, said[0], ALICE) for _ in range(20)))
    own = await database._connect_beside()

    assert await _kill_readers(database, own) == reading.CONNECTIONS
    row = await notifications.find_kept(database, said[0], ALICE)

    assert row is not None
    await own.close()


@on_postgres
async def test_a_read_whose_backend_is_killed_meanwhile_is_answered_or_says_so(
    database: Database, said: list[str]
) -> None:
    own = await database._connect_beside()

    for _ in range(10):
        reads = [asyncio.ensure_future(_page(database)) for _ in range(20)]
        await asyncio.sleep(0)
        await _kill_readers(database, own)
        outcomes = await asyncio.wait_for(asyncio.gather(*reads, return_exceptions=True), DEADLINE_S)
        assert all(isinstance(outcome, (list, DatabaseUnavailable)) for outcome in outcomes)

    assert len(await _page(database)) == 5
    await own.close()


@on_postgres
async def test_a_cancelled_read_leaves_no_connection_in_its_place(database: Database, said: list[str]) -> None:
    for _ in range(3 * reading.CONNECTIONS):
        read = asyncio.ensure_future(_page(database))
        await asyncio.sleep(0)
        read.cancel()
        await asyncio.gather(read, return_exceptions=True)

    assert len(await asyncio.wait_for(_page(database), DEADLINE_S)) == 5
    assert len(database._connections._free) == reading.CONNECTIONS


@on_postgres
@pytest.mark.parametrize("is_handed_one", [False, True])
async def test_who_waits_for_a_connection_and_leaves_takes_none_along(
    database: Database, said: list[str], is_handed_one: bool
) -> None:
    connections = database._connections
    in_use = [connections._free.pop() for _ in range(reading.CONNECTIONS)]
    reads = [asyncio.ensure_future(_page(database)) for _ in range(3)]
    await asyncio.sleep(0)

    if is_handed_one:
        connections._hand_on(in_use.pop())
    reads[0].cancel()
    if not is_handed_one:
        connections._hand_on(in_use.pop())
    outcomes = await asyncio.wait_for(asyncio.gather(*reads, return_exceptions=True), DEADLINE_S)

    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert [len(rows) for rows in outcomes[1:] if isinstance(rows, list)] == [5, 5]
    assert len(connections._free) == 1


@on_postgres
async def test_connections_are_handed_on_in_the_order_of_asking(database: Database, said: list[str]) -> None:
    done: list[asyncio.Future[Any]] = []
    in_use = [database._connections._free.pop() for _ in range(reading.CONNECTIONS)]
    reads = [asyncio.ensure_future(_page(database)) for _ in range(5)]
    for read in reads:
        read.add_done_callback(done.append)
    await asyncio.sleep(0)

    database._connections._hand_on(in_use[0])
    await asyncio.wait_for(asyncio.gather(*reads), DEADLINE_S)

    assert done == reads


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    database = Database("postgresql://nobody@127.0.0.1:9/nothing")
    await database.open()

    with pytest.raises(DatabaseUnavailable):
        await inboxes.find_kept(database, INBOX)

    await database.close()


@on_postgres
async def test_postgresql_compiles_no_kept_statement(database: Database, said: list[str]) -> None:
    """It would for each read of some lists among 10,000,000 notifications, by what it expects of them."""
    await _page(database)
    await _page(database, project_id="project-1")

    connections = [each._connection for each in database._connections._free if each._connection is not None]
    assert [await each.fetchval("SHOW jit") for each in connections] == ["off", "off"]


@on_sqlite
async def test_an_inline_read_sees_nothing_of_a_transaction_that_is_not_over(
    database: Database, said: list[str]
) -> None:
    async def work(session: AsyncSession) -> int:
        await notifications.remove(session, said[:2], ALICE)
        return len(await _page(database))

    assert await database.write(work) == 5
    assert len(await _page(database)) == 3


@on_sqlite
async def test_inline_reads_go_over_the_connection_that_writes_while_it_is_idle(
    database: Database, said: list[str]
) -> None:
    """It keeps the pages that it has read beyond its own commits."""
    asked: list[str] = []
    await database.run_sync(lambda connection: _trace(connection, asked))

    async def work(session: AsyncSession) -> None:
        await notifications.remove(session, said[:1], ALICE)
        asked.clear()
        await _page(database)
        assert asked == []

    await database.write(work)
    await _page(database)

    assert asked[-1].startswith("SELECT")


def _trace(connection: Connection, asked: list[str]) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None
    driver._conn.set_trace_callback(asked.append)


@on_sqlite
async def test_inline_reads_outlive_the_connection_that_writes(database: Database, said: list[str]) -> None:
    def lose(connection: Connection) -> None:
        connection.invalidate()
        raise LookupError

    with pytest.raises(LookupError):
        await database.run_sync(lose)

    assert len(await _page(database)) == 5

    await database.write(lambda session: notifications.remove(session, said[:1], ALICE))
    assert len(await _page(database)) == 4


@on_sqlite
async def test_an_inline_read_that_cannot_be_answered_is_left_to_a_reader(
    database: Database, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(_statement: kept.Statement, _parameters: Sequence[Any]) -> list[Any]:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(database._inline, "fetch", locked)

    assert len(await _page(database)) == 5


@on_sqlite
async def test_an_inline_read_whose_rows_are_not_understood_is_over_all_the_same(
    database: Database, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the log of what is written would grow until the next read."""

    def not_understood(_statement: kept.Statement, _fetched: object) -> list[Any]:
        raise ValueError("a value that no type knows")

    monkeypatch.setattr(kept.Statement, "rows", not_understood)
    with pytest.raises(ValueError, match="no type"):
        await _page(database)

    async with database.read() as session:
        path = (await session.connection()).engine.url.database
    with sqlite3.connect(path or "") as connection:
        [(is_busy, *_)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    assert not is_busy
