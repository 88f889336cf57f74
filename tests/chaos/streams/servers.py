"""Two servers in this process: what one says, the other is never told, and a good part of it not even the one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random

from cryptography.fernet import Fernet

from dispatch.hub import Head, Hub, News
from resolvers import streams
from resolvers.context import Server
from storage.engine import Database
from storage.secrets import Vault

HEADS_EVERY_S = 0.5
LOST, LATE, AGAIN, BARE = 0.2, 0.1, 0.1, 0.1  # of all messages


class LossyHub(Hub):
    """Loses messages, brings some of them later, out of order, or twice, and of some not what they tell besides."""

    def __init__(self, chance: Random) -> None:
        super().__init__("memory://")
        self._chance = chance
        self._late: list[list[News]] = []

    async def publish_news(self, news: Iterable[News]) -> None:
        fate, said = self._chance.random(), [*news]
        if fate < LOST:
            return
        if fate < LOST + LATE + AGAIN:
            self._late.append(said)
        if LOST <= fate < LOST + LATE:
            return
        if fate > 1 - BARE:
            said = [each._replace(heads=[Head(head.owner_id, head.seq) for head in each.heads]) for each in said]
        await super().publish_news(said)
        while self._late and self._chance.random() < 0.5:
            await super().publish_news(self._late.pop(self._chance.randrange(len(self._late))))


@asynccontextmanager
async def running(database: Database, seed: int) -> AsyncIterator[list[Server]]:
    """Both on one database. SQLite has one process: there they share its connections as well."""
    async with _another(database) as other:
        hubs = [LossyHub(Random(f"{seed} hub {number}")) for number in range(2)]
        servers = [_server(each, hub) for each, hub in zip((database, other), hubs, strict=True)]
        for hub in hubs:
            await hub.open()
        checks = [asyncio.create_task(_check_heads(server)) for server in servers]
        try:
            yield servers
        finally:
            for check in checks:
                check.cancel()
            await asyncio.wait(checks)
            for hub in hubs:
                await hub.close()


@asynccontextmanager
async def _another(database: Database) -> AsyncIterator[Database]:
    if database.is_sqlite:
        yield database
        return
    other = Database(database.url.render_as_string(hide_password=False))
    await other.open()
    try:
        yield other
    finally:
        await other.close()


def _server(database: Database, hub: Hub) -> Server:
    return Server(
        database=database,
        vault=Vault(Fernet.generate_key()),
        plugins={},
        hub=hub,
        wake_worker=lambda: None,
        wake_fanout=lambda: None,
        clock=_now,
    )


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


async def _check_heads(server: Server) -> None:
    while True:
        await asyncio.sleep(HEADS_EVERY_S)
        await streams.check_heads(server)
