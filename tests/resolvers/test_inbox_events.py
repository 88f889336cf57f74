"""The events of an inbox: its whole log, once and in order, on a stream as for who asks repeatedly."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from sqlmodel import col, delete

from resolvers import cursors, events, inbox_log, inboxes, streams
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import InvalidArgument, PermissionDenied
from resolvers.events import Event, EventKind
from resolvers.streams import StreamFilter
from storage.models import Change
from tests.resolvers.callers import ALICE, BOB, SERVICE
from tests.resolvers.said import say

DEADLINE = 20


def _stream(
    server: Server, caller: Caller = ALICE, *, after: str | None = None, **wanted: Any
) -> AsyncGenerator[Event, None]:
    return streams.changed(server, caller, after=after, wanted=StreamFilter(**wanted))


async def _until_synced(stream: AsyncGenerator[Event, None]) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(DEADLINE):
        while not events or events[-1].kind is not EventKind.SYNCED:
            events.append(await anext(stream))
    return events


async def _cursor(server: Server, caller: Caller = ALICE) -> str:
    state = await inboxes.mine(server, caller)
    assert state is not None
    return state.cursor


async def _everything(server: Server) -> None:
    """One change of each kind."""
    gone, read, kept = [(await say(server)).notification_id for _ in range(3)]
    await inboxes.set_read(server, ALICE, notification_ids=[read, gone], is_read=True, origin_id="tab")
    await inboxes.mark_seen(server, ALICE, up_to=await _cursor(server), origin_id="tab")
    await inboxes.delete(server, ALICE, notification_ids=[gone], origin_id="tab")
    await inboxes.mark_all_read(server, ALICE, up_to=await _cursor(server), origin_id="tab")
    await inboxes.delete_all(server, ALICE, users=None, up_to=None, domain_id=None, origin_id="tab")
    assert kept


async def test_each_change_is_an_event_with_the_counts_after_it(server: Server) -> None:
    before = await _cursor(server)
    await _everything(server)
    last = (await say(server)).notification_id

    async with aclosing(_stream(server, after=before)) as stream:
        events = await _until_synced(stream)

    # The rows that came first are gone, so their coming and their reading is not told; their removal is.
    assert [(event.kind, event.unread_count, event.unseen_count, event.origin_id) for event in events] == [
        (EventKind.SEEN, 1, 0, "tab"),
        (EventKind.REMOVED, 1, 0, "tab"),
        (EventKind.ALL_READ, 0, 0, "tab"),
        (EventKind.ALL_REMOVED, 0, 0, "tab"),
        (EventKind.ADDED, 1, 1, None),
        (EventKind.SYNCED, 1, 1, None),
    ]
    assert events[-2].notification is not None
    assert events[-2].notification.notification_id == last


async def test_a_read_of_rows_some_of_which_are_gone_tells_of_the_others(server: Server) -> None:
    before = await _cursor(server)
    gone, kept = [(await say(server)).notification_id for _ in range(2)]
    await inboxes.set_read(server, ALICE, notification_ids=[gone, kept], is_read=True, origin_id=None)
    await inboxes.delete(server, ALICE, notification_ids=[gone], origin_id=None)

    async with aclosing(_stream(server, after=before)) as stream:
        events = await _until_synced(stream)

    assert [(event.kind, list(event.notification_ids)) for event in events] == [
        (EventKind.ADDED, []),
        (EventKind.READ, [kept]),
        (EventKind.REMOVED, [gone]),
        (EventKind.SYNCED, []),
    ]


async def test_a_filter_leaves_out_other_notifications_and_nothing_else(server: Server) -> None:
    before = await _cursor(server)
    await say(server, topic="other")
    mine = (await say(server, topic="mine")).notification_id
    await inboxes.set_read(server, ALICE, notification_ids=[mine], is_read=True, origin_id=None)

    async with aclosing(_stream(server, after=before, topics=["mine"])) as stream:
        events = await _until_synced(stream)

    assert [event.kind for event in events] == [EventKind.ADDED, EventKind.READ, EventKind.SYNCED]


async def test_a_log_that_does_not_reach_back_is_a_reset_from_which_the_stream_goes_on(server: Server) -> None:
    before = await _cursor(server)
    for _ in range(3):
        await say(server)
    await server.database.write(lambda session: session.exec(delete(Change).where(col(Change.seq) <= 2)))

    async with aclosing(_stream(server, after=before)) as stream:
        reset, synced = await _until_synced(stream)
        assert (reset.kind, reset.unread_count, synced.kind) == (EventKind.RESET, 3, EventKind.SYNCED)
        new = (await say(server)).notification_id
        async with asyncio.timeout(DEADLINE):
            added = await anext(stream)
        assert added.notification is not None
        assert added.notification.notification_id == new


async def test_an_idle_stream_tells_now_and_then_how_the_inbox_stands(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "SYNC_EVERY_SECONDS", 0.05)

    async with aclosing(_stream(server, BOB)) as stream:
        for _ in range(3):
            [event] = await _until_synced(stream)
            assert (event.kind, event.position) == (EventKind.SYNCED, cursors.BEGINNING)


async def test_who_asks_repeatedly_gets_the_same_log_page_by_page(server: Server) -> None:
    before = await _cursor(server)
    for _ in range(5):
        await say(server)

    first, position, has_more = await streams.page(server, ALICE, after=before, first=3)
    rest, end, more = await streams.page(server, ALICE, after=cursors.for_stream(position), first=None)

    assert [event.position.seq for event in [*first, *rest]] == [1, 2, 3, 4, 5]
    assert (has_more, more, cursors.for_stream(end)) == (True, False, await _cursor(server))
    nothing, same, _ = await streams.page(server, ALICE, after=cursors.for_stream(end), first=None)
    assert (nothing, same) == ([], end)


async def test_asking_for_what_the_log_no_longer_has_is_a_reset(server: Server) -> None:
    before = await _cursor(server)
    await say(server)
    await server.database.write(lambda session: session.exec(delete(Change)))

    [event], position, has_more = await streams.page(server, ALICE, after=before, first=None)

    assert (event.kind, cursors.for_stream(position), has_more) == (EventKind.RESET, await _cursor(server), False)


@pytest.mark.parametrize("first", [-1, 101])
async def test_pages_of_changes_are_bounded(server: Server, first: int) -> None:
    with pytest.raises(InvalidArgument):
        await streams.page(server, ALICE, after=await _cursor(server), first=first)


async def test_a_service_has_no_events(server: Server) -> None:
    with pytest.raises(PermissionDenied):
        await anext(_stream(server, SERVICE))


async def test_a_client_that_comes_and_goes_ends_where_the_inbox_is(server: Server) -> None:
    """What a client adds up from its events, however often it reconnects, is what a list would have shown it."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    shown: dict[str, bool] = {}
    position = await _cursor(server)

    async def change() -> None:
        ids = list(shown)
        some = chance.sample(ids, min(3, len(ids)))
        match chance.randrange(6):
            case 0 if some:
                await inboxes.set_read(
                    server, ALICE, notification_ids=some, is_read=chance.random() < 0.7, origin_id=None
                )
            case 1 if some:
                await inboxes.delete(server, ALICE, notification_ids=some, origin_id=None)
            case 2:
                await inboxes.mark_all_read(server, ALICE, up_to=position, origin_id=None)
            case _:
                await say(server)

    def apply(event: Event) -> None:
        for notification_id in event.notification_ids:
            if event.kind is EventKind.REMOVED:
                shown.pop(notification_id, None)
            elif notification_id in shown:
                shown[notification_id] = event.is_read
        if event.notification is not None:
            shown[event.notification.notification_id] = event.notification.is_read
            seqs[event.notification.notification_id] = event.position.seq
        if event.kind is EventKind.ALL_READ:
            shown.update({shown_id: True for shown_id in shown if seqs[shown_id] <= event.up_to.seq})

    seqs: dict[str, int] = {}
    for _ in range(25):
        for _ in range(chance.randrange(1, 6)):
            await change()
        async with aclosing(_stream(server, after=position)) as stream:
            for event in await _until_synced(stream):
                apply(event)
                position = cursors.for_stream(event.position)

    state = await inboxes.mine(server, ALICE)
    assert state is not None
    assert len(shown) == state.total_count, f"seed {seed}"
    assert sum(not is_read for is_read in shown.values()) == state.unread_count, f"seed {seed}"
    assert position == state.cursor == cursors.for_stream(events.head((await _last_batch(server)).inbox)), (
        f"seed {seed}"
    )


async def _last_batch(server: Server) -> events.Batch:
    owner = inboxes.own(ALICE)
    return await inbox_log.read(server, owner, await inbox_log.start(server, owner, None), limit=1)
