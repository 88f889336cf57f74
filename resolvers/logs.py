"""The logs that this process's streams follow: what is new in each is read once for all of them.

A stream reads its log itself until it stands where the log's other followers stand. From there on it is handed what
comes: where few follow, the event that the news of a change brings along, if it is the next one; else what one reader
finds, by one query for many logs that have moved together. Whoever does not take an event at once, or where anything is
in doubt, falls off and reads for itself again: the log is the truth. It must not know what an event is for, nor who may
see it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from dispatch.hub import Hub, HubClosed
from resolvers.cursors import StreamCursor
from resolvers.errors import Unavailable
from resolvers.events import Batch, Event, Standing, Stood
from storage.inboxes import Owner

RECENT = 256  # events of a process that are kept for streams which are a moment behind
TOGETHER = 500  # logs that are read with one query
IN_ONE_GO = 500  # events are told before others have their turn
FEW = 16  # who follow a log are told at once of what its news brings along: a crowd has to be told bit by bit

Tell = Callable[[Event], bool]  # takes an event at once, if it wants it, or says that it cannot
Following = Callable[[StreamCursor], Batch | None]
ReadEach = Callable[[Sequence[StreamCursor]], Awaitable[Following]]  # tells what follows each position, when asked
Brought = Callable[[Any, Any], Event | None]  # makes an event of what the news of it says: of all told, of this one


class Source(NamedTuple):
    """Where the events of a log come from."""

    read: ReadEach
    brought: Brought


class Follower:
    """One stream's place in a log."""

    __slots__ = ("_left", "_log", "_seq", "_tell")

    def __init__(self, log: Log, tell: Tell) -> None:
        self._log = log
        self._tell = tell
        self._seq = 0
        self._left: asyncio.Future[StreamCursor] | None = None

    def recent(self, position: StreamCursor) -> Batch | None:
        """What followed a position a moment ago; None where that is not kept, and has to be read."""
        return self._log.recent(position)

    async def follow(self, batch: Batch, *, seconds: float | None = None) -> StreamCursor:
        """Wait behind the last batch for what comes, but not for longer than that; up to where all is told.

        Events that are wanted are told as they come. It ends before the first of them that is not taken, and where
        there is nobody to tell before the very first. Raises Unavailable.
        """
        loop = asyncio.get_running_loop()
        self._left, self._seq = loop.create_future(), batch.position.seq
        timer = None if seconds is None else loop.call_later(seconds, self._log.drop, self)
        try:
            if not self._log.take(self, batch):
                return batch.position
            return await self._left
        except HubClosed as error:
            raise Unavailable("The server is stopping: resume with the last cursor.") from error
        finally:
            self._log.drop(self)
            if timer is not None:
                timer.cancel()

    def offer(self, event: Event) -> bool:
        """Whether nothing more has to become of an event: it is not wanted, or was told at once."""
        try:
            return self._tell(event)
        except Exception:  # who is given the event instead says what is wrong with it
            return False

    def hear(self, event: Event) -> bool:
        """Whether it can go on following."""
        return event.position.seq <= self._seq or self.offer(event)

    def leave(self, position: StreamCursor) -> None:
        """It was told everything up to there, if it has not come further by itself."""
        assert self._left
        if not self._left.done():
            seq = max(position.seq, self._seq)
            self._left.set_result(StreamCursor(position.inbox_id, position.generation, seq))

    def end(self) -> None:
        if self._left and not self._left.done():
            self._left.set_exception(HubClosed())


