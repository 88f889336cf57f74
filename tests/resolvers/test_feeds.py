"""Feeds: each record of a project or a domain once and in order, whatever is committed when and wherever one left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlmodel import col, delete, update
from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import cursors, domain_feed, inboxes, pushes, steering, streams
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import CursorExpired, InvalidArgument, PermissionDenied, Unavailable
from resolvers.feeds import FeedEvent
from resolvers.pushes import Push
from resolvers.streams import StreamFilter
from storage.creations import NewNotification
from storage.feeds import LAST
from storage.models import Change, FeedEpoch, Inbox, InboxKind, NotificationType
from storage.scope import Scope
from tests import recorded
from tests.resolvers import feeding
from tests.resolvers.callers import ADMIN, ALICE, AWAY_ADMIN, SERVICE, SYSTEM
from tests.resolvers.said import MESSAGE, inside, log_protocol, outside, say, say_to_project

DEADLINE_S = 20
BATCH_SERVICE = replace(SERVICE, user_id="batch")

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # what the engine has no part in
on_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)  # what has more than one writer
of_either = pytest.mark.parametrize("project_id", ["p1", None], ids=["project", "domain"])


async def _next(feed: AsyncGenerator[FeedEvent, None], count: int) -> list[str]:
    return [event.notification.notification_id for event in await _events(feed, count)]


async def _events(feed: AsyncGenerator[FeedEvent, None], count: int) -> list[FeedEvent]:
    async with asyncio.timeout(DEADLINE_S):
        return [await anext(feed) for _ in range(count)]


async def _watched(server: Server, feed: AsyncGenerator[FeedEvent, None]) -> asyncio.Task[FeedEvent]:
    """The feed's next event, asked for: the hub knows of the feed."""
    before = len(server.hub.watched())
    task = asyncio.ensure_future(anext(feed))
    async with asyncio.timeout(DEADLINE_S):
        while len(server.hub.watched()) == before and not task.done():
            await asyncio.wait([task], timeout=0.01)
    return task


async def _push(server: Server, protocol_id: str, caller: Caller = SERVICE) -> str:
    pushed = await pushes.push(server, caller, Push(protocol_id, data={}, message=MESSAGE))
    return pushed.record.notification_id


@of_either
async def test_what_was_missed_comes_first_then_what_is_new(server: Server, project_id: str | None) -> None:
    before = await feeding.now(server, project_id)
    missed = [(await say_to_project(server)).notification_id for _ in range(3)]

    async with aclosing(feeding.watch(server, project_id=project_id, after=before)) as feed:
        assert await _next(feed, 3) == missed
        live = [(await say_to_project(server)).notification_id for _ in range(2)]
        assert await _next(feed, 2) == live


@of_either
@on_sqlite
async def test_a_feed_goes_on_after_any_cursor_that_it_gave(server: Server, project_id: str | None) -> None:
    before = await feeding.now(server, project_id)
    said = [(await say_to_project(server)).notification_id for _ in range(5)]
    async with aclosing(feeding.watch(server, project_id=project_id, after=before)) as feed:
        events = await _events(feed, 5)

    for left, event in enumerate(events[:-1], start=1):
        async with aclosing(feeding.watch(server, project_id=project_id, after=event.cursor)) as feed:
            assert await _next(feed, 5 - left) == said[left:]


@of_either
async def test_without_a_cursor_only_what_is_new_comes(server: Server, project_id: str | None) -> None:
    old = (await say_to_project(server)).notification_id

    async with aclosing(feeding.watch(server, project_id=project_id)) as feed:
        arrived, new = await _watched(server, feed), []
        async with asyncio.timeout(DEADLINE_S):
            while not arrived.done():
                new.append((await say_to_project(server)).notification_id)
                await asyncio.wait([arrived], timeout=0.05)
        first = arrived.result().notification.notification_id
        assert first != old
        assert await _next(feed, len(new) - new.index(first) - 1) == new[new.index(first) + 1 :]


