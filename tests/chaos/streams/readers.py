"""Clients: each follows one inbox in its own way, leaves at any instant, and comes back with the last cursor it got.

A client keeps everything that it is told, with the moment, and judges none of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from time import monotonic

from resolvers import cursors
from resolvers.errors import CursorExpired
from resolvers.events import EventKind
from resolvers.streams import StreamFilter
from tests.chaos.streams.door import Door
from tests.chaos.streams.told import Began, Entry, Expired, Moved, Row, Standing, Told

POLL_S = 0.5
LONGEST_VISIT_S = 4.0
SHORT_ABSENCE_S, LONG_ABSENCE_S = 0.1, 2.0
NAPS, LONGEST_NAP_S = 0.05, 2.0  # now and then a client is slow to take the next event


class Way(StrEnum):
    CHANGED = "inboxChanged"
    CREATED = "notificationCreated"
    POLLS = "inboxChanges"


@dataclass
class Reader:
    name: str
    user: str
    way: Way
    wanted: StreamFilter
    doors: Sequence[Door]
    chance: Random
    from_now: bool = False  # begins without a cursor
    cursor: str | None = None
    entries: list[Entry] = field(default_factory=list)
    rows: dict[str, Row] = field(default_factory=dict)  # what it saw come
    visits: int = 0
    is_in_a_hurry: bool = False  # takes no naps any more

    @property
    def seq(self) -> int:
        return -1 if self.cursor is None else cursors.stream_position(self.cursor, field="cursor").seq

    async def run(self) -> None:
        """Never ends by itself."""
        await self._begin(from_now=self.from_now)
        visit = _VISITS[self.way]
        while True:
            self.visits += 1
            await self._until_it_leaves(visit)
            await asyncio.sleep(self._absence())

    async def _until_it_leaves(self, visit: Callable[[Reader, Door], Awaitable[None]]) -> None:
        # Whoever came without a cursor could not come back: it stays until it is told the first thing.
        stay = None if self.cursor is None else self.chance.uniform(0, LONGEST_VISIT_S)
        try:
            async with asyncio.timeout(stay):
                await visit(self, self.chance.choice(self.doors))
        except TimeoutError:
            return
        except CursorExpired:
            self._keep(Expired())
            await self._begin()

    async def _begin(self, *, from_now: bool = False) -> None:
        standing = await self._read()
        self.cursor = None if from_now else standing.cursor
        self._keep(Began(self.cursor))

    async def _read(self) -> Standing:
        standing = await self.chance.choice(self.doors).standing(self.user)
        self._keep(standing)
        return standing

    async def _follow_changes(self, door: Door) -> None:
        async with aclosing(door.changed(self.user, self.cursor, self.wanted)) as events:
            left = self._patience()
            async for told in events:
                self._hear(told)
                if told.kind is EventKind.RESET:
                    await self._read()
                if (left := left - 1) == 0:
                    return
                await self._take_time()

    async def _follow_creates(self, door: Door) -> None:
        async with aclosing(door.created(self.user, self.cursor, self.wanted)) as events:
            left = self._patience()
            async for told in events:
                self._hear(told)
                if (left := left - 1) == 0:
                    return
                await self._take_time()

    async def _poll(self, door: Door) -> None:
        while True:
            assert self.cursor is not None
            events, cursor, has_more = await door.page(self.user, self.cursor, self.chance.randint(1, 100))
            for told in events:
                self._hear(told)
            self._keep(Moved(cursor))
            self.cursor = cursor
            if not has_more:
                await asyncio.sleep(POLL_S)

    def _hear(self, told: Told) -> None:
        self.cursor = told.cursor
        if told.row:
            self.rows[told.row.notification_id] = told.row
        self._keep(told)

    def _keep(self, what: Told | Standing | Began | Moved | Expired) -> None:
        self.entries.append(Entry(monotonic(), what))

    def _patience(self) -> int:
        """After how many events it leaves, if not before."""
        return 1 if self.cursor is None else self.chance.choice((1, 10, 100, 1000))

    async def _take_time(self) -> None:
        if self.chance.random() < NAPS and not self.is_in_a_hurry:
            await asyncio.sleep(self.chance.uniform(0, LONGEST_NAP_S))

    def _absence(self) -> float:
        return self.chance.uniform(0, LONG_ABSENCE_S if self.chance.random() < 0.2 else SHORT_ABSENCE_S)


_VISITS: Mapping[Way, Callable[[Reader, Door], Awaitable[None]]] = {
    Way.CHANGED: Reader._follow_changes,
    Way.CREATED: Reader._follow_creates,
    Way.POLLS: Reader._poll,
}
