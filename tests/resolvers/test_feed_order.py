"""Random writers, whose commits overtake each other, and readers who leave and come back while messages are lost.

`FEED_SEED` of the environment runs a plan again, `FEED_RECORDS` a longer one.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from dispatch.hub import Hub
from resolvers import announcements, pushes, streams
from resolvers.announcements import Reached
from resolvers.context import Server
from resolvers.pushes import Push
from storage import feeds as feed_rows
from storage.creations import NewNotification
from storage.feeds import Position
from storage.inboxes import Owner
from storage.scope import Scope
from tests import recorded
from tests.resolvers import feeding
from tests.resolvers.callers import SERVICE
from tests.resolvers.said import MESSAGE, inside, log_protocol, say, say_to_project

SEED = int(os.environ.get("FEED_SEED", random.randrange(2**32)))
RECORDS = int(os.environ.get("FEED_RECORDS", "200"))
WRITERS = 8
READERS = 2  # of each feed
DEADLINE_S = 40 + RECORDS / 10
LOSS = 0.3  # of the hub's messages
CHECK_S = 0.05  # between two looks for what was lost
LAG_S = 0.02  # that a transaction stays open at the most
STAY = 30  # records after which a reader leaves at the latest

KINDS = ["p1", "p2", "domain", "push", "slow"]


class LossyHub(Hub):
    def __init__(self, dice: random.Random) -> None:
        super().__init__("memory://")
        self._dice = dice

    async def publish(self, heads: Mapping[Owner, int]) -> None:
        if self._dice.random() > LOSS:
            await super().publish(heads)


@dataclass(frozen=True)
class Writer:
    server: Server
    protocol_id: str
    dice: random.Random

    async def write(self, kinds: Sequence[str]) -> list[str]:
        """Records of these kinds, one after the other, and now and then what belongs into no feed."""
        made = []
        for kind in kinds:
            made.append(await self._make(kind))
            if self.dice.random() < 0.1:
                await say(self.server)
        return made

    async def _make(self, kind: str) -> str:
        if kind == "push":
            push = Push(self.protocol_id, data={}, message=MESSAGE)
            return (await pushes.push(self.server, SERVICE, push)).record.notification_id
        if kind == "slow":
            return await self._dawdle()
        said = feeding.say_to_domain(self.server) if kind == "domain" else say_to_project(self.server, kind)
        return (await said).notification_id

    async def _dawdle(self) -> str:
        """A record whose transaction stays open for a while: others overtake it where they can."""

        async def work(session: AsyncSession) -> NewNotification:
            record = await recorded.record(session, "home", now=self.server.clock())
            await asyncio.sleep(self.dice.uniform(0, LAG_S))
            return record

        record = await self.server.database.write(work)
        await announcements.announce(self.server, Reached([record]))
        return record.notification_id


async def _read(server: Server, project_id: str | None, after: str, count: int, dice: random.Random) -> list[str]:
    """So many records of a feed, over as many visits as it takes."""
    seen: list[str] = []
    while len(seen) < count:
        stay = min(dice.randint(1, STAY), count - len(seen))
        async with aclosing(feeding.watch(server, project_id=project_id, after=after)) as feed:
            for _ in range(stay):
                event = await anext(feed)
                seen.append(event.notification.notification_id)
                after = event.cursor
    return seen


async def _check_heads(server: Server) -> None:
    while True:
        await streams.check_heads(server)
        await asyncio.sleep(CHECK_S)


@pytest.fixture
async def lossy(server: Server) -> AsyncIterator[Server]:
    """The server, losing messages."""
    hub = LossyHub(random.Random(SEED))
    await hub.open()
    losing = replace(server, hub=hub)
    checking = asyncio.create_task(_check_heads(losing))
    yield losing
    checking.cancel()
    await asyncio.wait([checking])
    await hub.close()


async def test_every_reader_gets_every_record_once_and_in_order(lossy: Server) -> None:
    print(f"FEED_SEED={SEED}")  # noqa: T201 - shown when the test fails
    dice = random.Random(SEED)
    plans = [dice.choices(KINDS, k=RECORDS // WRITERS) for _ in range(WRITERS)]
    counts = {"p1": sum(plan.count("p1") for plan in plans), None: sum(map(len, plans))}
    protocol = await log_protocol(lossy)
    await inside(lossy, "alice", "bob")
    starts = {feed: await feeding.now(lossy, feed) for feed in counts}

    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        readers = {
            feed: [
                group.create_task(_read(lossy, feed, starts[feed], count, random.Random(dice.random())))
                for _ in range(READERS)
            ]
            for feed, count in counts.items()
        }
        writers = [
            group.create_task(Writer(lossy, protocol.protocol_id, random.Random(dice.random())).write(plan))
            for plan in plans
        ]

    made = [record for writer in writers for record in writer.result()]
    async with lossy.database.read() as session:
        rows = await feed_rows.after(session, Scope("home"), Position(0, 0), limit=RECORDS + 1)
    of_p1 = sorted((row for row in rows if row.project_id == "p1"), key=lambda row: row.seq or 0)
    assert sorted(row.notification_id for row in rows) == sorted(made)
    assert [reader.result() for reader in readers[None]] == [[row.notification_id for row in rows]] * READERS
    assert [reader.result() for reader in readers["p1"]] == [[row.notification_id for row in of_p1]] * READERS
