"""Large crowds: reached in chunks that a crash only delays."""

from __future__ import annotations

import asyncio

import pytest
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from dispatch.schedules import Schedule
from resolvers import fanout, inboxes, notifications
from resolvers.context import Server
from resolvers.fanout import AT_ONCE
from storage import fanouts
from storage.fanouts import Due
from storage.models import Content, DayOfWeek, Fanout, FanoutChunk, Inbox, Notification, OffHours
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE
from tests.resolvers.conftest import Wakes
from tests.resolvers.said import inside, log_protocol, of_user, say, say_to_project

CHUNK = 50
CROWD = [f"user-{number:04}" for number in range(2 * CHUNK + 30)]
DEADLINE_S = 30


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd is more than are reached at once, and not more than a test has time for."""
    monkeypatch.setattr(fanouts, "CHUNK", CHUNK)
    assert len(CROWD) > AT_ONCE


class _Crash(Exception):
    pass


async def _reached(server: Server, record_id: str) -> set[str | None]:
    async with server.database.read() as session:
        rows = await session.exec(select(Notification.user_id).where(Notification.parent_notification_id == record_id))
        found = list(rows)
    assert len(set(found)) == len(found)  # nobody twice
    return set(found)


async def test_a_crowd_is_reached_chunk_by_chunk_after_the_answer(server: Server, wakes: Wakes) -> None:
    await inside(server, *CROWD)

    said = await say_to_project(server)

    assert said.recipient_count == len(CROWD)
    assert await _reached(server, said.notification_id) == set()
    assert wakes.fanout == 1
    chunks = 0
    while await fanout.reach_next_chunk(server):
        chunks += 1
    assert await _reached(server, said.notification_id) == set(CROWD)
    assert chunks == 3
    async with server.database.read() as session:
        for model in (Fanout, FanoutChunk):
            assert (await session.exec(select(func.count()).select_from(model))).one() == 0


async def test_a_small_crowd_is_reached_in_the_creates_own_transaction(server: Server, wakes: Wakes) -> None:
    await inside(server, *CROWD[:AT_ONCE])

    said = await say_to_project(server)

    assert len(await _reached(server, said.notification_id)) == AT_ONCE
    assert wakes.fanout == 0


async def test_a_domain_of_many_is_reached_whoever_registers_meanwhile(server: Server) -> None:
    await inboxes.register(server, ADMIN, user_ids=CROWD, domain_id=None)
    said = await say(server, "home", resource_type="identity.Domain")
    await inboxes.register(server, ADMIN, user_ids=["late"], domain_id=None)

    while await fanout.reach_next_chunk(server):
        pass

    assert said.recipient_count == len(CROWD) + 1  # the administrator too
    assert await _reached(server, said.notification_id) == {*CROWD, "admin"}


async def test_a_domain_is_kept_in_chunks_of_its_users_like_a_project(server: Server) -> None:
    await inboxes.register(server, ADMIN, user_ids=CROWD[1:], domain_id=None)
    await say(server, "home", resource_type="identity.Domain")

    async with server.database.read() as session:
        chunks = await session.exec(select(FanoutChunk).order_by(col(FanoutChunk.number)))
        kept = {chunk.number: chunk.user_ids for chunk in chunks}
    assert {number: len(user_ids) for number, user_ids in kept.items()} == {1: CHUNK, 2: CHUNK, 3: 30}
    assert sorted(user_id for user_ids in kept.values() for user_id in user_ids) == ["admin", *CROWD[1:]]


async def test_a_chunk_whose_transaction_fails_is_reached_by_the_next_one(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(_session: AsyncSession, _fanout: Due) -> None:
        raise _Crash

    await inside(server, *CROWD)
    said = await say_to_project(server)
    assert await fanout.reach_next_chunk(server)
    assert await fanout.reach_next_chunk(server)
    before = await _reached(server, said.notification_id)

    with monkeypatch.context() as last:
        last.setattr(fanouts, "finish", crash)
        with pytest.raises(_Crash):
            await fanout.reach_next_chunk(server)
    assert await _reached(server, said.notification_id) == before
    assert await fanout.reach_next_chunk(server)

    assert len(before) == len(CROWD) - CHUNK
    assert await _reached(server, said.notification_id) == set(CROWD)
    assert not await fanout.reach_next_chunk(server)


async def test_several_that_work_at_the_same_fan_outs_reach_everybody_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> int:
        chunks = 0
        while await fanout.reach_next_chunk(server):
            chunks += 1
        return chunks

    monkeypatch.setattr(fanouts, "CHUNK", 10)
    await inside(server, *CROWD)
    said = [await say_to_project(server) for _ in range(3)]

    async with asyncio.timeout(DEADLINE_S):
        chunks = await asyncio.gather(*(work() for _ in range(4)))

    assert sum(chunks) == 3 * len(CROWD) // 10
    for each in said:
        assert await _reached(server, each.notification_id) == set(CROWD)
    async with server.database.read() as session:
        theirs = select(Inbox.last_seq, Inbox.unread_count).where(col(Inbox.owner_id).in_(CROWD))
        assert [*await session.exec(theirs)] == [(3, 3)] * len(CROWD)


async def test_a_record_deleted_meanwhile_stops_nobody_from_being_reached(server: Server) -> None:
    await inside(server, *CROWD)
    said = await say_to_project(server)
    await inboxes.delete(server, ADMIN, notification_ids=[said.notification_id], origin_id=None)

    while await fanout.reach_next_chunk(server):
        pass

    assert await _reached(server, said.notification_id) == set(CROWD)


async def test_a_fan_out_whose_rows_are_all_deleted_leaves_no_content(server: Server) -> None:
    await inside(server, *CROWD)
    said = await say_to_project(server)
    while await fanout.reach_next_chunk(server):
        pass

    async with server.database.read() as session:
        everything = list(await session.exec(select(Notification.notification_id)))
    assert said.notification_id in everything
    await inboxes.delete(server, ADMIN, notification_ids=everything, origin_id=None)

    async with server.database.read() as session:
        assert (await session.exec(select(func.count()).select_from(Content))).one() == 0


async def test_users_of_a_crowd_get_deliveries_through_their_own_channels(server: Server) -> None:
    channel = await of_user(server, ALICE, await log_protocol(server))
    await inside(server, "alice", *CROWD)
    said = await say_to_project(server)

    while await fanout.reach_next_chunk(server):
        pass

    [delivery] = await notifications.deliveries_of(server, said.notification_id, first=9)
    assert delivery.channel_id == channel.channel_id
    assert (delivery.domain_id, delivery.user_id) == ("home", "alice")


async def test_users_behind_a_closed_channel_that_defers_are_reached_when_it_opens(
    server: Server, clock: Clock
) -> None:
    office = Schedule((DayOfWeek.MON,), "09:00", "17:00", "UTC", OffHours.DEFER)  # it is Saturday
    await inside(server, "alice", "bob", schedule=office)
    await inside(server, "bob")

    said = await say_to_project(server)

    assert said.recipient_count == 2
    assert await _reached(server, said.notification_id) == {"bob"}
    assert not await fanout.reach_next_chunk(server)
    clock.now = clock.now.replace(month=2, day=2, hour=9, minute=0)
    assert await fanout.reach_next_chunk(server)
    assert await _reached(server, said.notification_id) == {"alice", "bob"}
