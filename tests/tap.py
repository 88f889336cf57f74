"""A line to a server on the loopback that keeps every byte which goes over it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType


class Tap:
    """`async with Tap(port) as tap`: what is said to `tap.port` is said to that port, and the answers come back."""

    def __init__(self, target: int) -> None:
        self.asked = bytearray()
        self.answered = bytearray()
        self._target = target
        self._lines: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Tap:
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for line in self._lines:
            line.cancel()
        if self._lines:
            await asyncio.wait(self._lines)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line is not None
        self._lines.add(line)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                there, back = (reader, far_writer, self.asked), (far_reader, writer, self.answered)
                await asyncio.gather(_pass_on(*there), _pass_on(*back))
        finally:
            self._lines.discard(line)
            writer.close()
            far_writer.close()


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, kept: bytearray) -> None:
    while data := await source.read(65_536):
        kept += data
        target.write(data)
        await target.drain()
    with suppress(OSError):
        target.write_eof()
