"""The hub: tells every process which inboxes and deliveries have changed, and wakes the streams that watch them.

It carries sequence numbers and ids, and hands on what else is said of them without looking into it: the rows are the
truth, and a lost message only makes a stream later. So a watcher needs no queue: of an inbox it keeps the highest
number that it was told, of deliveries the set of those that it has not read again yet. Where messages may have been
lost, inboxes are looked at anew at once, and whoever watches deliveries, of which there is no log, is told to. The sole
user of `broadcaster`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, NamedTuple, Protocol, cast

import orjson
import structlog
from broadcaster import Broadcast, BroadcastBackend

from dispatch import signals
from dispatch.signals import NotSent
from storage.inboxes import Owner
from storage.models import InboxKind

CHANNEL = "tocsin"
SCHEMES = ("memory", *signals.SCHEMES)
MAX_UNREAD = 1_000  # deliveries that one watcher may leave unread: whoever falls further behind lists them again

log = structlog.get_logger()


class Changed(Protocol):
    """A delivery, whatever else is known of it."""

    @property
    def delivery_id(self) -> str: ...

    @property
    def domain_id(self) -> str: ...


class Head(NamedTuple):
    """How far an inbox or a feed has come, and what besides concerns it alone: JSON, or nothing."""

    owner_id: str
    seq: int
    own: Any = None


class News(NamedTuple):
    """How far inboxes, or feeds, of one kind have come, and what besides concerns them all: JSON, or nothing."""

    domain_id: str
    kind: InboxKind
    heads: Sequence[Head]
    shared: Any = None


class HubClosed(Exception):
    """The server is stopping: streams end."""


class Watching(Protocol):
    """Who watches an inbox, or a feed."""

    def advance(self, head: int, shared: Any = None, own: Any = None) -> None:
        """It is said to have come this far, with what else the news has of it."""

    def close(self) -> None:
        """Nothing more will be said."""


class Watch:
    """One stream's view of one inbox: how far it is known to have come."""

    def __init__(self) -> None:
        self._head = 0
        self._moved = asyncio.Event()
        self._closed = False

    async def beyond(self, seq: int) -> None:
        """Return once the inbox is said to have come past this sequence number. Raises HubClosed.

        It is said once: who reads after this and finds nothing was told wrong, and waits for the next news.
        """
        while self._head <= seq and not self._closed:
            self._moved.clear()
            await self._moved.wait()
        if self._closed:
            raise HubClosed
        self._head = 0

    def advance(self, head: int, _shared: Any = None, _own: Any = None) -> None:
        self._head = max(self._head, head)
        self._moved.set()

    def close(self) -> None:
        self._closed = True
        self._moved.set()


class FellBehind(Exception):
    """More deliveries changed than a watcher may leave unread, or the news of some was lost."""


class DeliveryWatch:
    """One stream's view of a domain's deliveries: which have changed since it last asked."""

    def __init__(self) -> None:
        self._unread: dict[str, None] = {}  # a set in the order of change
        self._moved = asyncio.Event()
        self._end: Exception | None = None

    async def changed(self, limit: int) -> list[str]:
        """The ids of up to `limit` deliveries that changed, once there are any. Raises HubClosed, FellBehind."""
        while not self._unread and self._end is None:
            self._moved.clear()
            await self._moved.wait()
        if self._end is not None:
            raise self._end
        taken = list(self._unread)[:limit]
        for delivery_id in taken:
            del self._unread[delivery_id]
        return taken

    def add(self, delivery_ids: Collection[str]) -> None:
        self._unread |= dict.fromkeys(delivery_ids)
        if len(self._unread) > MAX_UNREAD:
            self.fall_behind()
        self._moved.set()

    def fall_behind(self) -> None:
        self._unread.clear()
        self._end = self._end or FellBehind()
        self._moved.set()

    def close(self) -> None:
        self._end = self._end or HubClosed()
        self._moved.set()


