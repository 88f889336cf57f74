from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlmodel import SQLModel

from storage import migrations
from storage.engine import Database
from storage.errors import DatabaseNewer


async def test_migrations_make_exactly_the_tables_of_the_models(database: Database) -> None:
    def is_of_models(name: str | None, _type: object, _parents: object) -> bool:
        return not (name or "").startswith("content_search")  # each engine's own, which no model can say

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"include_name": is_of_models})
        return list(compare_metadata(context, SQLModel.metadata))

    assert await database.run_sync(differences) == []


def test_the_newest_revision_is_the_one_that_nothing_comes_after() -> None:
    """It is read off the files' names."""
    assert ScriptDirectory(str(migrations.VERSIONS.parent)).get_heads() == [migrations.newest()]


async def test_migrating_again_changes_nothing(database: Database) -> None:
    await migrations.upgrade(database)

    assert await migrations.is_current(database)


async def test_a_database_from_a_newer_version_is_refused(database: Database) -> None:
    await database.run_sync(
        lambda connection: connection.execute(text("UPDATE alembic_version SET version_num='9999'"))
    )

    with pytest.raises(DatabaseNewer):
        await migrations.upgrade(database)
