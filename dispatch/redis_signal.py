"""A signal between processes over Redis or Valkey, for broadcaster: one channel, on a connection that comes back.

It promises no delivery, and never makes anyone wait for it: what cannot be passed on at once, or soon, is dropped and
owned up to. It knows nothing of what messages say, and tells nobody where it connects to, nor with which password.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError

from dispatch.signals import SCHEMES, NotSent

MAX_WAITING = 1_000  # messages each way, sent or heard by nobody yet
BATCH = 100  # messages sent in one round trip
ANSWER_SECONDS = 2.0  # that the server has to accept a connection, or to answer
QUIET_SECONDS = 5.0  # without a message, until the server is asked whether it is still there
FIRST_PAUSE = 0.1  # seconds between two attempts to connect
MAX_PAUSE = 2.0
FLUSH_SECONDS = 1.0  # that what waits has to be sent at the end

log = structlog.get_logger()


@dataclass(frozen=True)
class Message:
    """As broadcaster names its parts."""

    channel: str
    message: str


class RedisSignal:
    """A backend of broadcaster. `on_gap` is awaited when messages were lost, with how many of them were sent here."""

    def __init__(self, url: str, *, on_gap: Callable[[int], Awaitable[None]]) -> None:
        """Raises ValueError, without any of it, for a URL that is none."""
        self._url = _parsed(url)
        self._on_gap = on_gap
        self._incoming: asyncio.Queue[Message] = asyncio.Queue(MAX_WAITING)
        self._outgoing: asyncio.Queue[tuple[str, str]] = asyncio.Queue(MAX_WAITING)
        self._unsent = 0  # messages lost since others were told of a gap
        self._failures = 0  # of attempts to connect, since one succeeded
        self._problem: str | None = "not connected yet"
        self._tried = asyncio.Event()
        self._is_ending = False

    @property
    def health(self) -> str:
        """What is wrong, or `ok`."""
        return self._problem or "ok"

    async def connect(self) -> None:
        self._client = _client(self._url)

    async def disconnect(self) -> None:
        await self._client.aclose()

    async def subscribe(self, channel: str) -> None:
        """Connect, and go on trying: return after the first attempt, whatever became of it."""
        self._conversation = asyncio.create_task(self._keep_talking(channel), name="signal")
        await self._tried.wait()

    async def unsubscribe(self, channel: str) -> None:
        """Send what waits, if that is soon done, and end the connection."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._outgoing.join()
        self._is_ending = True  # a task group that fails at this very moment swallows the cancellation
        self._conversation.cancel()
        await asyncio.wait([self._conversation])

    async def publish(self, channel: str, message: str) -> None:
        """Have it sent soon. Raises NotSent, at once, while the server is away or too slow."""
        if self._problem or self._outgoing.full():
            self._unsent += 1
            raise NotSent
        self._outgoing.put_nowait((channel, message))

    async def next_published(self) -> Message:
        return await self._incoming.get()

    async def _keep_talking(self, channel: str) -> None:
        while not self._is_ending:
            try:
                await self._talk(channel)
            except Exception as error:
                self._note_failure(_cause(error))
            finally:
                self._drop_outgoing()
                await self._client.connection_pool.disconnect()
            await asyncio.sleep(_pause(self._failures))

    async def _talk(self, channel: str) -> None:
        """Connect, and pass messages both ways until something fails."""
        async with self._client.pubsub() as pubsub, asyncio.TaskGroup() as group:
            await pubsub.subscribe(channel)
            if await pubsub.get_message(timeout=ANSWER_SECONDS) is None:  # that it is subscribed, or why not
                raise TimeoutError
            await self._note_success()
            group.create_task(self._hear(pubsub))
            group.create_task(self._send())

    async def _hear(self, pubsub: PubSub) -> None:
        is_asked = False
        while True:
            heard = await pubsub.get_message(timeout=ANSWER_SECONDS if is_asked else QUIET_SECONDS)
            if heard is not None:
                is_asked = False
                await self._keep(heard)
            elif is_asked:
                raise TimeoutError
            else:
                is_asked = True
                await pubsub.ping()

    async def _keep(self, heard: dict[str, Any]) -> None:
        if heard["type"] != "message":
            return
        if self._incoming.full():
            await self._on_gap(0)
        else:
            self._incoming.put_nowait(Message(heard["channel"], heard["data"]))

    async def _send(self) -> None:
        while True:
            batch = [await self._outgoing.get()]
            while len(batch) < BATCH and not self._outgoing.empty():
                batch.append(self._outgoing.get_nowait())
            try:
                await self._send_batch(batch)
            except BaseException:
                self._unsent += len(batch)
                raise
            finally:
                for _ in batch:
                    self._outgoing.task_done()
            if self._unsent:
                await self._own_up()

    async def _send_batch(self, batch: list[tuple[str, str]]) -> None:
        async with self._client.pipeline(transaction=False) as pipeline:
            for channel, message in batch:
                pipeline.publish(channel, message)
            await pipeline.execute()

    async def _note_success(self) -> None:
        if self._failures:
            log.info("signal_back", attempts=self._failures)
        self._failures, self._problem = 0, None
        self._tried.set()
        await self._own_up()

    def _note_failure(self, error: BaseException) -> None:
        refused = isinstance(error, AuthenticationError | NoPermissionError)
        self._problem = f"the broadcast server {'refuses the credentials' if refused else 'does not answer'}"
        if not self._failures:
            log.warning("signal_lost", error=type(error).__name__, problem=self._problem)
        self._failures += 1
        self._tried.set()

    async def _own_up(self) -> None:
        unsent, self._unsent = self._unsent, 0
        if unsent:
            log.warning("signal_gap", unsent=unsent)
        await self._on_gap(unsent)

    def _drop_outgoing(self) -> None:
        while not self._outgoing.empty():
            self._outgoing.get_nowait()
            self._outgoing.task_done()
            self._unsent += 1


def _parsed(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError("must be a redis://, rediss://, valkey:// or valkeys:// address")
    known = f"{SCHEMES[scheme]}://{rest}"
    try:
        _client(known)
    except (TypeError, ValueError):  # which repeat a part of the address, and it may hold a password
        raise ValueError("must be an address such as redis://host:6379/0") from None
    return known


def _client(url: str) -> Redis:
    return Redis.from_url(
        url,
        protocol=2,  # which every version speaks
        decode_responses=True,
        encoding_errors="replace",
        socket_connect_timeout=ANSWER_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),  # what fails ends the conversation, and the next one begins with a gap
    )


def _cause(error: BaseException) -> BaseException:
    """The first thing that went wrong, out of the group that the two halves of a conversation end in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _pause(failures: int) -> float:
    """Seconds until the next attempt: longer each time, and not the same for all who lost the server together."""
    return min(FIRST_PAUSE * 2.0 ** min(failures, 16), MAX_PAUSE) * random.uniform(0.5, 1)
