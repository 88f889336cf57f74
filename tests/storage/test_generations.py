"""What a restore does to generations: a dump shows, the operator tells of any other, and a start changes nothing."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text
from sqlmodel import col, select

from storage import feeds, generations, inboxes
from storage.engine import Database
from storage.inboxes import of_project, of_user
from storage.models import Inbox

OWNERS = [of_project("d1", "p"), of_user("d1", "a"), of_user("d2", "a")]


async def _started(database: Database) -> list[int]:
    """Some inboxes, in a database with which a server has started; the generations."""
    await database.write(lambda session: inboxes.add(session, dict.fromkeys(OWNERS, 1)))
    await database.write(generations.go_on)
    return await _generations(database)


async def _generations(database: Database) -> list[int]:
    """Of the domains' feeds, and of each inbox."""
    async with database.read() as session:
        of_inboxes = (await session.exec(select(Inbox.generation).order_by(col(Inbox.inbox_id)))).all()
        return [(await feeds.standing(session)).generation, *of_inboxes]


def _are_all_others(before: list[int], after: list[int]) -> bool:
    return len(before) == len(after) and not set(before) & set(after)


async def test_a_start_leaves_every_generation_as_it_is(database: Database) -> None:
    before = await _started(database)

    await database.write(generations.go_on)

    assert await _generations(database) == before


async def test_renewing_makes_every_generation_another_and_the_next_start_leaves_them(database: Database) -> None:
    before = await _started(database)

    await database.write(generations.renew)

    renewed = await _generations(database)
    assert _are_all_others(before, renewed)
    await database.write(generations.go_on)
    assert await _generations(database) == renewed


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_start_on_what_a_dump_brought_makes_every_generation_another(database: Database) -> None:
    before = await _started(database)
    await database.run_sync(_restore)

    await database.write(generations.go_on)

    restored = await _generations(database)
    assert _are_all_others(before, restored)
    await database.write(generations.go_on)
    assert await _generations(database) == restored


def _restore(connection: Connection) -> None:
    """What a dump does: it writes the rows anew."""
    connection.execute(text("CREATE TABLE dumped AS SELECT * FROM feed_epoch"))
    connection.execute(text("DELETE FROM feed_epoch"))
    connection.execute(text("INSERT INTO feed_epoch SELECT * FROM dumped"))
