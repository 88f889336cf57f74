"""The inbox row: who is known, exact counts, and locks that never deadlock."""

from __future__ import annotations

import asyncio
import random

from storage import inboxes
from storage.engine import Database
from storage.inboxes import of_project, of_user
from storage.models import InboxKind


async def test_registering_users_counts_only_the_new_ones(database: Database) -> None:
    assert await database.write(lambda session: inboxes.register(session, "d1", ["a", "b"])) == 2
    assert await database.write(lambda session: inboxes.register(session, "d1", ["b", "c", "c"])) == 1

    async with database.read() as session:
        assert await inboxes.known_users(session, "d1", limit=10) == ["a", "b", "c"]
        assert await inboxes.known_users(session, "d2", limit=10) == []


async def test_adding_counts_each_inbox_once_and_makes_missing_ones(database: Database) -> None:
    owners = [of_user("d1", "b"), of_project("d1", "p"), of_user("d1", "a")]
    await database.write(lambda session: inboxes.add(session, dict.fromkeys(owners[:1], 1)))

    rows = await database.write(lambda session: inboxes.add(session, dict.fromkeys(owners, 1)))

    counts = {owner: (row.last_seq, row.unread_count, row.unseen_count, row.total_count) for owner, row in rows.items()}
    assert counts == {
        of_user("d1", "a"): (1, 1, 1, 1),
        of_user("d1", "b"): (2, 2, 2, 2),
        of_project("d1", "p"): (1, 0, 0, 1),  # a project's feed is nobody's to read
    }


async def test_projects_are_locked_before_users() -> None:
    owners = sorted([of_user("d", "a"), of_project("d", "z")])

    assert [owner.kind for owner in owners] == [InboxKind.PROJECT, InboxKind.USER]


async def test_an_inbox_that_is_made_anew_has_another_generation(database: Database) -> None:
    rows = await database.write(
        lambda session: inboxes.add(session, {of_user("d", str(number)): 1 for number in range(20)})
    )

    assert len({row.generation for row in rows.values()}) == 20


async def test_concurrent_additions_in_any_order_neither_deadlock_nor_miscount(database: Database) -> None:
    users = [of_user("d", f"user-{number:03}") for number in range(40)]

    async def add() -> None:
        some = random.sample(users, 30)
        await database.write(lambda session: inboxes.add(session, dict.fromkeys(some, 1)))

    await database.write(lambda session: inboxes.add(session, dict.fromkeys(users[:20], 1)))
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for _ in range(24):
            tasks.create_task(add())

    async with database.read() as session:
        heads = await inboxes.heads(session, users)
    assert sum(heads.values()) == 20 + 24 * 30


async def test_rows_are_locked_in_lock_order(database: Database) -> None:
    owners = [of_user("d", "b"), of_project("d", "p"), of_user("d", "a")]
    rows = await database.write(lambda session: inboxes.add(session, dict.fromkeys(owners, 1)))

    locked = await database.write(lambda session: inboxes.lock(session, [row.inbox_id for row in rows.values()]))

    assert [inboxes.owner(row) for row in locked.values()] == sorted(owners)
