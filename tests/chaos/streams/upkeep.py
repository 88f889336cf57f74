"""What happens to a log beside its changes: old ones are pruned, and an inbox is started anew as after a restore."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random
from time import monotonic

from sqlmodel import col, delete, update
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import ids
from storage.engine import Database
from storage.models import Change, Inbox
from tests.chaos.streams.history import Chronicle

PAUSE_S = 0.3
MOST_KEPT = 400  # changes that pruning leaves
RENEWALS = 0.1  # of all upkeep


async def keep_up(database: Database, chronicle: Chronicle, chance: Random, is_enough: Callable[[], bool]) -> None:
    """Take down what is new, and now and then prune or renew some inbox, each in one transaction with that."""
    while not is_enough():
        await asyncio.sleep(PAUSE_S)
        began = monotonic()
        if chance.random() < RENEWALS:
            inbox_id, generation = await database.write(partial(_renew, chronicle, chance))
            chronicle.upkeep[inbox_id].renewed.append((began, generation))
        else:
            inbox_id, floor = await database.write(partial(_prune, chronicle, chance))
            chronicle.upkeep[inbox_id].pruned.append((began, floor))


async def _prune(chronicle: Chronicle, chance: Random, session: AsyncSession) -> tuple[int, int]:
    """Which inbox's log, and up to where."""
    await chronicle.read_on(session)
    inbox_id = chance.choice(list(chronicle.inboxes.values()))
    floor = chronicle.head(inbox_id) - chance.randint(0, MOST_KEPT)
    await session.exec(delete(Change).where(col(Change.inbox_id) == inbox_id, col(Change.seq) <= floor))
    return inbox_id, floor


async def _renew(chronicle: Chronicle, chance: Random, session: AsyncSession) -> tuple[int, int]:
    """Which inbox, and its generation from now on."""
    await chronicle.read_on(session)
    inbox_id, generation = chance.choice(list(chronicle.inboxes.values())), ids.new_generation()
    await session.exec(update(Inbox).where(col(Inbox.inbox_id) == inbox_id).values(generation=generation))
    return inbox_id, generation
