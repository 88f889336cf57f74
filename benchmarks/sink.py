"""A receiver that costs as little as it can: a process that answers every request on the loopback with 200."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\r\nok"
LENGTH = b"content-length:"


@contextmanager
def running() -> Iterator[int]:
    """The port of a sink that runs in a process of its own."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.sink"], stdout=subprocess.PIPE)
    with process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


class _Receiver(asyncio.Protocol):
    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := _end(self._buffer)) is not None:
            self._buffer = self._buffer[end:]
            self._transport.write(ANSWER)


def _end(buffer: bytes) -> int | None:
    """Where the first request ends; None while it has not come whole."""
    head = buffer.find(b"\r\n\r\n")
    if head < 0:
        return None
    found = buffer[:head].lower().find(LENGTH)
    length = int(buffer[found + len(LENGTH) :].split(b"\r\n", 1)[0]) if found >= 0 else 0
    end = head + 4 + length
    return end if len(buffer) >= end else None


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Receiver, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
