"""Numbered migrations: bring a database to this server's version, and tell where it stands."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from storage.engine import Database
from storage.errors import DatabaseNewer

# Two processes that start at once must not both migrate: an arbitrary number that only Tocsin locks.
MIGRATION_LOCK = 7_462_001


def newest() -> str:
    """The revision that this server's code is written for."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


async def upgrade(database: Database) -> str:
    """Migrate to the newest revision, in one transaction, and return it. Raises DatabaseNewer."""
    await database.run_sync(_upgrade)
    return newest()


async def is_current(database: Database) -> bool:
    """Whether the database stands at the newest revision."""
    async with database.read() as session:
        connection = await session.connection()
        return await connection.run_sync(_revision) == newest()


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    config = _config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if (revision := _revision(connection)) is not None and revision not in known:
        raise DatabaseNewer(f"The database is at revision {revision}, which is newer than this server ({newest()}).")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