class Log:
    """One inbox's log, or one project's, at the place of those who follow it."""

    __slots__ = (
        "_counts",
        "_events",
        "_followers",
        "_head",
        "_is_closed",
        "_kept",
        "_moved",
        "_read_for",
        "_since",
        "_source",
        "listening",
        "position",
    )

    def __init__(self, source: Source, moved: Callable[[Log], None], kept: deque[Log]) -> None:
        self.position: StreamCursor | None = None  # what comes after it is still to be told
        self.listening = 0  # how many streams, whether they follow it or are behind
        self._counts: tuple[int, int] | None = None  # of what is unread and unseen there; None where there is no inbox
        self._head = 0  # how far it is said to have come
        self._read_for = 0  # the same when it was read last
        self._followers: dict[Follower, None] = {}
        self._source = source
        self._moved = moved
        self._kept = kept
        self._events: list[Event] = []  # the last ones up to the position: all that came, while somebody was behind
        self._since = 0  # after this number
        self._is_closed = False

    @property
    def has_news(self) -> bool:
        """Whether there is more to be told, as far as is known."""
        return self.position is not None and self._head > self.position.seq and bool(self._followers)

    def advance(self, head: int, shared: Any = None, own: Any = None) -> None:
        """It is said to have come this far, by a change of which the news may bring the event along."""
        here = self.position
        if own is not None and here is not None and head == here.seq + 1 and 0 < len(self._followers) <= FEW:
            event = self._source.brought(shared, own)
            if event is not None and event.position.generation == here.generation:
                self._tell(event)
        if head > self._head:
            self._head = head
        if self.has_news:
            self._moved(self)

    def close(self) -> None:
        self._is_closed = True
        for follower in self._followers:
            follower.end()

    def take(self, follower: Follower, batch: Batch) -> bool:
        """Let it follow from the end of a batch on; False where it has to read again before. Raises HubClosed."""
        if self._is_closed:
            raise HubClosed
        if self.position is not None and self.position.generation != batch.position.generation:
            self.lose()  # one of them is of before the log began anew
            return False
        if self.position is not None and self.position.seq > batch.position.seq:
            return False
        if not self._followers:
            self._begin(batch)
        self._followers[follower] = None
        self.advance(0)
        return True

    def drop(self, follower: Follower) -> None:
        """Let it go on by itself: it has been told everything up to the position."""
        if follower in self._followers:
            assert self.position
            del self._followers[follower]
            follower.leave(self.position)

    def lose(self) -> None:
        """Let all of them go on by themselves: what comes next is not known here."""
        for follower in list(self._followers):
            self.drop(follower)
        if self.position is not None:
            self._head = max(self._head, self.position.seq)  # for those who read before it had come there
        self.position = None
        self._events.clear()

    def to_read(self) -> StreamCursor:
        """The position to read after. What is said from now on may not be found by that."""
        assert self.position
        self._read_for, self._head = self._head, 0
        return self.position

    def miss(self) -> None:
        """It could not be read: what was said still is to be told."""
        self._head = max(self._head, self._read_for)
        self.lose()

    async def tell(self, position: StreamCursor, batch: Batch | None) -> None:
        """What was found after a position; None where it is not one of this log any more."""
        told = 0
        for event in batch.events if batch else ():
            if told > IN_ONE_GO:
                told = 0
                await asyncio.sleep(0)
            if not self._is_past(position):
                break
            if event.position.seq > self._seq:  # else its news was here before it was read
                told += len(self._followers)
                self._tell(event)
        if batch is None or not self._is_past(position):
            self.lose()
            return
        if batch.position.seq >= self._seq:
            self._stand(batch.position, batch.inbox)
        if batch.inbox:
            self.advance(batch.inbox.last_seq)

    def recent(self, position: StreamCursor) -> Batch | None:
        known = self.position
        if known is None or known.generation != position.generation or not self._since <= position.seq <= known.seq:
            return None
        inbox = self._counts and Stood(*known, *self._counts)
        return Batch(known, [event for event in self._events if event.position.seq > position.seq], inbox)

    def forget_oldest(self) -> None:
        """Of the events that it keeps, if it still does."""
        if self._events:
            self._since = self._events.pop(0).position.seq

    @property
    def _seq(self) -> int:
        assert self.position
        return self.position.seq

    def _is_past(self, position: StreamCursor) -> bool:
        """Whether all up to that was told to those who follow, and perhaps more."""
        here = self.position
        return here is not None and here.generation == position.generation and here.seq >= position.seq

    def _begin(self, batch: Batch) -> None:
        if self.position != batch.position:
            self._events.clear()
            self._since = batch.position.seq
        self._stand(batch.position, batch.inbox)

    def _tell(self, event: Event) -> None:
        if behind := [follower for follower in self._followers if not follower.hear(event)]:
            self._leave_behind(behind, event.position)
        self._keep(event)
        self._stand(event.position, event)

    def _leave_behind(self, followers: Sequence[Follower], place: StreamCursor) -> None:
        """They were told everything before it."""
        before = StreamCursor(place.inbox_id, place.generation, place.seq - 1)
        for follower in followers:
            del self._followers[follower]
            follower.leave(before)

    def _keep(self, event: Event) -> None:
        """For those who are a moment behind, if anybody is."""
        if self.listening > len(self._followers):
            self._events.append(event)
            self._kept.append(self)
            if len(self._kept) > RECENT:
                self._kept.popleft().forget_oldest()
        else:
            self._events.clear()
            self._since = event.position.seq

    def _stand(self, position: StreamCursor, inbox: Standing | Event | None) -> None:
        self.position = position
        if inbox is not None:
            self._counts = inbox.unread_count, inbox.unseen_count


class Logs:
    """Those of one process."""

    def __init__(self) -> None:
        self._logs: dict[Owner, Log] = {}
        self._moved: dict[Log, None] = {}
        self._kept: deque[Log] = deque()  # a log for each event that it keeps, the oldest first
        self._reading: asyncio.Task[None] | None = None

    @contextmanager
    def listen(self, hub: Hub, owner: Owner, *, source: Source, tell: Tell) -> Iterator[Follower]:
        """Hear of a log from now on: what is published before the first read of its rows is not missed."""
        log = self._logs.get(owner)
        if log is None:
            log = self._logs[owner] = Log(source, self._start(source.read), self._kept)
            hub.add(owner, log)
        log.listening += 1
        try:
            yield Follower(log, tell)
        finally:
            log.listening -= 1
            if not log.listening:
                del self._logs[owner]
                self._moved.pop(log, None)
                hub.remove(owner, log)
            if not self._logs and self._reading is not None:
                self._reading.cancel()  # nobody waits for it, and the database may be closed next
                self._reading = None

    def _start(self, read: ReadEach) -> Callable[[Log], None]:
        def moved(log: Log) -> None:
            self._moved[log] = None
            if self._reading is None:
                self._reading = asyncio.create_task(self._read(read), name="logs")

        return moved

    async def _read(self, read: ReadEach) -> None:
        """Tell what is new in the logs that have moved, until none has."""
        try:
            while self._moved:
                taken = list(self._moved)[:TOGETHER]
                for log in taken:
                    del self._moved[log]
                if positions := {log: log.to_read() for log in taken if log.has_news}:
                    await self._tell_read(positions, read)
        finally:
            if self._reading is asyncio.current_task():
                self._reading = None

    async def _tell_read(self, positions: Mapping[Log, StreamCursor], read: ReadEach) -> None:
        try:
            following = await read([*positions.values()])
        except Exception:  # whoever follows reads alone then, and hears what is wrong
            for log in positions:
                log.miss()
            return
        for log, position in positions.items():
            try:
                batch = following(position)
            except Exception:  # as above
                log.miss()
            else:
                await log.tell(position, batch)
