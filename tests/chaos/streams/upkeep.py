"""What happens beside what users do: logs are pruned, inboxes started anew as after a restore, old rows removed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from random import Random
from time import monotonic

from sqlmodel import col, update
from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers.context import Server
from resolvers.retention import Keep, sweep
from storage import ids, retention
from storage.models import Inbox
from tests.chaos.streams.history import Chronicle

PAUSE_S = 0.15
MOST_KEPT = 150  # changes that pruning leaves
OLDEST_S = 20.0  # notifications that are left
ALWAYS = timedelta(days=365)


async def keep_up(keeper: Server, chronicle: Chronicle, chance: Random, is_enough: Callable[[], bool]) -> None:
    """Take down what is new, and do something to some inbox, again and again."""
    while not is_enough():
        await asyncio.sleep(PAUSE_S)
        [act] = chance.choices(list(_ACTS), list(_ACTS.values()))
        await act(keeper, chronicle, chance)


async def _prune(keeper: Server, chronicle: Chronicle, chance: Random) -> None:
    began = monotonic()

    async def prune(session: AsyncSession) -> tuple[int, int]:
        inbox_id = await _any_inbox(session, chronicle, chance)
        end = chronicle.head(inbox_id) - chance.randint(0, MOST_KEPT)
        await retention.prune(session, {inbox_id: end})
        return inbox_id, end

    inbox_id, end = await keeper.database.write(prune)
    chronicle.upkeep[inbox_id].pruned.append((began, end))


async def _renew(keeper: Server, chronicle: Chronicle, chance: Random) -> None:
    began, generation = monotonic(), ids.new_generation()

    async def renew(session: AsyncSession) -> int:
        inbox_id = await _any_inbox(session, chronicle, chance)
        await session.exec(update(Inbox).where(col(Inbox.inbox_id) == inbox_id).values(generation=generation))
        return inbox_id

    inbox_id = await keeper.database.write(renew)
    chronicle.upkeep[inbox_id].renewed.append((began, generation))


async def _remove_old(keeper: Server, _chronicle: Chronicle, chance: Random) -> None:
    keep = Keep(ALWAYS, log_changes=2**31, notification_age=timedelta(seconds=chance.uniform(1, OLDEST_S)))
    await sweep(keeper, keep)


async def _any_inbox(session: AsyncSession, chronicle: Chronicle, chance: Random) -> int:
    """Within the transaction that does something to it: no line may go before it was taken down."""
    await chronicle.read_on(session)
    return chance.choice(list(chronicle.inboxes.values()))


_ACTS: Mapping[Callable[[Server, Chronicle, Random], Awaitable[None]], float] = {
    _prune: 70,
    _renew: 10,
    _remove_old: 20,
}
