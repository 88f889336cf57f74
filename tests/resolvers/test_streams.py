"""Streams: every new notification once and in order, wherever a client left off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from sqlmodel import col, delete

from dispatch.hub import Hub
from resolvers import inbox_log, inboxes, streams
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import CursorExpired, InvalidArgument, PermissionDenied, Unavailable
from resolvers.streams import StreamFilter
from storage import lines
from storage.models import Change, NotificationLevel, NotificationType
from storage.notifications import NotificationRow
from tests.resolvers.callers import ALICE, BOB, SERVICE
from tests.resolvers.said import inside, say, say_to_project

DEADLINE = 20


def _stream(
    server: Server, caller: Caller = ALICE, *, after: str | None = None, **wanted: Any
) -> AsyncGenerator[NotificationRow, None]:
    return streams.added(server, caller, after=after, wanted=StreamFilter(**wanted))


async def _next(stream: AsyncGenerator[NotificationRow, None], count: int) -> list[str]:
    async with asyncio.timeout(DEADLINE):
        return [(await anext(stream)).notification_id for _ in range(count)]


async def _cursor(server: Server, caller: Caller = ALICE) -> str:
    state = await inboxes.mine(server, caller)
    assert state is not None
    return state.cursor


async def _watched(server: Server, stream: AsyncGenerator[NotificationRow, None]) -> asyncio.Task[NotificationRow]:
    """The stream's next row, asked for: the hub knows of the stream."""
    task = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(DEADLINE):
        while not server.hub.watched():
            await asyncio.wait([task], timeout=0.01)
    return task


async def _said_until(server: Server, arrived: asyncio.Task[NotificationRow], user_id: str = "alice") -> list[str]:
    """Say something again and again, until something arrives."""
    said: list[str] = []
    async with asyncio.timeout(DEADLINE):
        while not arrived.done():
            said.append((await say(server, user_id)).notification_id)
            await asyncio.wait([arrived], timeout=0.05)
    return said


async def test_what_was_missed_comes_first_then_what_is_new(server: Server) -> None:
    before = await _cursor(server)
    missed = [(await say(server)).notification_id for _ in range(3)]

    async with aclosing(_stream(server, after=before)) as stream:
        assert await _next(stream, 3) == missed
        live = (await say(server)).notification_id
        assert await _next(stream, 1) == [live]


async def test_without_a_cursor_only_what_is_new_comes(server: Server) -> None:
    old = (await say(server)).notification_id

    async with aclosing(_stream(server)) as stream:
        arrived = await _watched(server, stream)
        new = await _said_until(server, arrived)
        first = arrived.result().notification_id
        assert first != old
        assert await _next(stream, len(new) - new.index(first) - 1) == new[new.index(first) + 1 :]


async def test_a_user_whom_nobody_knew_gets_the_very_first_one(server: Server) -> None:
    before = await _cursor(server, BOB)

    async with aclosing(_stream(server, BOB, after=before)) as stream:
        arrived = await _watched(server, stream)
        first = (await say(server, "bob")).notification_id
        async with asyncio.timeout(DEADLINE):
            assert (await arrived).notification_id == first


async def test_more_than_a_batch_comes_whole_and_in_order(server: Server) -> None:
    before = await _cursor(server)
    missed = [(await say(server)).notification_id for _ in range(streams.BATCH + 20)]

    async with aclosing(_stream(server, after=before)) as stream:
        assert await _next(stream, len(missed)) == missed


async def test_a_row_carries_the_cursor_to_go_on_from(server: Server) -> None:
    before = await _cursor(server)
    for _ in range(4):
        await say(server)

    async with aclosing(_stream(server, after=before)) as stream:
        second: Any = [await anext(stream) for _ in range(2)][-1]
    assert second.inbox is not None
    assert second.seq is not None
    async with aclosing(_stream(server, after=inboxes.cursor(second.inbox, second.seq))) as stream:
        assert (await anext(stream)).seq == second.seq + 1


async def test_what_is_gone_already_is_left_out(server: Server) -> None:
    before = await _cursor(server)
    gone, kept = [(await say(server)).notification_id for _ in range(2)]
    await inboxes.delete(server, ALICE, notification_ids=[gone], origin_id=None)

    async with aclosing(_stream(server, after=before)) as stream:
        assert await _next(stream, 1) == [kept]