class Hub:
    """`open` before use, `close` after. All processes of one server share a broadcast URL, and a channel there.

    `check_heads` is called when inboxes may have moved without this process having been told, `check_revocations` when
    a process has revoked tokens, or may have.
    """

    def __init__(
        self,
        url: str,
        *,
        channel: str = CHANNEL,
        check_heads: Callable[[], None] = lambda: None,
        check_revocations: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises ValueError, without any of it, for a URL that is none."""
        scheme, separator, _ = url.partition("://")
        if not separator or scheme not in SCHEMES:
            raise ValueError(f"must be one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
        self.is_alone = scheme == "memory"  # there are no streams but this process's own
        self.untold = 0  # messages that no other process was sent
        self._signal = None if self.is_alone else signals.named(url, on_gap=self._after_gap)
        # broadcaster asks for no more of its backends than the signal has.
        backend = cast(BroadcastBackend | None, self._signal)
        self._broadcast = Broadcast(backend=backend) if backend else Broadcast(url)
        self._channel = channel
        self._check_heads = check_heads
        self._check_revocations = check_revocations
        self._watches: dict[Owner, set[Watching]] = defaultdict(set)
        self._delivery_watches: dict[str, set[DeliveryWatch]] = defaultdict(set)  # by domain
        self._resources = AsyncExitStack()

    async def open(self) -> None:
        await self._resources.enter_async_context(self._broadcast)
        self._subscription = await self._resources.enter_async_context(self._broadcast.subscribe(self._channel))
        self._listener = asyncio.create_task(self._listen(), name="hub")

    async def close(self) -> None:
        """End every stream, then the connection."""
        for watches in self._watches.values():
            for watch in watches:
                watch.close()
        for delivery_watches in self._delivery_watches.values():
            for delivery_watch in delivery_watches:
                delivery_watch.close()
        self._listener.cancel()
        await asyncio.wait([self._listener])
        await self._resources.aclose()

    @property
    def health(self) -> str:
        """What is wrong, or `ok`."""
        if self._listener.done():
            return "the listener has stopped"
        return self._signal.health if self._signal else "ok"

    def reaches(self, owner: Owner) -> bool:
        """Whether anybody may watch it, as far as is known here."""
        return not self.is_alone or owner in self._watches

    async def publish(self, heads: Mapping[Owner, int]) -> None:
        """Tell every process that these inboxes have come this far. A failure is counted: it only costs time."""
        reached = {owner: seq for owner, seq in heads.items() if self.reaches(owner)}
        await self.publish_news(
            News(domain_id, kind, [Head(owner_id, seq)]) for (domain_id, kind, owner_id), seq in reached.items()
        )

    async def publish_news(self, news: Iterable[News]) -> None:
        """The same, with what those who watch them may be told at once; of whoever the hub `reaches`."""
        if spelled := [[each.domain_id, each.kind, each.shared, [[*head] for head in each.heads]] for each in news]:
            await self._tell(news=spelled)

    async def publish_deliveries(self, changed: Sequence[Changed]) -> None:
        """Tell every process that these deliveries were made, or have changed. A failure costs their watchers news."""
        by_domain: dict[str, list[str]] = defaultdict(list)
        for delivery in changed:
            if not self.is_alone or delivery.domain_id in self._delivery_watches:
                by_domain[delivery.domain_id].append(delivery.delivery_id)
        if by_domain:
            await self._tell(deliveries=by_domain)

    async def publish_revocation(self) -> None:
        """Tell every process that tokens were revoked. A failure is counted: it only costs time."""
        await self._tell(revoked=True)

    def wake(self, heads: Mapping[Owner, int]) -> None:
        """Tell the streams of this process the same."""
        for owner, head in heads.items():
            for watch in self._watches.get(owner, ()):
                watch.advance(head)

    def wake_deliveries(self, changed: Mapping[str, Collection[str]]) -> None:
        """Tell the streams of this process which deliveries, by domain, have changed."""
        for domain_id, delivery_ids in changed.items():
            for watch in self._delivery_watches.get(domain_id, ()):
                watch.add(delivery_ids)

    def watched(self) -> Collection[Owner]:
        """The inboxes that streams of this process watch now."""
        return list(self._watches)

    @contextmanager
    def watch(self, owner: Owner) -> Iterator[Watch]:
        """Watch an inbox from now on: what is published before the first read of its rows is not missed."""
        watch = Watch()
        self.add(owner, watch)
        try:
            yield watch
        finally:
            self.remove(owner, watch)

    def add(self, owner: Owner, watch: Watching) -> None:
        """The same, until it is removed."""
        self._watches[owner].add(watch)

    def remove(self, owner: Owner, watch: Watching) -> None:
        self._watches[owner].discard(watch)
        if not self._watches[owner]:
            del self._watches[owner]

    @contextmanager
    def watch_deliveries(self, domain_id: str) -> Iterator[DeliveryWatch]:
        """Watch a domain's deliveries from now on."""
        watch = DeliveryWatch()
        self._delivery_watches[domain_id].add(watch)
        try:
            yield watch
        finally:
            self._delivery_watches[domain_id].discard(watch)
            if not self._delivery_watches[domain_id]:
                del self._delivery_watches[domain_id]

    async def _tell(self, **message: Any) -> None:
        text = orjson.dumps(message).decode()
        try:
            await self._broadcast.publish(self._channel, text)
        except NotSent:
            self.untold += 1
            self._hear(text)  # the streams of this process at least

    async def _listen(self) -> None:
        # It waits for nothing but the next message, so what broadcaster queues for it, without a bound of its own, is
        # what the backend had when it was asked.
        while True:
            event = await self._subscription.get()
            self._hear(event.message)

    def _hear(self, text: str) -> None:
        try:
            message = orjson.loads(text)
            self._hear_news(message.get("news", ()))
            deliveries = message.get("deliveries", {})
        except (AttributeError, TypeError, ValueError):
            log.warning("hub_message_malformed")  # of another version, perhaps
            return
        self.wake_deliveries(deliveries)
        if message.get("revoked"):
            self._check_revocations()
        if message.get("gap"):
            self._look_anew()

    def _hear_news(self, news: Iterable[Any]) -> None:
        """Raises AttributeError, TypeError or ValueError for what is none."""
        watches: Mapping[Any, Collection[Watching]] = self._watches  # whose keys are equal to plain tuples
        for domain_id, kind, shared, heads in news:
            for owner_id, seq, own in heads:
                for watch in watches.get((domain_id, kind, owner_id), ()):
                    watch.advance(seq, shared, own)

    async def _after_gap(self, unsent: int) -> None:
        """Messages were lost: others' perhaps, and so many of ours."""
        self._look_anew()
        if unsent:
            await self._tell(gap=True)

    def _look_anew(self) -> None:
        self._check_heads()
        self._check_revocations()
        for watches in self._delivery_watches.values():
            for watch in watches:
                watch.fall_behind()
