"""What is written past the ORM is what the ORM writes, value by value, and what it reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import (
    changes,
    contents,
    creations,
    deliveries,
    drivers,
    fanouts,
    idempotency,
    inboxes,
    routing,
    statements,
)
from storage.changes import Addition
from storage.contents import NewContent
from storage.creations import NewNotification, Place
from storage.deliveries import NewDelivery
from storage.engine import Database
from storage.errors import DatabaseUnavailable
from storage.fanouts import NewFanout
from storage.idempotency import Claim
from storage.models import (
    Change,
    ChangeKind,
    Content,
    DecisionReason,
    Delivery,
    DeliveryState,
    Fanout,
    FanoutChunk,
    IdempotencyKey,
    Inbox,
    InboxKind,
    Notification,
    NotificationLevel,
    NotificationType,
)
from storage.scope import Scope
from tests.dispatch.rows import channel, protocol

MOMENT = datetime(2026, 1, 31, 19, 12, 40, 990_000, tzinfo=timezone(timedelta(hours=2)))
MESSAGE: dict[str, Any] = {
    "title": 'Größe \U0001f514 "x" \\ \n',
    "ratio": 1.5,
    "big": 2**53 + 1,
    "none": None,
    "list": [True, {}],
}
DRAWN = {"content_id", "inbox_id", "place", "fanout_id"}
BODY = b"\x00\xff secret"

CONTENT: dict[str, Any] = {
    "domain_id": "d",
    "topic": "Ärger",
    "message": MESSAGE,
    "notification_type": NotificationType.ERROR,
    "notification_level": NotificationLevel.LV2,
    "resource_type": "identity.User",
    "resource_id": "u",
}
NOTIFICATION: dict[str, Any] = {
    "notification_id": "n",
    "domain_id": "d",
    "user_id": "u",
    "project_id": "p",
    "parent_notification_id": "r",
    "decisions": [{"channel_id": "c", "detail": "ü"}],
    "created_by": "b",
    "created_at": MOMENT,
}
DELIVERY: dict[str, Any] = {
    "delivery_id": "x",
    "domain_id": "d",
    "notification_id": "n",
    "content_id": 7,
    "protocol_id": "p",
    "plugin_id": "log",
    "created_by": "b",
    "created_at": MOMENT,
    "next_attempt_at": MOMENT,
    "channel_id": "c",
    "user_id": "u",
    "part": 2,
    "destination": "far",
    "push_data": BODY,
    "state": DeliveryState.RETRYING,
    "reason": DecisionReason.QUOTA,
    "detail": "ß",
    "finished_at": MOMENT,
    "attempt_no": 3,
    "attempt_count": 2,
    "retries_from": 1,
    "counted_on": "2026-01-31",
    "lease_until": MOMENT,
}
CHANGE: dict[str, Any] = {"seq": 1, "notification_id": "n", "unread_count": 2, "unseen_count": 3, "changed_at": MOMENT}
FANOUT: dict[str, Any] = {
    "record_id": "r",
    "domain_id": "d",
    "project_id": "p",
    "created_by": "b",
    "due_at": MOMENT,
}
CLAIM: dict[str, Any] = {
    "domain_id": "d",
    "caller": "c",
    "operation": "o",
    "key": "ä",
    "body_hash": "h",
    "created_at": MOMENT,
}

Write = Callable[[AsyncSession], Awaitable[None]]


class _Twins(NamedTuple):
    """Two ways to write the same row."""

    model: type[SQLModel]
    as_orm: Write
    as_here: Write


async def _add(session: AsyncSession, *rows: SQLModel) -> None:
    for row in rows:
        session.add(row)
        await session.flush()


def _inbox() -> Inbox:
    return Inbox(domain_id="d", kind=InboxKind.USER, owner_id="u", generation=2**46)


async def _notification_as_orm(session: AsyncSession) -> None:
    content, inbox = Content(**CONTENT), _inbox()
    await _add(session, content, inbox)
    await _add(session, Notification(**NOTIFICATION, content_id=content.content_id, inbox_id=inbox.inbox_id, seq=5))


async def _notification_as_here(session: AsyncSession) -> None:
    inbox = _inbox()
    await _add(session, inbox)
    [content] = await contents.insert(session, [NewContent(**CONTENT)])
    place = Place(inbox.inbox_id, 0, seq=5, unread_count=0, unseen_count=0)
    new = NewNotification(**NOTIFICATION, content=content, inbox=place)
    await statements.run_all(session, creations.inserting([new]))


async def _content_as_here(session: AsyncSession) -> None:
    await contents.insert(session, [NewContent(**CONTENT)])


async def _change_as_orm(session: AsyncSession) -> None:
    inbox = _inbox()
    await _add(session, inbox)
    await _add(session, Change(**CHANGE, inbox_id=inbox.inbox_id, kind=ChangeKind.ADDED))


async def _change_as_here(session: AsyncSession) -> None:
    inbox = _inbox()
    await _add(session, inbox)
    await statements.run_all(session, changes.adding([Addition(**CHANGE, inbox_id=inbox.inbox_id)]))


async def _fanout_as_orm(session: AsyncSession) -> None:
    content = Content(**CONTENT)
    await _add(session, content)
    await _add(session, Fanout(**FANOUT, content_id=content.content_id))


async def _fanout_as_here(session: AsyncSession) -> None:
    [content] = await contents.insert(session, [NewContent(**CONTENT)])
    await fanouts.start(session, [(NewFanout(**FANOUT, content_id=content.content_id), ["ü", "b"])])


async def _chunk_as_orm(session: AsyncSession) -> None:
    await _fanout_as_orm(session)
    [fanout_id] = await session.exec(select(Fanout.fanout_id))
    await _add(session, FanoutChunk(fanout_id=fanout_id, number=1, user_ids=["ü", "b"]))


async def _delivery_as_here(session: AsyncSession) -> None:
    await deliveries.enqueue(session, [NewDelivery(**DELIVERY)])


async def _key_as_here(session: AsyncSession) -> None:
    await idempotency.claim(session, [Claim(**CLAIM)])
    await idempotency.answer(session, [Claim(**CLAIM, answer=MESSAGE)])


TWINS = [
    _Twins(Content, lambda session: _add(session, Content(**CONTENT)), _content_as_here),
    _Twins(Notification, _notification_as_orm, _notification_as_here),
    _Twins(Change, _change_as_orm, _change_as_here),
    _Twins(Fanout, _fanout_as_orm, _fanout_as_here),
    _Twins(FanoutChunk, _chunk_as_orm, _fanout_as_here),
    _Twins(Delivery, lambda session: _add(session, Delivery(**DELIVERY)), _delivery_as_here),
    _Twins(IdempotencyKey, lambda session: _add(session, IdempotencyKey(**CLAIM, answer=MESSAGE)), _key_as_here),
]


class _Undone(Exception):
    pass


async def _raw(database: Database, model: type[SQLModel], write: Write) -> list[Any]:
    """The row as it lies in the table after a write that is then undone."""
    found: list[Any] = []

    async def work(session: AsyncSession) -> None:
        await write(session)
        # Ids that the database draws go on counting.
        names = [name for name in statements.columns_of(model) if name not in DRAWN]
        rows = await session.exec(text(f"SELECT {', '.join(names)} FROM {model.__tablename__}"))  # type: ignore[call-overload]
        found.extend(zip(names, [*rows.one()], strict=True))
        raise _Undone

    with pytest.raises(_Undone):
        await database.write(work)
    return found


@pytest.mark.parametrize("twins", TWINS, ids=lambda twins: twins.model.__name__)
async def test_a_row_is_as_the_orm_writes_it(database: Database, twins: _Twins) -> None:
    expected = await _raw(database, twins.model, twins.as_orm)

    assert await _raw(database, twins.model, twins.as_here) == expected


@pytest.mark.parametrize("others", [{}, {"created_by": "c"}, {"domain_id": "e", "project_id": None}], ids=str)
async def test_what_all_rows_have_or_have_not_is_what_each_is_written_with(
    database: Database, others: dict[str, Any]
) -> None:
    """PostgreSQL gets once what all rows have."""

    async def work(session: AsyncSession) -> None:
        [content] = await contents.insert(session, [NewContent(**CONTENT)])
        inbox = _inbox()
        await _add(session, inbox)
        places = (Place(inbox.inbox_id, 0, seq, unread_count=0, unseen_count=0) for seq in count(1))
        rows = [NewNotification(**row, content=content, inbox=next(places)) for row in given]
        await statements.run_all(session, creations.inserting(rows))

    given = [{**NOTIFICATION, "notification_id": "n"}, {**NOTIFICATION, "notification_id": "o", **others}]
    await database.write(work)

    async with database.read() as session:
        rows = (await session.exec(select(Notification).order_by(Notification.notification_id))).all()
    found = [{name: getattr(row, name) for name in NOTIFICATION} for row in rows]
    assert found == given


async def test_inboxes_of_several_domains_are_counted_in_one_statement(database: Database) -> None:
    owners = [inboxes.of_project("d", "p"), inboxes.of_user("d", "ü"), inboxes.of_user("e", '"\\')]

    counted = await database.write(lambda session: inboxes.add(session, dict.fromkeys(owners, 2)))

    assert [counted[owner][2:] for owner in owners] == [(2, 0, 0, 2), (2, 2, 2, 2), (2, 2, 2, 2)]


async def test_the_models_read_what_was_written(database: Database) -> None:
    await database.write(_notification_as_here)
    await database.write(_delivery_as_here)

    async with database.read() as session:
        content = (await session.exec(select(Content))).one()
        row = (await session.exec(select(Notification))).one()
        delivery = await session.get(Delivery, "x")
    assert {name: getattr(content, name) for name in CONTENT} == CONTENT
    assert {name: getattr(row, name) for name in NOTIFICATION} == NOTIFICATION
    assert {name: getattr(delivery, name) for name in DELIVERY} == DELIVERY


def test_a_new_row_has_every_column_of_its_model() -> None:
    content, place = NewContent(**CONTENT), Place(1, 2, 3, 4, 5)
    rows: dict[type[SQLModel], Any] = {
        Content: content,
        Notification: NewNotification(**NOTIFICATION, content=content, inbox=place),
        Delivery: NewDelivery(**DELIVERY),
    }
    for model, row in rows.items():
        assert [name for name in statements.columns_of(model, but={"place", "feed_at"}) if not hasattr(row, name)] == []


async def test_contents_get_their_ids_in_the_order_in_which_they_were_said(database: Database) -> None:
    said = [NewContent("d", f"topic-{number}", {}) for number in range(200)]

    stored = await database.write(lambda session: contents.insert(session, said))

    async with database.read() as session:
        rows = await session.exec(select(Content).order_by(col(Content.content_id)))
        assert [(row.content_id, row.topic) for row in rows] == [(row.content_id, row.topic) for row in stored]


async def test_an_inbox_that_several_go_into_counts_each_and_tells_every_place(database: Database) -> None:
    alice, bob, project = inboxes.of_user("d", "a"), inboxes.of_user("d", "b"), inboxes.of_project("d", "p")
    await database.write(lambda session: inboxes.add(session, {alice: 2}))

    counted = await database.write(lambda session: inboxes.add(session, {alice: 3, bob: 0, project: 2}))

    assert [place[2:] for place in creations.last_places(counted[alice], 3)] == [(3, 3, 3), (4, 4, 4), (5, 5, 5)]
    assert [place[2:] for place in creations.last_places(counted[project], 2)] == [(1, 0, 0), (2, 0, 0)]
    assert (counted[bob].last_seq, counted[bob].total_count) == (0, 0)


async def test_a_statement_reads_what_the_models_read(database: Database) -> None:
    through = protocol(plugin_id="log")
    leading = channel(
        protocol_id=through.protocol_id, data={"users": ["ü"]}, topics=["a.*"], schedule={"days": []}, part_count=4
    )
    await database.write(lambda session: _add(session, through, leading))

    async with database.read() as session:
        [(found, its_protocol)] = (await routing.of_projects(session, "d", ["p", "q"]))["p"]
        route = await routing.of_channel(session, leading.channel_id, Scope("d"))
    assert route is not None
    light: Any
    for light, row in zip((found, its_protocol), route, strict=True):
        values: dict[str, Any] = light._asdict()
        assert {name: getattr(row, name) for name in values} == values


async def test_a_row_that_is_there_already_is_drawn_again(database: Database) -> None:
    """As where the ORM writes it: the transaction runs again, with other ids."""
    drawn = iter(["x", "x", "y"])

    async def work(session: AsyncSession) -> None:
        await deliveries.enqueue(session, [NewDelivery(**{**DELIVERY, "delivery_id": next(drawn), "part": 9})])

    await database.write(_delivery_as_here)
    await database.write(work)

    async with database.read() as session:
        assert await session.get(Delivery, "y") is not None


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_lost_connection_is_an_unavailable_database_and_the_next_write_works(database: Database) -> None:
    async def lose(session: AsyncSession) -> None:
        driver = await drivers.of(session)
        await driver.fetch("SELECT pg_terminate_backend(pg_backend_pid())", [])

    with pytest.raises(DatabaseUnavailable):
        await database.write(lose)
    await database.write(_content_as_here)
