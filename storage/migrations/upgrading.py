"""Runs the migrations that a database lacks, with Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from storage import migrations
from storage.errors import DatabaseNewer

# Two processes that start at once must not both migrate: an arbitrary number that only Tocsin locks.
MIGRATION_LOCK = 7_462_001


def upgrade(connection: Connection) -> None:
    """Raises DatabaseNewer."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if (revision := migrations.revision(connection)) is not None and revision not in known:
        newest = migrations.newest()
        raise DatabaseNewer(f"The database is at revision {revision}, which is newer than this server ({newest}).")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
