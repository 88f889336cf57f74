"""What an idle socket and a sent message cost with each websocket implementation of uvicorn, and with the one in use.

    .venv/bin/python -m benchmarks.websocket_server

A bare application that sends prebuilt text, in a process of its own; its resident memory and its CPU are what is
measured. wsproto is measured where it is installed, which Tocsin does not need. Rounds of all alternate.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import os
import statistics
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from websockets.frames import Frame, Opcode

from schema.bounded_socket import BoundedSocket

IN_USE = "schema.bounded_socket"
IMPLEMENTATIONS: dict[str, Any] = {
    "websockets": "websockets",
    "wsproto": "wsproto",
    "websockets-sansio": "websockets-sansio",
    IN_USE: BoundedSocket,
}
SOCKETS = 500
MESSAGES = 200  # to each of them, in one round
ROUNDS = 5
TEXT = "x" * 500  # about an event
FRAME_BYTES = 4 + len(TEXT)


@dataclass(frozen=True)
class Figures:
    idle_kb: float  # of one socket
    sent_us: float  # of CPU for one message


async def _application(scope: Any, receive: Any, send: Any) -> None:
    """Sends as many messages as it is told to by a text."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    message = {"type": "websocket.send", "text": TEXT}
    while (event := await receive())["type"] == "websocket.receive":
        for _ in range(int(event["text"])):
            await send(message)


class _Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()


def _serve(name: str) -> None:
    warnings.simplefilter("ignore")  # uvicorn deprecates one of them
    config = uvicorn.Config(
        _application,
        port=0,
        lifespan="off",
        log_config=None,
        access_log=False,
        ws=IMPLEMENTATIONS[name],
        ws_per_message_deflate=False,
    )
    _Server(config).run()


@contextmanager
def _serving(name: str) -> Iterator[tuple[int, int]]:
    """The process id and the port of a server with this implementation."""
    command = [sys.executable, "-m", "benchmarks.websocket_server", name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    with process:
        assert process.stdout
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


class _Reader(asyncio.Protocol):
    """A client that only counts what comes."""

    def __init__(self) -> None:
        self.opened = asyncio.get_running_loop().create_future()
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
        transport.write(f"GET / HTTP/1.1\r\nHost: a\r\n{upgrade}\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            assert data.startswith(b"HTTP/1.1 101")
            self.opened.set_result(None)
            return
        self._left -= len(data)
        if self._left == 0:
            self._done.set_result(None)

    async def receive(self, messages: int) -> None:
        self._left, self._done = messages * FRAME_BYTES, asyncio.get_running_loop().create_future()
        self.transport.write(Frame(Opcode.TEXT, str(messages).encode()).serialize(mask=True))
        await self._done


async def _measure(pid: int, port: int) -> Figures:
    loop = asyncio.get_running_loop()
    _, first = await loop.create_connection(_Reader, "127.0.0.1", port)
    await first.opened
    await first.receive(100)  # what is imported and allocated once is not a socket's
    before = _resident_kb(pid)
    readers = [(await loop.create_connection(_Reader, "127.0.0.1", port))[1] for _ in range(SOCKETS)]
    await asyncio.gather(*(reader.opened for reader in readers))
    idle = (_resident_kb(pid) - before) / SOCKETS
    started = _cpu_seconds(pid)
    await asyncio.gather(*(reader.receive(MESSAGES) for reader in readers))
    sent = (_cpu_seconds(pid) - started) / (SOCKETS * MESSAGES)
    for reader in readers:
        reader.transport.abort()
    return Figures(idle, sent * 1e6)


def _resident_kb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def _cpu_seconds(pid: int) -> float:
    """Of user and system; the fields behind the name, which may hold spaces."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _main(names: Sequence[str]) -> None:
    figures: dict[str, list[Figures]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name in names:
            with _serving(name) as (pid, port):
                figures[name].append(asyncio.run(_measure(pid, port)))
    lines = ["| implementation | idle socket, kB | message sent, us of CPU |", "|---|---|---|"]
    for name, found in figures.items():
        idle = statistics.median(each.idle_kb for each in found)
        sent = statistics.median(each.sent_us for each in found)
        lines.append(f"| {name} | {idle:.1f} | {sent:.1f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _serve(sys.argv[1])
    else:
        _main([name for name in IMPLEMENTATIONS if name != "wsproto" or importlib.util.find_spec("wsproto")])
