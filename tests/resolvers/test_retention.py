"""What is past its time goes in small batches, and nobody is told less than that it went."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import col, func, select

from resolvers import cursors, inboxes, pushes, retention, steering, streams
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import CursorExpired, NotFound
from resolvers.events import Event, EventKind
from resolvers.inboxes import InboxState
from resolvers.pushes import Push
from resolvers.retention import Keep
from resolvers.streams import StreamFilter
from storage.models import (
    OPEN_STATES,
    Attempt,
    AttemptOutcome,
    Change,
    Content,
    Delivery,
    DeliveryState,
    Inbox,
    InboxKind,
    Notification,
)
from tests.conftest import Clock
from tests.dispatch import rows
from tests.resolvers.callers import ADMIN, ALICE, AWAY_ADMIN, BOB, SERVICE
from tests.resolvers.said import MESSAGE, inside, log_protocol, say, say_to_project

DEADLINE = 60
MONTH = Keep(notification_age=timedelta(days=30))
ELSEWHERE = replace(SERVICE, domain_id="away")
EVERYTHING = StreamFilter()


async def _swept(server: Server, keep: Keep) -> int:
    """How many batches a whole sweep took."""
    batches = 0
    async with asyncio.timeout(DEADLINE):
        while await retention.sweep(server, keep):
            batches += 1
    return batches


async def _state(server: Server, caller: Caller = ALICE) -> InboxState:
    state = await inboxes.mine(server, caller)
    assert state is not None
    return state


async def _log(server: Server, user_id: str = "alice") -> list[int]:
    """The sequence numbers that the log of an inbox has."""
    async with server.database.read() as session:
        mine = select(Change.seq).join(Inbox).where(Inbox.owner_id == user_id, Inbox.kind == InboxKind.USER)
        return list(await session.exec(mine.order_by(col(Change.seq))))


async def _kept(server: Server) -> list[str]:
    async with server.database.read() as session:
        rows = select(Notification.notification_id).order_by(col(Notification.created_at), col(Notification.seq))
        return list(await session.exec(rows))


async def _is_exact(server: Server) -> bool:
    """Whether every inbox counts what it has, and no content is there that nothing needs."""
    async with server.database.read() as session:
        found = {inbox.inbox_id: inbox for inbox in await session.exec(select(Inbox))}
        counted = {inbox_id: (0, 0, 0) for inbox_id in found}
        for row in await session.exec(select(Notification).where(col(Notification.inbox_id).is_not(None))):
            assert row.inbox_id is not None
            assert row.seq is not None
            inbox, (total, unread, unseen) = found[row.inbox_id], counted[row.inbox_id]
            is_a_users = inbox.kind is InboxKind.USER
            unread, unseen = (
                unread + (is_a_users and not row.is_read),
                unseen + (is_a_users and row.seq > inbox.seen_seq),
            )
            counted[row.inbox_id] = total + 1, unread, unseen
        contents = (await session.exec(select(func.count()).select_from(Content))).one()
        needed = (await session.exec(select(func.count(func.distinct(Notification.content_id))))).one()
    said = {inbox.inbox_id: (inbox.total_count, inbox.unread_count, inbox.unseen_count) for inbox in found.values()}
    return said == counted and contents == needed


def _changed(server: Server, after: str) -> AsyncGenerator[Event, None]:
    return streams.changed(server, ALICE, after=after, wanted=EVERYTHING)


# Logs


async def test_an_old_log_goes_and_a_young_one_stays(server: Server, clock: Clock) -> None:
    for _ in range(2):
        await say(server)
    await say(server, "bob")
    clock.advance(days=20)
    await say(server)
    clock.advance(days=11)

    await _swept(server, Keep())

    assert (await _log(server), await _log(server, "bob")) == ([3], [])
    assert len(await _kept(server)) == 4
    clock.advance(days=20)
    await _swept(server, Keep())
    assert await _log(server) == []


async def test_a_long_log_keeps_its_latest_changes_and_a_short_one_all(server: Server) -> None:
    for _ in range(7):
        await say(server)
    for _ in range(3):
        await say(server, "bob")

    await _swept(server, Keep(log_changes=3))

    assert (await _log(server), await _log(server, "bob")) == ([5, 6, 7], [1, 2, 3])


async def test_who_was_left_behind_is_told_and_nobody_else(server: Server) -> None:
    positions = [(await _state(server)).cursor]
    for _ in range(5):
        await say(server)
        positions.append((await _state(server)).cursor)
    await _swept(server, Keep(log_changes=2))

    for before in positions[1:3]:
        [event], position, has_more = await streams.page(server, ALICE, after=before, first=None)
        assert (event.kind, cursors.for_stream(position), has_more) == (EventKind.RESET, positions[-1], False)
        async with aclosing(_changed(server, before)) as stream:
            assert [(await anext(stream)).kind for _ in range(2)] == [EventKind.RESET, EventKind.SYNCED]
        with pytest.raises(CursorExpired):
            await anext(streams.added(server, ALICE, after=before, wanted=EVERYTHING))
    for missed, before in enumerate(reversed(positions[3:])):
        events, _, _ = await streams.page(server, ALICE, after=before, first=None)
        assert [event.position.seq for event in events] == [4, 5][2 - missed :]


async def test_a_cursor_at_the_end_of_a_log_outlives_all_of_it(server: Server, clock: Clock) -> None:
    await say(server)
    head = (await _state(server)).cursor
    clock.advance(days=100)
    await _swept(server, Keep())
    assert await _log(server) == []

    assert (await streams.page(server, ALICE, after=head, first=None))[0] == []
    await say(server)
    [event], _, _ = await streams.page(server, ALICE, after=head, first=None)
    assert (event.kind, event.position.seq) == (EventKind.ADDED, 2)


async def test_a_log_goes_in_batches_and_never_has_a_gap(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CHANGES", 3)
    for _ in range(9):
        await say(server)
        await say(server, "bob")
    lengths = []

    while await retention.sweep(server, Keep(log_changes=1)):
        logs = [await _log(server, user) for user in ("alice", "bob")]
        assert all(log == list(range(log[0], 10)) for log in logs)
        lengths.append(sum(map(len, logs)))

    assert lengths == [15, 12, 9, 6, 3, 2]


async def test_writers_whose_clocks_differ_leave_no_gap(server: Server, clock: Clock) -> None:
    for days in (0, 40, -40, 40, -40):  # a clock that was set forward and back
        clock.advance(days=days)
        await say(server)
    clock.advance(days=31)

    await _swept(server, Keep())

    assert await _log(server) == []  # the second and the fourth are young, but the fifth is old
    await say(server)
    assert await _log(server) == [6]


async def test_beside_writers_and_sweepers_no_reader_misses_a_change(server: Server) -> None:
    """Each event is the next one, or a reset says that some were missed."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    writing = 40

    async def write() -> None:
        for _ in range(writing // 2):
            await say(server)
            if chance.random() < 0.3:
                await inboxes.mark_all_read(server, ALICE, up_to=(await _state(server)).cursor, origin_id=None)

    async def sweep() -> None:
        while not written.done():
            await retention.sweep(server, Keep(log_changes=chance.randrange(1, 8)))

    async def read() -> tuple[int, int]:
        """How many changes were told one by one, and how many resets there were."""
        position, told, resets = cursors.BEGINNING, 0, 0
        while not (written.done() and cursors.for_stream(position) == (await _state(server)).cursor):
            await asyncio.sleep(0)  # on SQLite all that it reads is read at once, and nobody else had a turn
            async with aclosing(_changed(server, cursors.for_stream(position))) as stream:
                for _ in range(chance.randrange(1, 6)):
                    event = await anext(stream)
                    if event.kind is EventKind.RESET:
                        resets += 1
                    elif event.kind is not EventKind.SYNCED:
                        assert event.position.seq == position.seq + 1, f"seed {seed}"
                        told += 1
                    position = event.position
                    if event.kind is EventKind.SYNCED:
                        break  # the writers may be done: nothing more would come
        return told, resets

    async with asyncio.timeout(DEADLINE):
        written = asyncio.gather(write(), write())
        reading = asyncio.gather(*(read() for _ in range(3)))
        readers, *_ = await asyncio.gather(reading, sweep(), sweep(), written)

    assert all(told + resets for told, resets in readers), f"seed {seed}"
    assert await _is_exact(server)


# Notifications


async def test_notifications_are_kept_unless_the_operator_says_otherwise(server: Server, clock: Clock) -> None:
    await say(server)
    clock.advance(days=10_000)

    await _swept(server, Keep())

    assert len(await _kept(server)) == 1


async def test_old_notifications_go_as_one_change_of_their_inbox_with_exact_counts(
    server: Server, clock: Clock
) -> None:
    old = [(await say(server)).notification_id for _ in range(4)]
    await inboxes.set_read(server, ALICE, notification_ids=old[:1], is_read=True, origin_id=None)
    await inboxes.mark_seen(server, ALICE, up_to=(await _state(server)).cursor, origin_id=None)
    clock.advance(days=20)
    young = (await say(server)).notification_id
    before = (await _state(server)).cursor
    clock.advance(days=11)

    await _swept(server, MONTH)

    assert await _kept(server) == [young]
    state = await _state(server)
    assert (state.total_count, state.unread_count, state.unseen_count) == (1, 1, 1)
    [event], position, _ = await streams.page(server, ALICE, after=before, first=None)
    assert (event.kind, event.up_to.seq, event.unread_count, event.unseen_count) == (EventKind.ALL_REMOVED, 4, 1, 1)
    assert cursors.for_stream(position) == state.cursor
    assert await _is_exact(server)


async def test_a_stream_hears_at_once_that_old_ones_went(server: Server, clock: Clock) -> None:
    await say(server)
    async with aclosing(_changed(server, (await _state(server)).cursor)) as stream:
        assert (await anext(stream)).kind is EventKind.SYNCED
        next_event = asyncio.ensure_future(anext(stream))
        clock.advance(days=31)

        await _swept(server, MONTH)

        async with asyncio.timeout(DEADLINE):
            assert (await next_event).kind is EventKind.ALL_REMOVED


async def test_records_of_projects_domains_and_pushes_go_too_in_every_domain(server: Server, clock: Clock) -> None:
    protocol = await log_protocol(server)
    await inside(server, "alice", "bob")

    async def everything() -> None:
        await say_to_project(server)
        await say(server, "home", resource_type="identity.Domain")
        await pushes.push(server, SERVICE, Push(protocol.protocol_id, data={}, message=MESSAGE))
        await say(server, caller=ELSEWHERE)

    await everything()
    clock.advance(days=31)
    old = set(await _kept(server))
    await everything()

    await _swept(server, MONTH)

    assert len(old) == 9  # records of the project, its two users, the domain, its three users, the push; and away
    kept = await _kept(server)
    assert (len(kept), old & set(kept)) == (9, set())
    async with server.database.read() as session:
        [feed] = await session.exec(select(Inbox).where(Inbox.kind == InboxKind.PROJECT))
    assert feed.total_count == 1
    assert (await _state(server, AWAY_ADMIN)).total_count == 0


async def test_old_ones_go_in_batches_each_of_which_is_exact(
    server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "NOTIFICATIONS", 4)
    for number in range(10):
        await say(server, "alice" if number % 3 else "bob")
        clock.advance(seconds=1)
    clock.advance(days=31)
    lengths = []

    while await retention.sweep(server, replace(MONTH, log_age=timedelta(days=365))):
        assert await _is_exact(server)
        lengths.append(len(await _kept(server)))

    assert lengths == [6, 2, 0]


async def test_what_came_after_a_younger_one_waits_for_it(server: Server, clock: Clock) -> None:
    """A position cannot leave one out: nothing goes before its time."""
    clock.advance(days=1)
    younger = (await say(server)).notification_id
    clock.advance(days=-1)
    older = (await say(server)).notification_id
    elsewhere = (await say(server, "bob")).notification_id
    clock.advance(days=30, seconds=1)

    await _swept(server, MONTH)
    assert set(await _kept(server)) == {younger, older}  # and nobody else waits

    assert elsewhere not in await _kept(server)
    clock.advance(days=1)
    await _swept(server, MONTH)
    assert await _kept(server) == []
    assert await _is_exact(server)


async def test_sweepers_beside_each_other_and_beside_writers_count_right(server: Server, clock: Clock) -> None:
    users = ["alice", "bob", "carol"]
    old = [(await say(server, user)).notification_id for user in users * 5]
    clock.advance(days=31)

    async def write() -> None:
        for number in range(12):
            await say(server, users[number % 3])
            await inboxes.set_read(
                server, ALICE, notification_ids=old[number:], is_read=number % 2 == 0, origin_id=None
            )
            await inboxes.delete(server, BOB, notification_ids=old[number : number + 1], origin_id=None)

    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(write(), *(_swept(server, MONTH) for _ in range(3)))
        await _swept(server, MONTH)

    assert len(await _kept(server)) == 12
    assert await _is_exact(server)


async def test_what_was_said_to_many_goes_with_the_last_of_them(server: Server, clock: Clock) -> None:
    await inside(server, "alice", "bob")
    said = await say_to_project(server)
    assert said.recipient_count == 2
    clock.advance(days=31)

    await _swept(server, MONTH)

    assert await _kept(server) == []
    assert await _is_exact(server)


# Deliveries


async def _attempted(server: Server, clock: Clock, *states: DeliveryState) -> list[Delivery]:
    """A delivery in each of these states, as it is where it ended now, after two attempts."""
    protocol, said = rows.protocol(), rows.content()
    await rows.store(server.database, protocol, said, rows.notification(said))
    made = []
    for state in states:
        ended_at = None if state in OPEN_STATES else clock.now
        made.append(rows.delivery(said, protocol, state=state, created_at=clock.now, finished_at=ended_at))
    tries = [
        Attempt(delivery_id=row.delivery_id, attempt_no=no, started_at=clock.now, duration_ms=1, outcome=outcome)
        for row in made
        for no, outcome in enumerate((AttemptOutcome.RETRY, AttemptOutcome.OK), start=1)
    ]
    await rows.store(server.database, *made, *tries)
    return made


async def _attempts(server: Server) -> dict[str, int]:
    """The deliveries that there are, with how many attempts each has."""
    counted = (
        select(Delivery.delivery_id, func.count(col(Attempt.attempt_no)))
        .join(Attempt, isouter=True)
        .group_by(col(Delivery.delivery_id))
    )
    async with server.database.read() as session:
        orphans = select(Attempt.delivery_id).where(col(Attempt.delivery_id).not_in(select(Delivery.delivery_id)))
        assert list(await session.exec(orphans)) == []
        return dict(list(await session.exec(counted)))


async def test_deliveries_go_with_their_attempts_by_when_they_ended(server: Server, clock: Clock) -> None:
    made = await _attempted(server, clock, *DeliveryState)
    clock.advance(days=60)
    young = await _attempted(server, clock, DeliveryState.DELIVERED)
    clock.advance(days=31)

    await _swept(server, Keep())

    is_open = [row.delivery_id for row in made if row.state in OPEN_STATES]
    assert await _attempts(server) == dict.fromkeys([*is_open, young[0].delivery_id], 2)
    assert len(await _kept(server)) == 2  # what was delivered stays


async def test_deliveries_go_in_batches_the_oldest_first(
    server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "DELIVERIES", 2)
    ended = []
    for _ in range(5):
        ended += await _attempted(server, clock, DeliveryState.DEAD)
        clock.advance(seconds=1)
    clock.advance(days=90)
    left = []

    while await retention.sweep(server, Keep()):
        left.append(set(await _attempts(server)))

    ids = [row.delivery_id for row in ended]
    assert left == [set(ids[2:]), set(ids[4:])]
    assert await _attempts(server) == {}


async def test_a_delivery_that_is_sent_again_meanwhile_stays_whole_or_goes_whole(
    server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes second finds it open again, or not at all."""
    monkeypatch.setattr(retention, "DELIVERIES", 3)
    ended = await _attempted(server, clock, *[DeliveryState.DEAD] * 30)
    clock.advance(days=91)
    revived = set()

    async def revive(row: Delivery) -> None:
        try:
            await steering.retry(server, replace(ADMIN, domain_id=row.domain_id), delivery_id=row.delivery_id)
            revived.add(row.delivery_id)
        except NotFound:
            pass

    async with asyncio.timeout(DEADLINE):
        retries = asyncio.gather(*(revive(row) for row in ended))
        await asyncio.gather(*(_swept(server, Keep()) for _ in range(3)), retries)

    assert await _attempts(server) == dict.fromkeys(revived, 2)
