"""A crowd of sockets that count what comes over them, and look into little of it: they share a core with much else.

It must not know what is asked, nor of whom.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import orjson
from websockets.frames import Frame, Opcode

DEADLINE_S = 120.0
AT_ONCE = 50  # sockets that are being opened
ONE_IN = 100  # is looked into
TEXT, PING = 0x81, 0x89


class Crowd:
    def __init__(self) -> None:
        self.members: list[Member] = []
        self.events = 0
        self._awaited: dict[int, asyncio.Event] = {}  # by how many events
        self.sent_at: float | None = None  # when what is under way was asked for
        self.delays: list[float] = []  # in seconds

    async def wait(self, events: int, *, seconds: float = DEADLINE_S) -> bool:
        """Whether so many come in that time."""
        if self.events < events:
            come = self._awaited.setdefault(events, asyncio.Event())
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await come.wait()
            self._awaited.pop(events, None)
        return self.events >= events

    def count(self) -> None:
        self.events += 1
        if come := self._awaited.get(self.events):
            come.set()
        if self.sent_at is not None:
            self.delays.append(asyncio.get_running_loop().time() - self.sent_at)

    def forget(self) -> None:
        self.events = 0
        for member in self.members:
            member.events = 0
            member.ids.clear()

    def lost(self, each: int) -> int:
        """How many events there are too few or too many, where each member should have had so many."""
        return sum(abs(each - member.events) for member in self.members)

    @property
    def repeated(self) -> int:
        """How many came again, of those that were looked into."""
        return sum(member.events - len(member.ids) for member in self.members[::ONE_IN])


class Member(asyncio.Protocol):
    """One socket with one subscription."""

    def __init__(self, crowd: Crowd, token: str, query: str, *, is_looked_into: bool) -> None:
        self.events = 0
        self.ids: set[str] = set()
        self.ready = asyncio.get_running_loop().create_future()
        self._crowd = crowd
        self._token = token
        self._query = query
        self._is_looked_into = is_looked_into
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
        key = base64.b64encode(os.urandom(16)).decode()
        about = f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: graphql-transport-ws"
        transport.write(f"GET /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\n{upgrade}\r\n{about}\r\n\r\n".encode())

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("a socket was closed before it was of use"))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if data.startswith(b"HTTP/1.1 101 "):
            _, _, data = data.partition(b"\r\n\r\n")
            self._send({"type": "connection_init", "payload": {"Authorization": f"Bearer {self._token}"}})
        at = 0
        while (start_end := _frame(data, at)) is not None:
            start, end = start_end
            self._take(data[at], data[start:end])
            at = end
        self._rest = data[at:]

    def _take(self, kind: int, text: bytes) -> None:
        if kind == PING:
            self.transport.write(Frame(Opcode.PONG, text).serialize(mask=True))
        elif kind == TEXT and self.ready.done():
            self.events += 1
            self._crowd.count()
            if self._is_looked_into:
                self._look_into(text)
        elif kind == TEXT and b"connection_ack" in text:
            self._send({"id": "1", "type": "subscribe", "payload": {"query": self._query}})
            self.ready.set_result(None)
        elif not self.ready.done():
            self.ready.set_exception(ConnectionError(f"unexpected: {text!r}"))

    def _look_into(self, text: bytes) -> None:
        [event] = orjson.loads(text)["payload"]["data"].values()
        self.ids.add(event.get("notification", event)["notificationId"])

    def _send(self, message: object) -> None:
        self.transport.write(Frame(Opcode.TEXT, orjson.dumps(message)).serialize(mask=True))


def _frame(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of a server's frame begins and ends, if all of it has come."""
    if len(data) < at + 4:
        return None
    start, length = at + 2, data[at + 1]
    if length == 126:
        start, length = at + 4, int.from_bytes(data[at + 2 : at + 4])
    assert length != 127, "no event is as long as that"
    return (start, start + length) if len(data) >= start + length else None


@asynccontextmanager
async def gathered(port: int, tokens: Sequence[str], query: str) -> AsyncIterator[Crowd]:
    """A socket for each token, with this subscription: whether it has begun already, only an event tells."""
    crowd, loop = Crowd(), asyncio.get_running_loop()
    try:
        for start in range(0, len(tokens), AT_ONCE):
            members = [
                Member(crowd, token, query, is_looked_into=number % ONE_IN == 0)
                for number, token in enumerate(tokens[start : start + AT_ONCE], start)
            ]
            crowd.members += members
            for member in members:
                await loop.create_connection(lambda member=member: member, "127.0.0.1", port)  # type: ignore[misc]
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.gather(*(member.ready for member in members))
        yield crowd
    finally:
        for member in crowd.members:
            if hasattr(member, "transport"):
                member.transport.abort()
