"""A destination for deliveries: a real HTTP server on the loopback that records what it gets and answers as told."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import quote

import orjson

PATIENCE = 10.0  # seconds that a test waits for what should come at once


@dataclass(frozen=True)
class Received:
    """One request, its header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        headers = {"content-length": str(len(self.body)), **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} Answer\r\n{lines}\r\n".encode() + self.body


@dataclass(frozen=True)
class Echo:
    """Sends back what it was sent, spelled in several ways, in the body and in the head."""

    status: int = 200

    def encode(self, request: Received) -> bytes:
        values = "\n".join([request.target, *request.headers.values(), request.body.decode()])
        credentials = request.headers.get("authorization", "")
        spelled = [values, quote(values), json.dumps(values), html.escape(values), credentials, _decoded(credentials)]
        body = "\n".join([*spelled, base64.b64encode(values.encode()).decode()]).encode()
        head = f"HTTP/1.1 {self.status} {credentials}\r\nserver: {credentials}\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body


@dataclass(frozen=True)
class Hang:
    """Never answers."""


@dataclass(frozen=True)
class Close:
    """Sends these bytes, then closes the connection."""

    sent: bytes = b""


@dataclass(frozen=True)
class Stream:
    """Sends these bytes, then one part again and again for as long as the client reads."""

    sent: bytes
    part: bytes
    pause: float = 0.0


Behaviour = Answer | Echo | Hang | Close | Stream


class Sink:
    """`async with Sink() as sink`: it takes each of `script` once, and then answers with `otherwise`."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[Received] = []
        self.script: deque[Behaviour] = deque()
        self.otherwise: Behaviour = Answer()
        self.connections = 0
        self.sent_bytes = 0
        self.port = 0  # any free one, and the same again when it is entered again
        self._tls = tls
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Sink:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def url(self, path: str = "/hook", *, host: str = "127.0.0.1") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    async def wait_for(self, count: int) -> list[Received]:
        """The first `count` requests, once they have come."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.received) >= count)
        return self.received[:count]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                async for request in _requests(reader):
                    if not await self._react(request, writer):
                        break
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _react(self, request: Received, writer: asyncio.StreamWriter) -> bool:
        """Behave as told; False when the connection ends here."""
        async with self._changed:
            self.received.append(request)
            self._changed.notify_all()
        match self.script.popleft() if self.script else self.otherwise:
            case Answer() as answer:
                await self._send(writer, answer.encode())
                return True
            case Echo() as echo:
                await self._send(writer, echo.encode(request))
                return True
            case Hang():
                await asyncio.Event().wait()
            case Close(sent):
                await self._send(writer, sent)
            case Stream(sent, part, pause):
                await self._send(writer, sent)
                while True:
                    await self._send(writer, part)
                    await asyncio.sleep(pause)
        return False

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()
        self.sent_bytes += len(data)


def _decoded(credentials: str) -> str:
    """The name and the password in an Authorization header, as a server that checks them has them."""
    scheme, _, encoded = credentials.partition(" ")
    return base64.b64decode(encoded).decode() if scheme == "Basic" else ""


async def _requests(reader: asyncio.StreamReader) -> AsyncIterator[Received]:
    while True:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return
        first, *lines = head.strip().split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        yield Received(method, target, headers, body)
