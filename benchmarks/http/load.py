"""The load: prebuilt requests over connections that are kept, and sockets that listen for live events.

It has to be light, for it runs beside the server that it measures. It must not know what is asked.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

T = TypeVar("T")

DEADLINE_S = 60.0
PROBE_EVERY_S = 0.1
HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length: "
OK = b"HTTP/1.1 200 "


class Failed(Exception):
    """A server did not answer as it should."""


@dataclass(frozen=True)
class Pace:
    requests: int
    seconds: float


class Connections:
    """So many connections to a server, each with one request under way at a time."""

    def __init__(self, connections: Sequence[_Connection]) -> None:
        self._connections = connections

    async def ask(self, request: bytes) -> bytes:
        """The body of one answer."""
        connection = self._connections[0]
        await _within(asyncio.ensure_future(connection.run(iter([request]))))
        return connection.last

    async def run(self, requests: Sequence[bytes], seconds: float) -> Pace:
        """Send them round and round for so long, and wait for every answer."""
        started = time.perf_counter()
        supply = _until(started + seconds, itertools.cycle(requests))
        counts = await _within(asyncio.gather(*(connection.run(supply) for connection in self._connections)))
        return Pace(sum(counts), time.perf_counter() - started)


@asynccontextmanager
async def connections(port: int, count: int) -> AsyncIterator[Connections]:
    loop = asyncio.get_running_loop()
    opened = [(await loop.create_connection(_Connection, "127.0.0.1", port))[1] for _ in range(count)]
    try:
        yield Connections(opened)
    finally:
        for connection in opened:
            connection.close()


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.last = b""  # the body of the last answer
        self._buffer = b""
        self._done: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._fail("the server closed the connection")

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head = self._buffer.find(HEAD_END)
        if head < 0:
            return
        found = self._buffer.find(LENGTH, 0, head)
        end = head + len(HEAD_END) + int(self._buffer[found + len(LENGTH) : head].split(b"\r", 1)[0])
        if len(self._buffer) < end:
            return
        self.last, answer, self._buffer = self._buffer[head + len(HEAD_END) :], self._buffer, b""
        if not answer.startswith(OK) or b'"errors":' in self.last:
            self._fail(answer.decode())
            return
        self._answered += 1
        self._send_next()

    async def run(self, requests: Iterator[bytes]) -> int:
        """Send one after the other until there are no more; how many were answered."""
        self._requests, self._answered = requests, 0
        self._done = asyncio.get_running_loop().create_future()
        self._send_next()
        return await self._done

    def close(self) -> None:
        self._transport.abort()

    def _send_next(self) -> None:
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
        elif self._done is not None:
            self._done.set_result(self._answered)

    def _fail(self, why: str) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(Failed(why))


class Watchers:
    """Open sockets, and how many events have come over them. Events of a probe only tell that a socket is awake."""

    def __init__(self, sockets: Sequence[ClientConnection], probe: str) -> None:
        self._sockets = sockets
        self._probe = probe
        self._asleep = set(range(len(sockets)))
        self._events = 0
        self._come = asyncio.Event()

    async def rouse(self, connections: Connections, probes: Sequence[bytes]) -> None:
        """Send each socket its probe until it comes: nothing else tells that a subscription has begun."""
        async with asyncio.timeout(DEADLINE_S):
            while self._asleep:
                for number in sorted(self._asleep):
                    await connections.ask(probes[number])
                await asyncio.sleep(PROBE_EVERY_S)

    async def wait(self, events: int) -> None:
        """Until so many have come in all."""
        async with asyncio.timeout(DEADLINE_S):
            while self._events < events:
                self._come.clear()
                await self._come.wait()

    async def listen(self, number: int) -> None:
        async for message in self._sockets[number]:
            assert isinstance(message, str)
            if '"ping"' in message[:40]:
                await self._sockets[number].send('{"type":"pong"}')
            elif self._probe in message:
                self._asleep.discard(number)
            elif '"next"' in message[:40]:
                self._events += 1
                self._come.set()


@asynccontextmanager
async def watchers(port: int, tokens: Sequence[str], query: str, *, probe: str) -> AsyncIterator[Watchers]:
    """One socket for each token, with this subscription; an event that holds the probe is no event."""
    sockets = [await _subscribed(port, token, query) for token in tokens]
    watching = Watchers(sockets, probe)
    listening = [asyncio.ensure_future(watching.listen(number)) for number in range(len(sockets))]
    try:
        yield watching
    finally:
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
        await asyncio.gather(*(socket.close() for socket in sockets))


async def _subscribed(port: int, token: str, query: str) -> ClientConnection:
    socket = await connect(
        f"ws://127.0.0.1:{port}/graphql",
        subprotocols=[Subprotocol("graphql-transport-ws")],
        compression=None,
        proxy=None,
    )
    init = {"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}}
    await socket.send(json.dumps(init))
    await socket.recv()
    await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query}}))
    return socket


def _until(end: float, requests: Iterator[bytes]) -> Iterator[bytes]:
    return itertools.takewhile(lambda _: time.perf_counter() < end, requests)


async def _within(answers: asyncio.Future[T]) -> T:
    async with asyncio.timeout(DEADLINE_S):
        return await answers
