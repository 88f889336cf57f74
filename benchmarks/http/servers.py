"""The servers, each a process on its own core, and what such a process costs: CPU, memory, time to import.

Everything else, the load and the database, runs on the other cores.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.http import operations, sample
from benchmarks.http.data import Places
from resolvers import access
from resolvers.access import Caller, Role

START_DEADLINE_S = 60.0
LOOK_EVERY_S = 0.05
KEY = secrets.token_hex(32)  # Tocsin and the stock server take the same tokens

TIME_THE_IMPORT = """
import time
started, cpu = time.perf_counter(), time.process_time()
import main
print(time.perf_counter() - started, time.process_time() - cpu)
"""


@dataclass(frozen=True)
class Server:
    name: str
    process: subprocess.Popen[bytes]
    port: int

    @property
    def cpu_seconds(self) -> float:
        """Of user and system in all its threads, to the nanosecond: the clock that clock_getcpuclockid(3) names."""
        return time.clock_gettime(~self.process.pid << 3 | 2)

    @property
    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def keep_apart() -> int:
    """Leave one core to the servers, if there are several; its number."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:-1] or cores)
    return cores[-1]


def token(user_id: str, role: str) -> str:
    now = datetime.now(UTC)
    ends = access.lifetime(now, timedelta(days=1))
    return access.issue(KEY.encode(), Caller(sample.DOMAIN, user_id, Role(role), ends, issued_at=now))


@asynccontextmanager
async def running(places: Places, core: int) -> AsyncIterator[Sequence[Server]]:
    """All, ready: Tocsin, which reads for every answer, the stock server, the floor, and Tocsin as it keeps answers."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(_tocsin("Tocsin", places, core, TOCSIN_ANSWERS_KEPT_BYTES="0")),
            await stack.enter_async_context(
                _running("stock", "benchmarks.stock.server", core, DATABASE_URL=places.stock, SECRET=KEY)
            ),
            await stack.enter_async_context(
                _running("floor", "benchmarks.http.floor", core, DATABASE_URL=places.floor)
            ),
            await stack.enter_async_context(_tocsin(operations.KEEPING, places, core)),
        ]


def import_seconds(core: int, times: int) -> tuple[float, float]:
    """What `import main` takes of time, and of that in CPU. Its bytecode is cached: a server has run before."""
    command = ["taskset", "--cpu-list", str(core), sys.executable, "-c", TIME_THE_IMPORT]
    taken = [subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.split() for _ in range(times)]
    elapsed, cpu = (statistics.median(map(float, each)) for each in zip(*taken, strict=True))
    return elapsed, cpu


@asynccontextmanager
async def _tocsin(name: str, places: Places, core: int, **variables: str) -> AsyncIterator[Server]:
    """It writes every delivery, but does not send them: that is what benchmarks.dispatch measures."""
    settings = {
        "TOCSIN_DATA_DIR": str(places.folder / name),
        "TOCSIN_DATABASE_URL": places.tocsin,
        "TOCSIN_SIGNING_KEY": KEY,
        "TOCSIN_DISPATCH_WORKER": "false",
        "TOCSIN_MARK_READ_ON_FETCH": "false",  # or every list would be measured in its first round only
        **variables,
    }
    port = free_port()
    async with process(name, ["main.py", "serve"], port, core, settings | {"TOCSIN_PORT": str(port)}) as server:
        yield server


@asynccontextmanager
async def _running(name: str, module: str, core: int, **variables: str) -> AsyncIterator[Server]:
    port = free_port()
    async with process(name, ["-m", module], port, core, variables | {"PORT": str(port)}) as server:
        yield server


@asynccontextmanager
async def process(
    name: str, arguments: Sequence[str], port: int, core: int, variables: dict[str, str]
) -> AsyncIterator[Server]:
    with _started(["taskset", "--cpu-list", str(core), sys.executable, *arguments], variables) as process:
        await _ready(process, port)
        yield Server(name, process, port)


@contextmanager
def _started(command: Sequence[str], variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TOCSIN_")}
    with subprocess.Popen(command, env=environment | variables, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


async def _ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Until it listens, and has answered something."""
    async with asyncio.timeout(START_DEADLINE_S):
        while process.poll() is None:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                writer.write(b"OPTIONS / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                await reader.readline()
                writer.close()
                return
    raise RuntimeError(f"a server ended with {process.returncode}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