@of_either
@on_sqlite
async def test_more_than_a_batch_comes_whole_and_in_order(
    server: Server, project_id: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BATCH", 5)
    before = await feeding.now(server, project_id)
    missed = [(await say_to_project(server)).notification_id for _ in range(12)]

    async with aclosing(feeding.watch(server, project_id=project_id, after=before)) as feed:
        assert await _next(feed, len(missed)) == missed


async def test_a_projects_feed_has_its_records_and_nothing_else(server: Server) -> None:
    await inside(server, "alice", "bob")
    before = await feeding.now(server, "p1")
    await say(server)
    await say_to_project(server, "p2")
    await feeding.say_to_domain(server)
    said = [await say_to_project(server) for _ in range(2)]

    async with aclosing(feeding.watch(server, project_id="p1", after=before)) as feed:
        events = await _events(feed, 2)

    assert [each.notification.notification_id for each in events] == [each.notification_id for each in said]
    assert {(each.notification.user_id, each.notification.project_id) for each in events} == {(None, "p1")}


async def test_a_domains_feed_has_every_record_and_no_users_row(server: Server) -> None:
    protocol = await log_protocol(server)
    channel = await outside(server, protocol)
    await inside(server, "alice", "bob")
    before = await feeding.now(server)

    await say(server)
    said = [(await say_to_project(server)).notification_id, (await feeding.say_to_domain(server)).notification_id]
    said.append(await _push(server, protocol.protocol_id))
    tried = await steering.try_channel(server, ADMIN, channel_id=channel.channel_id)
    await say(server, "p1", caller=AWAY_ADMIN, resource_type="identity.Project")
    said += [tried.notification_id, (await say_to_project(server, "p2")).notification_id]

    async with aclosing(feeding.watch(server, after=before)) as feed:
        assert await _next(feed, 5) == said


async def test_every_kind_of_record_wakes_a_domains_feed(server: Server) -> None:
    protocol = await log_protocol(server)
    channel = await outside(server, protocol)

    async def _test_channel() -> str:
        return (await steering.try_channel(server, ADMIN, channel_id=channel.channel_id)).notification_id

    async with aclosing(feeding.watch(server, after=await feeding.now(server))) as feed:
        for make in (
            lambda: say_to_project(server),
            lambda: feeding.say_to_domain(server),
            lambda: _push(server, protocol.protocol_id),
            _test_channel,
        ):
            arrived = await _watched(server, feed) if not server.hub.watched() else asyncio.ensure_future(anext(feed))
            await asyncio.wait([arrived], timeout=0.05)  # it waits for news by now
            made = await make()
            async with asyncio.timeout(DEADLINE_S):
                event = await arrived
            assert event.notification.notification_id == (made if isinstance(made, str) else made.notification_id)


@of_either
async def test_a_service_sees_what_it_made(server: Server, project_id: str | None) -> None:
    before = await feeding.now(server, project_id)
    await say_to_project(server, caller=ADMIN)
    mine = (await say_to_project(server, caller=SERVICE)).notification_id
    theirs = (await say_to_project(server, caller=BATCH_SERVICE)).notification_id

    for caller, own in ((SERVICE, mine), (BATCH_SERVICE, theirs)):
        async with aclosing(feeding.watch(server, caller, project_id=project_id, after=before)) as feed:
            assert await _next(feed, 1) == [own]
            last = (await say_to_project(server, caller=caller)).notification_id
            assert await _next(feed, 1) == [last]


@of_either
@on_sqlite
async def test_users_may_not_watch_and_nobody_another_domain(server: Server, project_id: str | None) -> None:
    with pytest.raises(PermissionDenied):
        await _next(feeding.watch(server, ALICE, project_id=project_id), 1)
    for caller in (ADMIN, SERVICE):
        with pytest.raises(PermissionDenied) as refusal:
            await _next(feeding.watch(server, caller, project_id=project_id, domain_id="away"), 1)
        assert refusal.value.field == "domainId"


@of_either
@on_sqlite
async def test_the_system_watches_the_domain_that_it_names(server: Server, project_id: str | None) -> None:
    before = await feeding.now(server, project_id, "away")
    await say_to_project(server)
    there = await say(server, "p1", caller=AWAY_ADMIN, resource_type="identity.Project")

    async with aclosing(feeding.watch(server, SYSTEM, project_id=project_id, domain_id="away", after=before)) as feed:
        assert await _next(feed, 1) == [there.notification_id]


@of_either
@on_sqlite
async def test_a_filter_takes_what_never_changes(server: Server, project_id: str | None) -> None:
    before = await feeding.now(server, project_id)
    await say_to_project(server, topic="other")
    topic = (await say_to_project(server, topic="mine")).notification_id
    kind = (await say_to_project(server, notification_type=NotificationType.ERROR)).notification_id

    for wanted, expected in (
        (StreamFilter(topics=["mine"]), topic),
        (StreamFilter(notification_types=[NotificationType.ERROR], project_id="p1"), kind),
    ):
        async with aclosing(feeding.watch(server, project_id=project_id, after=before, wanted=wanted)) as feed:
            assert await _next(feed, 1) == [expected]


@of_either
async def test_what_is_gone_is_left_out_and_its_deletion_is_not_told(server: Server, project_id: str | None) -> None:
    before = await feeding.now(server, project_id)
    gone, kept, later = [(await say_to_project(server)).notification_id for _ in range(3)]

    async with aclosing(feeding.watch(server, project_id=project_id, after=before)) as feed:
        assert await _next(feed, 1) == [gone]
        await inboxes.delete(server, ADMIN, notification_ids=[gone, later], origin_id=None)
        new = (await say_to_project(server)).notification_id
    async with aclosing(feeding.watch(server, project_id=project_id, after=before)) as feed:
        assert await _next(feed, 2) == [kept, new]


@of_either
async def test_a_lost_signal_only_makes_a_feed_late(server: Server, project_id: str | None) -> None:
    before = await feeding.now(server, project_id)
    async with aclosing(feeding.watch(server, project_id=project_id, after=before)) as feed:
        await say_to_project(server)
        await _next(feed, 1)
        arrived = asyncio.ensure_future(anext(feed))
        await asyncio.wait([arrived], timeout=0.2)
        async with _lossy(server) as deaf:
            said = (await say_to_project(deaf)).notification_id

        await streams.check_heads(server)

        async with asyncio.timeout(DEADLINE_S):
            assert (await arrived).notification.notification_id == said


@asynccontextmanager
async def _lossy(server: Server) -> AsyncIterator[Server]:
    """Another process, whose messages do not come through."""
    elsewhere = type(server.hub)("memory://")
    await elsewhere.open()
    yield replace(server, hub=elsewhere)
    await elsewhere.close()


@of_either
@on_sqlite
async def test_feeds_end_when_the_hub_closes(server: Server, project_id: str | None) -> None:
    arrived = await _watched(server, feeding.watch(server, project_id=project_id))

    await server.hub.close()

    with pytest.raises(Unavailable):
        await arrived
    assert server.hub.watched() == []


@of_either
@on_sqlite
async def test_a_feed_that_is_left_is_forgotten(server: Server, project_id: str | None) -> None:
    before = await feeding.now(server, project_id)
    await say_to_project(server)
    async with aclosing(feeding.watch(server, project_id=project_id, after=before)) as feed:
        await _next(feed, 1)
        assert len(server.hub.watched()) == 1

    assert server.hub.watched() == []


@of_either
@on_sqlite
async def test_cursors_of_another_feed_and_made_up_ones_are_refused(server: Server, project_id: str | None) -> None:
    for project in ("p1", "p2"):
        await say_to_project(server, project)
    await say(server)
    own = await inboxes.of(server, inboxes.own(ALICE))
    genuine = await feeding.now(server, project_id)
    strange = [
        await feeding.now(server, "p2"),
        await feeding.now(server, None, "away"),
        await feeding.now(server, None if project_id else "p1"),
        own.cursor,
        "nonsense",
        genuine[:-2],
    ]

    for cursor in strange:
        with pytest.raises(InvalidArgument) as refusal:
            await _next(feeding.watch(server, project_id=project_id, after=cursor), 1)
        assert refusal.value.field == "after"


@pytest.mark.parametrize(
    "parts", [[], [1], ["home", 1, 2], ["home", 1, 2, "3"], ["home", 1, 2**63, 1], [7, 1, None, 1]]
)
async def test_a_sealed_cursor_that_no_feed_gives_is_refused(server: Server, parts: list[Any]) -> None:
    with pytest.raises(InvalidArgument):
        await _next(feeding.watch(server, after=cursors._encode([cursors.FEED, *parts])), 1)


@on_sqlite
async def test_a_feeds_cursor_is_no_inboxs(server: Server) -> None:
    with pytest.raises(InvalidArgument):
        await anext(streams.added(server, ALICE, after=await feeding.now(server), wanted=StreamFilter()))


@of_either
async def test_a_cursor_of_another_generation_or_from_the_future_has_expired(
    server: Server, project_id: str | None
) -> None:
    await say_to_project(server)
    now = await feeding.now(server, project_id)
    ahead = _ahead(now, project_id)
    await server.database.write(_renew)

    for cursor in (now, ahead):
        with pytest.raises(CursorExpired) as refusal:
            await _next(feeding.watch(server, project_id=project_id, after=cursor), 1)
        assert refusal.value.field == "after"


@of_either
@on_sqlite
async def test_a_feed_that_starts_anew_ends_those_who_watch_it(server: Server, project_id: str | None) -> None:
    await say_to_project(server)
    before = await feeding.now(server, project_id)
    async with aclosing(feeding.watch(server, project_id=project_id, after=before)) as feed:
        arrived = await _watched(server, feed)
        await server.database.write(_renew)
        await say_to_project(server)

        with pytest.raises(CursorExpired):
            await asyncio.wait_for(arrived, DEADLINE_S)


@on_sqlite
async def test_a_cursor_that_a_projects_log_does_not_reach_back_to_has_expired(server: Server) -> None:
    before = await feeding.now(server, "p1")
    for _ in range(2):
        await say_to_project(server)
    await server.database.write(lambda session: session.exec(delete(Change).where(col(Change.seq) == 1)))

    with pytest.raises(CursorExpired):
        await _next(feeding.watch(server, project_id="p1", after=before), 1)


def _ahead(cursor: str, project_id: str | None) -> str:
    if project_id is None:
        return cursors.for_feed(replace(cursors.feed_position(cursor, field="after"), number=LAST))
    return cursors.for_stream(cursors.stream_position(cursor, field="after")._replace(seq=1_000))


async def _renew(session: AsyncSession) -> None:
    """As a restore does."""
    await session.exec(update(FeedEpoch).values(generation=1))
    await session.exec(update(Inbox).where(col(Inbox.kind) == InboxKind.PROJECT).values(generation=1))


class _Aborted(Exception):
    pass


@asynccontextmanager
async def _open_transaction(
    server: Server,
) -> AsyncIterator[tuple[asyncio.Future[None], asyncio.Task[NewNotification]]]:
    """A record that is written, and committed, or not, when the future has its result."""
    written, end = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def work(session: AsyncSession) -> NewNotification:
        record = await recorded.record(session, "home", now=server.clock())
        written.set()
        await end
        return record

    task = asyncio.create_task(server.database.write(work))
    await written.wait()
    try:
        yield end, task
    finally:
        end.cancel()
        await asyncio.wait([task])


@on_postgres
async def test_a_record_that_is_committed_late_is_not_passed_over(server: Server) -> None:
    """Two transactions, committed the other way round than they are numbered, while somebody watches."""
    before = await domain_feed.start(server, "home", None)
    async with aclosing(feeding.watch(server, after=cursors.for_feed(before))) as feed:
        arrived = await _watched(server, feed)
        async with _open_transaction(server) as (end, early):
            late = (await say_to_project(server)).notification_id
            batch = await domain_feed.read(server, Scope("home"), before, limit=10)
            assert (batch.records, batch.waits) == ([], True)
            done, _ = await asyncio.wait([arrived], timeout=0.2)
            assert not done

            end.set_result(None)
            first = (await early).notification_id

        async with asyncio.timeout(DEADLINE_S):
            assert (await arrived).notification.notification_id == first
        assert await _next(feed, 1) == [late]


@on_postgres
async def test_who_comes_between_the_two_commits_gets_both_records(server: Server) -> None:
    async with _open_transaction(server) as (end, early):
        late = (await say_to_project(server)).notification_id
        between = await feeding.now(server)
        end.set_result(None)
        first = (await early).notification_id

    async with aclosing(feeding.watch(server, after=between)) as feed:
        assert await _next(feed, 2) == [first, late]


@on_postgres
async def test_a_record_that_is_never_committed_holds_nothing_up(server: Server) -> None:
    async with aclosing(feeding.watch(server, after=await feeding.now(server))) as feed:
        arrived = await _watched(server, feed)
        async with _open_transaction(server) as (end, early):
            late = (await say_to_project(server)).notification_id
            end.set_exception(_Aborted())
            with pytest.raises(_Aborted):
                await early

        async with asyncio.timeout(DEADLINE_S):
            assert (await arrived).notification.notification_id == late
