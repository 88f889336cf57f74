from __future__ import annotations

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlmodel import SQLModel, select

from storage import migrations
from storage.engine import Database
from storage.errors import DatabaseNewer
from storage.models import Fanout, FanoutChunk


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


BEFORE_CHUNKS = (
    "INSERT INTO content (content_id, domain_id, topic, message, notification_type, notification_level, searched)"
    " VALUES (7, 'd', 't', '{}', 'INFO', 'ALL', '')",
    *(
        "INSERT INTO fanout (fanout_id, record_id, domain_id, content_id, created_by, due_at)"
        f" VALUES ({number}, 'r', 'd', 7, 'b', '2026-01-31T17:12:40.990Z')"
        for number in (1, 2, 3)
    ),
    "INSERT INTO fanout_recipient (fanout_id, user_id) VALUES "
    + ", ".join(f"({number}, 'Ü\"{user:04}')" for number, users in ((1, 1_001), (2, 1)) for user in range(users)),
)


async def test_recipients_of_fan_outs_that_the_migration_finds_wait_in_chunks(database_url: str) -> None:
    def prepare(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(migrations.VERSIONS.parent))
        config.attributes["connection"] = connection
        command.upgrade(config, "0008")
        for statement in BEFORE_CHUNKS:
            connection.exec_driver_sql(statement)

    database = Database(database_url)
    await database.open()
    await database.run_sync(prepare)
    await migrations.upgrade(database)

    async with database.read() as session:
        chunks = {(row.fanout_id, row.number): row.user_ids for row in await session.exec(select(FanoutChunk))}
        waiting = set(await session.exec(select(Fanout.fanout_id)))
    assert {key: len(user_ids) for key, user_ids in chunks.items()} == {(1, 1): 500, (1, 2): 500, (1, 3): 1, (2, 1): 1}
    named = [user_id for (number, _), user_ids in chunks.items() if number == 1 for user_id in user_ids]
    assert sorted(named) == [f'Ü"{user:04}' for user in range(1_001)]
    assert waiting == {1, 2}  # the third had reached everybody
    await database.close()


async def test_a_database_from_a_newer_version_is_refused(database: Database) -> None:
    await database.run_sync(
        lambda connection: connection.execute(text("UPDATE alembic_version SET version_num='9999'"))
    )

    with pytest.raises(DatabaseNewer):
        await migrations.upgrade(database)
