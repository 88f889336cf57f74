"""Logs that are followed: read once for all who follow them, and nobody gets more, less or anything else by that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest

from resolvers import cursors, feeds, inbox_log, inboxes, logs, streams
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.cursors import StreamCursor
from resolvers.errors import CursorExpired, Unavailable
from resolvers.events import Batch, Event, EventKind
from resolvers.streams import StreamFilter
from storage import added_rows
from storage.errors import DatabaseUnavailable
from tests.resolvers.callers import ADMIN, ALICE, BOB, SERVICE
from tests.resolvers.said import inside, say, say_to_project

DEADLINE_S = 20
OTHER_SERVICE = replace(SERVICE, user_id="batch")


class Screen:
    """What one stream was told, and what it was given: whatever it took not at once, and how its inbox stood."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.given: list[Any] = []
        self.takes = True
        self.come = asyncio.Event()

    def tell(self, event: Event) -> bool:
        if self.takes:
            (self.given if event.kind is EventKind.SYNCED else self.told).append(event)
            self.come.set()
        return self.takes

    async def pull(self, stream: AsyncGenerator[Any, None]) -> None:
        async with aclosing(stream):
            async for given in stream:
                self.given.append(given)
                self.come.set()

    async def until(self, is_there: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not is_there():
                self.come.clear()
                await self.come.wait()

    @property
    def ids(self) -> list[str]:
        """The notifications that it was told of."""
        return [event.notification.notification_id for event in self.told if event.notification is not None]

    @property
    def seqs(self) -> list[int]:
        """The numbers of all changes that it had, in whatever way."""
        given = [event.position.seq for event in self.given if event.kind is not EventKind.SYNCED]
        return [event.position.seq for event in self.told] + given


@asynccontextmanager
async def _watching(open_stream: Callable[[Screen], AsyncGenerator[Any, None]]) -> AsyncIterator[Screen]:
    screen = Screen()
    task = asyncio.create_task(screen.pull(open_stream(screen)))
    try:
        yield screen
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def _inbox(server: Server, caller: Caller = ALICE, **wanted: Any) -> AsyncIterator[Screen]:
    """A stream of everything, once it follows."""

    def changed(screen: Screen) -> AsyncGenerator[Event, None]:
        return streams.changed(server, caller, after=None, wanted=StreamFilter(**wanted), tell=screen.tell)

    async with _watching(changed) as screen:
        await screen.until(lambda: bool(screen.given))
        yield screen


@asynccontextmanager
async def _feed(server: Server, caller: Caller, **wanted: Any) -> AsyncIterator[Screen]:
    def watch(screen: Screen) -> AsyncGenerator[Any, None]:
        begin = cursors.for_stream(cursors.BEGINNING)
        return feeds.watch(
            server,
            caller,
            project_id="p1",
            domain_id=None,
            after=begin,
            wanted=StreamFilter(**wanted),
            tell=screen.tell,
        )

    async with _watching(watch) as screen:
        yield screen


HEADS_ALONE = "heads alone"
only_reads = pytest.mark.parametrize("news", [HEADS_ALONE], indirect=True)
only_news = pytest.mark.parametrize("news", ["with events"], indirect=True)


@pytest.fixture(params=["with events", HEADS_ALONE], autouse=True)
def news(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the news of a change brings its event along, or only that there is one, to be read."""
    if request.param == HEADS_ALONE:
        monkeypatch.setattr(inbox_log, "brought", lambda _shared, _own: None)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of how many logs each read was that was made for those who follow."""
    found: list[int] = []
    read_each = inbox_log.read_each

    async def noted(server: Server, positions: Sequence[StreamCursor], **options: Any) -> Any:
        found.append(len(positions))
        return await read_each(server, positions, **options)

    monkeypatch.setattr(inbox_log, "read_each", noted)
    return found


@only_reads
async def test_what_is_new_is_read_once_for_all_who_follow(server: Server, reads: list[int]) -> None:
    await say(server)
    async with AsyncExitStack() as stack:
        screens = [await stack.enter_async_context(_inbox(server)) for _ in range(5)]
        said = (await say(server)).notification_id
        for screen in screens:
            await screen.until(lambda screen=screen: screen.ids == [said])  # type: ignore[misc]

        assert reads == [1]
        assert all(screen.told[0] is screens[0].told[0] for screen in screens)


@only_reads
async def test_logs_that_move_together_are_read_together(server: Server, reads: list[int]) -> None:
    users = [replace(ALICE, user_id=f"user-{number}") for number in range(6)]
    await inside(server, *(user.user_id for user in users))
    await say_to_project(server)
    async with AsyncExitStack() as stack:
        screens = [await stack.enter_async_context(_inbox(server, user)) for user in users]
        await say_to_project(server)
        for screen in screens:
            await screen.until(lambda screen=screen: len(screen.told) == 1)  # type: ignore[misc]

        assert reads == [len(users)]
        mine = [event.notification.user_id for screen in screens for event in screen.told if event.notification]
        assert mine == [user.user_id for user in users]


@only_news
async def test_what_the_news_brings_along_is_not_read(server: Server, reads: list[int]) -> None:
    await say(server)
    async with AsyncExitStack() as stack:
        screens = [await stack.enter_async_context(_inbox(server)) for _ in range(logs.FEW)]
        said = [(await say(server)).notification_id for _ in range(3)]
        for screen in screens:
            await screen.until(lambda screen=screen: screen.ids == said)  # type: ignore[misc]

        assert reads == []
        assert all(screen.told == screens[0].told for screen in screens)
        assert [event.unread_count for event in screens[0].told] == [2, 3, 4]


@only_news
async def test_a_crowd_on_one_log_is_told_what_is_read_once(server: Server, reads: list[int]) -> None:
    """A crowd has to be told bit by bit: the hub does not wait for it."""
    await say(server)
    async with AsyncExitStack() as stack:
        screens = [await stack.enter_async_context(_inbox(server)) for _ in range(logs.FEW + 1)]
        said = (await say(server)).notification_id
        for screen in screens:
            await screen.until(lambda screen=screen: screen.ids == [said])  # type: ignore[misc]

        assert reads == [1]


@only_news
async def test_what_was_marked_meanwhile_is_read_and_then_the_news_is_enough_again(
    server: Server, reads: list[int]
) -> None:
    first = (await say(server)).notification_id
    async with _inbox(server) as screen:
        await inboxes.set_read(server, ALICE, notification_ids=[first], is_read=True, origin_id=None)
        await screen.until(lambda: len(screen.told) == 1)
        assert reads == [1]
        await say(server)
        await screen.until(lambda: len(screen.told) == 2)

        assert reads == [1]
        assert [event.kind for event in screen.told] == [EventKind.READ, EventKind.ADDED]
        assert screen.seqs == [2, 3]


@only_news
@pytest.mark.parametrize("lost", [0, 1])
async def test_news_that_is_not_the_next_makes_the_log_be_read(
    server: Server, reads: list[int], monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """Of two messages, one is lost, or both come in the wrong order."""
    await say(server)
    async with _inbox(server) as screen:
        held = await _held(server, monkeypatch, times=2)
        for message in held[::-1][: 2 - lost]:
            server.hub._hear(message)
        await screen.until(lambda: len(screen.told) == 2)

        assert screen.seqs == [2, 3]
        assert reads == [1]
        server.hub._hear(held[0])  # it comes again, or late
        last = (await say(server)).notification_id
        await screen.until(lambda: len(screen.told) == 3)
        assert screen.seqs == [2, 3, 4]
        assert screen.ids[-1] == last


@only_news
async def test_what_the_news_tells_while_the_log_is_read_is_told_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_each, is_read, go_on = inbox_log.read_each, asyncio.Event(), asyncio.Event()

    async def slow(server: Server, positions: Sequence[StreamCursor], **options: Any) -> Any:
        following = await read_each(server, positions, **options)
        is_read.set()
        await go_on.wait()
        return following

    monkeypatch.setattr(inbox_log, "read_each", slow)
    await say(server)
    async with _inbox(server) as screen:
        first, second = await _held(server, monkeypatch, times=2)
        server.hub.wake({inboxes.own(ALICE): 2})  # without its event
        async with asyncio.timeout(DEADLINE_S):
            await is_read.wait()
        server.hub._hear(first)
        server.hub._hear(second)
        assert screen.seqs == [2, 3]
        go_on.set()
        await say(server)
        await screen.until(lambda: len(screen.told) == 3)

        assert screen.seqs == [2, 3, 4]


@only_news
@pytest.mark.parametrize("changed", ["form", "shared", "fewer shared", "own", "generation"])
async def test_news_of_another_version_or_of_another_log_is_no_more_than_that_there_is_something(
    server: Server, reads: list[int], monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    await say(server)
    async with _inbox(server) as screen:
        [message] = await _held(server, monkeypatch, times=1)
        said = orjson.loads(message)
        [[_, _, shared, [head]]] = said["news"]
        match changed:
            case "form":
                shared[-1] += 1
            case "shared":
                said["news"][0][2] = {"another": "version"}
            case "fewer shared":
                del shared[0]
            case "own":
                head[2].pop()
            case "generation":
                head[2][added_rows.POSITIONS["generation"]] += 1
        server.hub._hear(orjson.dumps(said).decode())
        await screen.until(lambda: len(screen.told) == 1)

        assert (screen.seqs, reads) == ([2], [1])


async def _held(server: Server, monkeypatch: pytest.MonkeyPatch, *, times: int) -> list[str]:
    """The messages of so many creates, which nobody hears."""
    held: list[str] = []

    async def hold(_channel: str, text: str) -> None:
        held.append(text)

    with monkeypatch.context() as patch:
        patch.setattr(server.hub._broadcast, "publish", hold)
        for _ in range(times):
            await say(server)
    return held


async def test_nobody_is_told_what_another_filter_takes(server: Server) -> None:
    await say(server)
    async with _inbox(server, topics=["red"]) as red, _inbox(server, topics=["blue"]) as blue, _inbox(server) as all_:
        said = {topic: (await say(server, topic=topic)).notification_id for topic in ("red", "blue", "green")}
        await inboxes.set_read(server, ALICE, notification_ids=[said["red"]], is_read=True, origin_id="tab")
        for screen in (red, blue, all_):
            await screen.until(lambda screen=screen: screen.told[-1:] != [] and screen.told[-1].origin_id == "tab")  # type: ignore[misc]

        assert red.ids == [said["red"]]
        assert blue.ids == [said["blue"]]
        assert all_.ids == list(said.values())


async def test_a_service_is_told_of_nothing_but_its_own_records(server: Server) -> None:
    async with (
        _feed(server, ADMIN) as admin,
        _feed(server, SERVICE) as service,
        _feed(server, OTHER_SERVICE) as other,
    ):
        mine, others = [], []
        async with asyncio.timeout(DEADLINE_S):
            while not (admin.told and service.told and other.told):  # all follow now
                mine.append((await say_to_project(server)).notification_id)
                others.append((await say_to_project(server, caller=OTHER_SERVICE)).notification_id)
                await asyncio.sleep(0)
        last = (await say_to_project(server)).notification_id
        for screen in (admin, service):
            await screen.until(lambda screen=screen: last in screen.ids)  # type: ignore[misc]

        assert [event.notification.notification_id for event in service.given] + service.ids == [*mine, last]
        assert [event.notification.notification_id for event in other.given] + other.ids == others
        assert {*service.ids, *other.ids} <= {event.notification.notification_id for event in admin.given} | {
            *admin.ids
        }


async def test_who_takes_an_event_not_at_once_gets_it_all_the_same_and_follows_again(server: Server) -> None:
    await say(server)
    async with _inbox(server) as screen:
        await say(server)
        await screen.until(lambda: len(screen.told) == 1)
        screen.takes = False
        await say(server)
        await screen.until(lambda: any(event.kind is EventKind.ADDED for event in screen.given))
        screen.takes = True
        async with asyncio.timeout(DEADLINE_S):
            while len(screen.told) < 3:
                await say(server)
                await asyncio.sleep(0)

        assert sorted(screen.seqs) == list(range(2, 2 + len(screen.seqs)))
        assert [event.position.seq for event in screen.told] == sorted(event.position.seq for event in screen.told)


async def test_who_is_further_behind_than_is_kept_reads_the_log(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "RECENT", 4)
    await say(server)
    slow = streams.changed(server, ALICE, after=None, wanted=StreamFilter())  # is told nothing: it has to be asked
    async with aclosing(slow), _inbox(server) as screen:
        assert (await anext(slow)).kind is EventKind.SYNCED
        said = [(await say(server)).notification_id for _ in range(12)]
        await screen.until(lambda: screen.ids == said)

        async with asyncio.timeout(DEADLINE_S):
            events = [await anext(slow) for _ in said]
        assert [event.notification.notification_id for event in events if event.notification] == said


async def test_who_is_a_moment_behind_is_given_what_is_kept_and_reads_nothing(
    server: Server, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    await say(server)
    slow = streams.changed(server, ALICE, after=None, wanted=StreamFilter())
    async with aclosing(slow), _inbox(server) as screen:
        assert (await anext(slow)).kind is EventKind.SYNCED
        said = [(await say(server)).notification_id for _ in range(12)]
        await screen.until(lambda: screen.ids == said)
        monkeypatch.setattr(inbox_log, "read", None)  # nobody calls it

        async with asyncio.timeout(DEADLINE_S):
            events = [await anext(slow) for _ in said]
    assert events == screen.told
    assert sum(reads) <= len(said)


async def test_nothing_is_kept_where_nobody_is_behind(server: Server) -> None:
    await say(server)
    async with _inbox(server) as one, _inbox(server) as other:
        said = [(await say(server)).notification_id for _ in range(3)]
        for screen in (one, other):
            await screen.until(lambda screen=screen: screen.ids == said)  # type: ignore[misc]
        await asyncio.sleep(0)
        [log] = server.logs._logs.values()

        assert log._events == []
        assert log.recent(screen.told[0].position) is None
        last = log.recent(screen.told[-1].position)
        assert last is not None
        assert (last.position, last.events, last.is_last) == (screen.told[-1].position, [], True)


async def test_what_is_kept_for_those_who_are_behind_is_bounded_however_many_logs_there_are(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "RECENT", 5)
    users = [replace(ALICE, user_id=f"user-{number}") for number in range(4)]
    await inside(server, *(user.user_id for user in users))
    await say_to_project(server)
    async with AsyncExitStack() as stack:
        screens = [await stack.enter_async_context(_inbox(server, user)) for user in users]
        for user in users:
            behind = streams.changed(server, user, after=None, wanted=StreamFilter())
            assert (await anext(await stack.enter_async_context(aclosing(behind)))).kind is EventKind.SYNCED
        for times in range(1, 6):
            await say_to_project(server)
            for screen in screens:
                await screen.until(lambda screen=screen, times=times: len(screen.told) == times)  # type: ignore[misc]
            await asyncio.sleep(0)
        kept = [len(log._events) for log in server.logs._logs.values()]

        assert 0 < sum(kept) <= 5
    assert server.logs._logs == {}


async def test_where_the_reader_fails_everybody_reads_alone(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(*_given: Any, **_named: Any) -> Any:
        raise DatabaseUnavailable("The database does not answer.")

    monkeypatch.setattr(inbox_log, "read_each", failing)
    await say(server)
    async with _inbox(server) as one, _inbox(server) as other:
        said = [(await say(server)).notification_id for _ in range(3)]
        for screen in (one, other):
            await screen.until(lambda screen=screen: len(screen.seqs) == 3)  # type: ignore[misc]

            assert screen.ids == said


@only_reads
async def test_where_one_log_cannot_be_told_its_followers_read_alone_and_the_others_are_told(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_each, failed, told = inbox_log.read_each, 0, 0

    async def failing_for_one(server: Server, positions: Sequence[StreamCursor], **options: Any) -> Any:
        following = await read_each(server, positions, **options)

        def follows(position: StreamCursor) -> Batch | None:
            nonlocal failed, told
            if position.inbox_id == broken.inbox_id:
                failed += 1
                raise ValueError("a row that cannot be read")
            told += 1
            return following(position)

        return follows

    monkeypatch.setattr(inbox_log, "read_each", failing_for_one)
    await inside(server, "alice", "bob")
    await say_to_project(server)
    broken = await inbox_log.start(server, inboxes.own(ALICE), None)
    async with _inbox(server, ALICE) as one, _inbox(server, ALICE) as same, _inbox(server, BOB) as other:
        for count in range(1, 4):
            await say_to_project(server)
            for screen in (one, same, other):
                await screen.until(lambda screen=screen, count=count: len(screen.told) == count)  # type: ignore[misc]

    for screen in (one, same, other):
        assert screen.seqs == [2, 3, 4]
    assert (failed, told) == (3, 3)
    assert one.told[0] is not same.told[0]  # each has read it for itself


async def test_a_log_that_began_anew_resets_those_who_follow(server: Server) -> None:
    await say(server)
    async with _inbox(server) as screen:
        owner = inboxes.own(ALICE)
        [log] = server.logs._logs.values()
        assert log.position is not None
        log.position = log.position._replace(generation=log.position.generation + 1)
        await say(server)
        await screen.until(lambda: any(event.kind is EventKind.RESET for event in screen.given))

        head = await inbox_log.start(server, owner, None)
        assert screen.given[-1].position == head or screen.given[-2].position == head


async def test_an_error_of_one_who_is_told_is_nobody_elses(server: Server) -> None:
    def failing(_event: Event) -> bool:
        raise RuntimeError("a screen that cannot be drawn on")

    await say(server)
    async with (
        _inbox(server) as before,
        _watching(
            lambda screen: streams.changed(server, ALICE, after=None, wanted=StreamFilter(), tell=failing)
        ) as broken,
        _inbox(server) as after,
    ):
        await broken.until(lambda: bool(broken.given))
        said = (await say(server)).notification_id
        for screen in (before, after):
            await screen.until(lambda screen=screen: screen.ids == [said])  # type: ignore[misc]
        await broken.until(lambda: broken.given[-1].notification is not None)


async def test_followers_hear_that_the_server_stops(server: Server) -> None:
    screen = Screen()
    stream = streams.changed(server, BOB, after=None, wanted=StreamFilter(), tell=screen.tell)
    waiting = asyncio.ensure_future(anext(stream))
    await screen.until(lambda: bool(screen.given))

    await server.hub.close()

    with pytest.raises(Unavailable):
        await waiting


async def test_a_created_stream_ends_where_its_log_began_anew(server: Server) -> None:
    await say(server)
    screen = Screen()
    stream = streams.added(server, ALICE, after=None, wanted=StreamFilter(), tell=screen.tell)
    waiting = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(DEADLINE_S):
        while not screen.told:
            await say(server)
            await asyncio.wait([waiting], timeout=0.01)
    [log] = server.logs._logs.values()
    assert log.position is not None
    log.position = log.position._replace(generation=log.position.generation + 1)
    await say(server)

    with pytest.raises(CursorExpired):
        async with asyncio.timeout(DEADLINE_S):
            await waiting
