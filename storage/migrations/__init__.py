"""Numbered migrations: bring a database to this server's version, and tell where it stands.

Alembic is loaded only where there is something to migrate: it takes 8 MB, and a server starts without it.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from storage.engine import Database

VERSIONS = Path(__file__).parent / "versions"


@cache
def newest() -> str:
    """The revision that this server's code is written for."""
    return max(path.name for path in VERSIONS.glob("[0-9]*.py")).partition("_")[0]


async def upgrade(database: Database) -> str:
    """Migrate to the newest revision, in one transaction, and return it. Raises DatabaseNewer."""
    await database.run_sync(_upgrade)
    return newest()


async def is_current(database: Database) -> bool:
    """Whether the database stands at the newest revision."""
    async with database.read() as session:
        connection = await session.connection()
        return await connection.run_sync(revision) == newest()


def _upgrade(connection: Connection) -> None:
    if revision(connection) != newest():
        import_module("storage.migrations.upgrading").upgrade(connection)


def revision(connection: Connection) -> str | None:
    """Where the database stands; None before its first migration."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    known: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return known
