from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlmodel import SQLModel, select

from storage import inboxes, lines, migrations, places
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


@asynccontextmanager
async def _from(revision: str, database_url: str, *statements: str) -> AsyncIterator[Database]:
    """A database of an earlier revision, filled by these statements. Not migrated yet."""

    def prepare(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(migrations.VERSIONS.parent))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement in statements:
            connection.exec_driver_sql(statement)

    database = Database(database_url)
    await database.open()
    await database.run_sync(prepare)
    yield database
    await database.close()


async def test_recipients_of_fan_outs_that_the_migration_finds_wait_in_chunks(database_url: str) -> None:
    async with _from("0008", database_url, *BEFORE_CHUNKS) as database:
        await migrations.upgrade(database)

        await _wait_in_chunks(database)


async def _wait_in_chunks(database: Database) -> None:
    async with database.read() as session:
        chunks = {(row.fanout_id, row.number): row.user_ids for row in await session.exec(select(FanoutChunk))}
        waiting = set(await session.exec(select(Fanout.fanout_id)))
    assert {key: len(user_ids) for key, user_ids in chunks.items()} == {(1, 1): 500, (1, 2): 500, (1, 3): 1, (2, 1): 1}
    named = [user_id for (number, _), user_ids in chunks.items() if number == 1 for user_id in user_ids]
    assert sorted(named) == [f'Ü"{user:04}' for user in range(1_001)]
    assert waiting == {1, 2}  # the third had reached everybody


def _before_places(alice: int, team: int) -> Iterator[str]:
    """A project's record and its row, a row that was read, and a record of no inbox, in inboxes of these numbers."""
    at = "'2026-01-31T17:12:40.990Z'"
    yield (
        "INSERT INTO inbox (inbox_id, domain_id, kind, owner_id, generation, last_seq, unread_count, unseen_count,"
        f" seen_seq, total_count) VALUES ({alice}, 'd', 'USER', 'alice', 5, 3, 1, 2, 0, 2),"
        f" ({team}, 'd', 'PROJECT', 'team', 6, 1, 0, 0, 0, 1)"
    )
    yield (
        "INSERT INTO content (content_id, domain_id, topic, message, notification_type, notification_level, searched)"
        " VALUES (7, 'd', 't', '{}', 'INFO', 'ALL', ''), (8, 'd', 't', '{}', 'INFO', 'ALL', ''),"
        " (9, 'd', 't', '{}', 'INFO', 'ALL', '')"
    )
    columns = (
        "notification_id, domain_id, content_id, inbox_id, seq, feed_at, user_id, project_id, parent_notification_id,"
        " is_read, read_at, decisions, created_by, created_at"
    )
    yield (
        f"INSERT INTO notification ({columns}) VALUES"
        f" ('n1', 'd', 7, {team}, 1, 3, NULL, 'team', NULL, false, NULL, '[1]', 's', {at}),"
        f" ('n2', 'd', 7, {alice}, 1, NULL, 'alice', 'team', 'n1', false, NULL, '[]', 's', {at}),"
        f" ('n3', 'd', 8, {alice}, 2, NULL, 'alice', NULL, NULL, true, {at}, '[]', 's', {at}),"
        f" ('n4', 'd', 9, NULL, NULL, 4, NULL, NULL, NULL, false, NULL, '[]', 's', {at})"
    )
    yield (
        "INSERT INTO change (inbox_id, seq, kind, notification_id, notification_ids, unread_count, unseen_count,"
        f" changed_at) VALUES ({alice}, 1, 'ADDED', 'n2', NULL, 1, 1, {at}), ({alice}, 2, 'ADDED', 'n3', NULL, 2, 2,"
        f""" {at}), ({alice}, 3, 'READ', NULL, '["n3"]', 1, 2, {at}), ({team}, 1, 'ADDED', 'n1', NULL, 0, 0, {at})"""
    )


def _rows(connection: Connection) -> list[dict[str, object]]:
    """The notifications, with the owners of their inboxes."""
    rows = "SELECT notification.*, owner_id FROM notification LEFT JOIN inbox USING (inbox_id) ORDER BY notification_id"
    return [
        {name: str(value) for name, value in row.items()} for row in connection.execute(text(rows)).mappings().all()
    ]


async def test_notifications_that_the_migration_finds_have_their_places_and_all_else(database_url: str) -> None:
    async with _from("0010", database_url, *_before_places(3, 4)) as database:
        before = await database.run_sync(_rows)
        await migrations.upgrade(database)
        after = await database.run_sync(_rows)
        told = (await lines.after(database, {3: 0}, limit=9)).of(3)

    found = [int(str(row.pop("place"))) for row in after]
    assert found == [places.of(4, 1), places.of(3, 1), places.of(3, 2), -9]
    assert after == before
    assert [(line.kind, line.notification_id, line.content_id) for line in told] == [
        ("ADDED", "n2", 7),
        ("ADDED", "n3", 8),
        ("READ", None, None),
    ]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_inboxes_with_numbers_too_large_for_a_place_are_numbered_anew(database_url: str) -> None:
    async with _from("0010", database_url, *_before_places(2**40, 2)) as database:
        before = await database.run_sync(_rows)
        await migrations.upgrade(database)
        after = await database.run_sync(_rows)
        logs = await lines.after(database, {1: 0, 2: 0}, limit=9)
        bob = inboxes.of_user("d", "bob")
        counted = await database.write(lambda session: inboxes.add(session, {bob: 1}))

    renumbered = ("place", "inbox_id")
    assert [{**row, "inbox_id": old["inbox_id"]} for row, old in zip(after, before, strict=True)] == [
        {**old, "place": row["place"]} for row, old in zip(after, before, strict=True)
    ]
    assert [tuple(row[name] for name in renumbered) for row in after] == [
        (str(places.of(1, 1)), "1"),
        (str(places.of(2, 1)), "2"),
        (str(places.of(2, 2)), "2"),
        ("-9", "None"),
    ]
    assert [line.notification_id for line in (*logs.of(1), *logs.of(2))] == ["n1", "n2", "n3", None]
    assert counted[bob].inbox_id == 3


async def test_a_database_from_a_newer_version_is_refused(database: Database) -> None:
    await database.run_sync(
        lambda connection: connection.execute(text("UPDATE alembic_version SET version_num='9999'"))
    )

    with pytest.raises(DatabaseNewer):
        await migrations.upgrade(database)