async def test_a_filter_takes_what_never_changes(server: Server) -> None:
    await inside(server, "alice")
    before = await _cursor(server)
    await say(server, topic="other")
    wanted = (await say(server, topic="mine")).notification_id
    await say_to_project(server, topic="mine")

    async with aclosing(_stream(server, after=before, topics=["mine"])) as stream:
        assert await _next(stream, 1) == [wanted]
    async with aclosing(_stream(server, after=before, project_id="p1")) as stream:
        assert (await anext(stream)).project_id == "p1"


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"topic": "mine"}, {"topics": ["mine"]}),
        ({"notification_type": NotificationType.ERROR}, {"notification_types": [NotificationType.ERROR]}),
        ({"notification_level": NotificationLevel.LV2}, {"notification_levels": [NotificationLevel.LV2]}),
    ],
    ids=["topic", "type", "level"],
)
async def test_each_filter_narrows_by_itself(server: Server, said: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Notifications: what else happens in the inbox is not for these streams."""
    before = await _cursor(server)
    await say(server)
    mine = (await say(server, **said)).notification_id
    await inboxes.set_read(server, ALICE, notification_ids=[mine], is_read=True, origin_id=None)
    later = (await say(server, **said)).notification_id

    async with aclosing(_stream(server, after=before, **wanted)) as stream:
        assert await _next(stream, 2) == [mine, later]


@pytest.mark.parametrize(
    ("wanted", "field"), [({"topics": ["fine", ""]}, "filter.topics.1"), ({"project_id": ""}, "filter.projectId")]
)
async def test_a_filter_by_what_no_notification_has_is_refused(
    server: Server, wanted: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await _next(_stream(server, **wanted), 1)

    assert refused.value.field == field


async def test_a_lost_signal_only_makes_a_stream_late(server: Server) -> None:
    elsewhere = Hub("memory://")  # of a process whose messages do not come through
    await elsewhere.open()
    async with aclosing(_stream(server, after=await _cursor(server))) as stream:
        await say(server)
        await _next(stream, 1)
        arrived = asyncio.ensure_future(anext(stream))
        await asyncio.wait([arrived], timeout=0.2)
        said = (await say(replace(server, hub=elsewhere))).notification_id

        await streams.check_heads(server)

        async with asyncio.timeout(DEADLINE):
            assert (await arrived).notification_id == said
    await elsewhere.close()


async def test_a_cursor_that_the_log_does_not_reach_back_to_has_expired(server: Server) -> None:
    before = await _cursor(server)
    for _ in range(3):
        await say(server)
    await server.database.write(lambda session: session.exec(delete(Change).where(col(Change.seq) <= 2)))

    with pytest.raises(CursorExpired):
        await _next(_stream(server, after=before), 1)


async def test_a_whole_log_that_was_pruned_has_expired_too(server: Server) -> None:
    before = await _cursor(server)
    await say(server)
    await server.database.write(lambda session: session.exec(delete(Change)))

    with pytest.raises(CursorExpired):
        await _next(_stream(server, after=before), 1)


async def test_a_log_that_is_pruned_while_it_is_read_has_no_gap(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the log says goes on after something else than the inbox, which was read first, did."""
    await say(server)
    owner = inboxes.own(ALICE)
    position, read = await inbox_log.start(server, owner, None), lines.after

    async def pruned_before(*args: Any, **options: Any) -> Any:
        await say(server)
        await say(server)
        await server.database.write(lambda session: session.exec(delete(Change).where(col(Change.seq) <= 2)))
        return await read(*args, **options)

    monkeypatch.setattr(lines, "after", pruned_before)
    batch = await inbox_log.read(server, owner, position, limit=10)
    assert (batch.position, batch.events) == (position, ())
    monkeypatch.undo()
    with pytest.raises(CursorExpired):
        await inbox_log.read(server, owner, position, limit=10)


async def test_somebody_elses_and_made_up_cursors_are_refused(server: Server) -> None:
    await say(server, "alice")
    await say(server, "bob")

    for cursor in (await _cursor(server, BOB), "nonsense", (await _cursor(server))[:-2]):
        with pytest.raises(InvalidArgument):
            await _next(_stream(server, after=cursor), 1)


async def test_a_service_has_nothing_to_stream(server: Server) -> None:
    with pytest.raises(PermissionDenied):
        await _next(_stream(server, SERVICE), 1)


async def test_streams_end_when_the_hub_closes(server: Server) -> None:
    stream = _stream(server)
    arrived = await _watched(server, stream)

    await server.hub.close()

    with pytest.raises(Unavailable):
        await arrived
    assert server.hub.watched() == []


async def test_a_stream_that_is_left_is_forgotten(server: Server) -> None:
    stream = _stream(server)
    arrived = await _watched(server, stream)
    arrived.cancel()
    with pytest.raises(asyncio.CancelledError):
        await arrived
    await stream.aclose()

    assert server.hub.watched() == []
