"""The hub: tells every process which inboxes have changed, and wakes the streams that watch them.

It carries sequence numbers, never content: the rows are the truth, and a lost message only makes a stream later. So a
watcher needs no queue: all that it keeps is the highest number it was told. The sole user of `broadcaster`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager

import orjson
import structlog
from broadcaster import Broadcast

from storage.inboxes import Owner
from storage.models import InboxKind

CHANNEL = "tocsin.inboxes"
SUPPORTED_SCHEMES = ("memory",)

log = structlog.get_logger()


class HubClosed(Exception):
    """The server is stopping: streams end."""


class Watch:
    """One stream's view of one inbox: how far it is known to have come."""

    def __init__(self) -> None:
        self._head = 0
        self._moved = asyncio.Event()
        self._closed = False

    async def beyond(self, seq: int) -> None:
        """Return once the inbox is known to have come past this sequence number. Raises HubClosed."""
        while self._head <= seq and not self._closed:
            self._moved.clear()
            await self._moved.wait()
        if self._closed:
            raise HubClosed

    def advance(self, head: int) -> None:
        self._head = max(self._head, head)
        self._moved.set()

    def close(self) -> None:
        self._closed = True
        self._moved.set()


class Hub:
    """`open` before use, `close` after. All processes of one server share a broadcast URL."""

    def __init__(self, url: str) -> None:
        self._broadcast = Broadcast(url)
        self._watches: dict[Owner, set[Watch]] = defaultdict(set)
        self._resources = AsyncExitStack()

    async def open(self) -> None:
        await self._resources.enter_async_context(self._broadcast)
        self._subscription = await self._resources.enter_async_context(self._broadcast.subscribe(CHANNEL))
        self._listener = asyncio.create_task(self._listen(), name="hub")

    async def close(self) -> None:
        """End every stream, then the connection."""
        for watches in self._watches.values():
            for watch in watches:
                watch.close()
        self._listener.cancel()
        await asyncio.wait([self._listener])
        await self._resources.aclose()

    @property
    def healthy(self) -> bool:
        return not self._listener.done()

    async def publish(self, heads: Mapping[Owner, int]) -> None:
        """Tell every process that these inboxes have come this far. A failure is logged: it only costs time."""
        if not heads:
            return
        try:
            await self._broadcast.publish(
                CHANNEL, orjson.dumps([[*owner, seq] for owner, seq in heads.items()]).decode()
            )
        except Exception as error:
            log.warning("hub_publish_failed", error=type(error).__name__)

    def wake(self, heads: Mapping[Owner, int]) -> None:
        """Tell the streams of this process the same."""
        for owner, head in heads.items():
            for watch in self._watches.get(owner, ()):
                watch.advance(head)

    def watched(self) -> Collection[Owner]:
        """The inboxes that streams of this process watch now."""
        return list(self._watches)

    @contextmanager
    def watch(self, owner: Owner) -> Iterator[Watch]:
        """Watch an inbox from now on: what is published before the first read of its rows is not missed."""
        watch = Watch()
        self._watches[owner].add(watch)
        try:
            yield watch
        finally:
            self._watches[owner].discard(watch)
            if not self._watches[owner]:
                del self._watches[owner]

    async def _listen(self) -> None:
        while True:
            event = await self._subscription.get()
            self.wake(
                {Owner(domain, InboxKind(kind), owner): seq for domain, kind, owner, seq in orjson.loads(event.message)}
            )
