"""SQLite's index of texts stays in few pieces, and says the same."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from storage.engine import Database
from storage.queries import search_merging
from tests.storage.asked import find, question, store

NOW = datetime(2026, 1, 31, tzinfo=UTC)
COMMITS = 12
DEADLINE = 60
PIECES = "SELECT count(DISTINCT segid) FROM content_search_idx"


async def _pieces(database: Database) -> int:
    return int(await database.run_sync(lambda connection: connection.exec_driver_sql(PIECES).scalar_one()))


async def _merged(database: Database) -> int:
    """How many transactions it took to merge all there was."""
    transactions = 0
    async with asyncio.timeout(DEADLINE):
        while await search_merging.merge(database):
            transactions += 1
    return transactions


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_pieces_are_merged_until_nearly_one_is_left(database: Database) -> None:
    domains = [await store(database, [{"createdAt": NOW, "topic": f"pods {n}"}]) for n in range(COMMITS)]
    before = await _pieces(database)

    assert await _merged(database) >= 1

    assert before >= 4
    assert await _pieces(database) <= 2
    assert await _merged(database) == 0
    for scope in domains:
        assert await find(database, scope, question(keyword="pods", now=NOW)) == [0]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_takes_long_to_merge_is_merged_in_many_transactions(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that others write between them."""
    monkeypatch.setattr(search_merging, "_MERGE", search_merging._MERGE.bindparams(pages=1))
    said = [" ".join(str(number * 7_919**power) for power in range(1, 40)) for number in range(200)]
    for start in range(0, len(said), 50):
        await store(database, [{"createdAt": NOW, "topic": topic} for topic in said[start : start + 50]])

    assert await _merged(database) > 4
    assert await _pieces(database) <= 2


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_there_is_nothing_to_merge_on_postgresql(database: Database) -> None:
    assert await search_merging.merge(database) is False
