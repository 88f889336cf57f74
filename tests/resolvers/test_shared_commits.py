"""Creates that share a commit leave exactly what the same creates leave one after another."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from dispatch.hub import News
from dispatch.schedules import Schedule
from resolvers import inboxes, notifications
from resolvers.access import Caller, Role
from resolvers.context import Server
from resolvers.errors import Refused
from resolvers.notifications import Creation
from resolvers.once import Said
from storage import ids, statements, usages
from storage.engine import Database, Work
from storage.errors import DatabaseUnavailable
from storage.models import (
    Change,
    Channel,
    Content,
    DayOfWeek,
    Delivery,
    Fanout,
    FanoutChunk,
    IdempotencyKey,
    Inbox,
    InboxKind,
    LevelMatch,
    Notification,
    NotificationLevel,
    OffHours,
    Protocol,
    ProtocolType,
    Quota,
    ResourceState,
)
from storage.statements import Batch
from tests.conftest import Clock
from tests.resolvers.callers import ALICE, NEVER, SERVICE
from tests.resolvers.conftest import Wakes
from tests.resolvers.said import creation, inside, say

SEED = int(os.environ.get("SHARED_COMMITS_SEED", random.randrange(2**32)))
WORLDS = 12  # of a test run, on each engine
CREATES = 24  # of one
DEADLINE_S = 60

USERS = ("alice", "bob", "carol", "admin")
PROJECTS = ("p1", "p2", "unheard")
TOPICS = ("cpu.high", "cpu.low", "disk")
CLOSED = Schedule((DayOfWeek.MON,), "09:00", "17:00", "UTC", OffHours.DEFER)  # it is Saturday
SHUT = Schedule((DayOfWeek.MON,), "09:00", "17:00", "UTC", OffHours.SKIP)

Rows = Mapping[type[SQLModel], Sequence[Any]]


@dataclass(frozen=True)
class World:
    """What there is in a domain before anything is said, drawn from dice. Of equal dice, equal but for the domain."""

    domain_id: str
    dice: random.Random
    clock: Clock

    async def build(self, session: AsyncSession) -> None:
        internal = self._protocol("inside", ProtocolType.INTERNAL)
        outside = [self._protocol(f"outside-{number}", ProtocolType.EXTERNAL) for number in range(3)]
        session.add_all([internal, *outside])
        await session.flush()
        for number in range(8):
            session.add(self._channel(f"of a user {number}", self._one_of(outside), user_id=self._one_of(USERS)))
            through = self._one_of([internal, internal, *outside])
            session.add(self._channel(f"of a project {number}", through, project_id=self._one_of(PROJECTS[:2])))
        for protocol in outside[:2]:
            await self._limit(session, protocol)

    async def _limit(self, session: AsyncSession, protocol: Protocol) -> None:
        quota_id, limit = ids.new(ids.QUOTA), self.dice.randrange(4)
        session.add(
            Quota(
                quota_id=quota_id,
                domain_id=self.domain_id,
                protocol_id=protocol.protocol_id,
                day=limit,
                created_at=self.clock.now,
            )
        )
        await session.flush()
        today = usages.day(self.clock.now)
        await usages.reserve(session, protocol.protocol_id, self.domain_id, today, self.dice.randrange(3))

    def _protocol(self, name: str, kind: ProtocolType) -> Protocol:
        return Protocol(
            protocol_id=ids.new(ids.PROTOCOL),
            domain_id=self.domain_id,
            name=name,
            state=self._one_of([ResourceState.ENABLED] * 5 + [ResourceState.DISABLED]),
            protocol_type=kind,
            plugin_id="log" if kind is ProtocolType.EXTERNAL else None,
            created_at=self.clock.now,
        )

    def _channel(self, name: str, protocol: Protocol, **owner: Any) -> Channel:
        level = self._one_of([None, NotificationLevel.LV1, NotificationLevel.LV3])
        schedule = self._one_of([None, None, CLOSED, SHUT])
        is_inside = protocol.protocol_type is ProtocolType.INTERNAL
        return Channel(
            channel_id=ids.new(ids.PROJECT_CHANNEL),
            domain_id=self.domain_id,
            protocol_id=protocol.protocol_id,
            name=name,
            state=self._one_of([ResourceState.ENABLED] * 5 + [ResourceState.DISABLED]),
            data={"users": self.dice.sample(USERS, 2)} if is_inside else {},
            topics=self._one_of([None, ["cpu.*"], ["disk"], []]),
            schedule=None if schedule is None else schedule.to_json(),
            destination=self._one_of([None, "far.example.org"]),
            part_count=self._one_of([1, 1, 3]),
            notification_level=level,
            level_match=level and self._one_of([LevelMatch.EXACT, LevelMatch.AT_LEAST]),
            created_at=self.clock.now + timedelta(seconds=self.dice.randrange(1000)),
            **owner,
        )

    def calls(self) -> list[tuple[Caller, Creation]]:
        """Who says what: some of it with keys, some of these again, and some of those with another body."""
        calls = [self._call(number) for number in range(CREATES)]
        for _ in range(CREATES // 4):
            caller, said = self._one_of(calls)
            topic = self._one_of([said.topic, said.topic, "another"])
            changed = Creation(**{**vars(said), "topic": topic}) if said.idempotency_key else said
            calls.insert(self.dice.randrange(len(calls)), (caller, changed))
        return calls

    def _call(self, number: int) -> tuple[Caller, Creation]:
        resource_type = self._one_of(["identity.User"] * 3 + ["identity.Project"] * 2 + ["identity.Domain"])
        to = {"identity.User": USERS, "identity.Project": PROJECTS, "identity.Domain": (self.domain_id,)}
        said = Creation(
            resource_type=resource_type,
            resource_id=self._one_of(to[resource_type]),
            topic=self._one_of(TOPICS),
            message={"number": number, "title": "Größe 1.5", "tags": {"ratio": 1.5, "list": [None, True]}},
            notification_level=self._one_of(list(NotificationLevel)),
            idempotency_key=self._one_of([None, f"key-{number}"]),
        )
        role = self._one_of([Role.SERVICE, Role.SERVICE, Role.DOMAIN_ADMIN])
        return Caller(self.domain_id, self._one_of(["backend", "admin"]), role, NEVER), said

    def _one_of(self, choices: Sequence[Any]) -> Any:
        return self.dice.choice(choices)


async def _outcome(server: Server, caller: Caller, said: Creation) -> Said | Refused:
    try:
        return await notifications.create(server, caller, said)
    except Refused as refusal:
        return refusal


@dataclass(frozen=True)
class _Transactions:
    """A database that counts its transactions."""

    count: list[None]

    @classmethod
    def of(cls, database: Database, monkeypatch: pytest.MonkeyPatch) -> _Transactions:
        transactions, write = cls([]), Database.write

        async def counting(self: Database, work: Work[Any]) -> Any:
            transactions.count.append(None)
            return await write(self, work)

        monkeypatch.setattr(Database, "write", counting)
        return transactions


async def test_what_is_said_together_is_as_if_said_one_after_another(
    server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, numbers, counts, changes, deliveries, decisions, answers and refusals of random creates."""
    chance, shared = random.Random(SEED), 0
    for number in range(WORLDS):
        seed = chance.randrange(2**32)
        alone, together = (World(f"{name}-{number}", random.Random(seed), clock) for name in ("alone", "together"))
        await server.database.write(alone.build)
        await server.database.write(together.build)

        one_by_one = [await _outcome(server, *call) for call in alone.calls()]
        transactions = _Transactions.of(server.database, monkeypatch)
        async with asyncio.timeout(DEADLINE_S):
            at_once = await asyncio.gather(*(_outcome(server, *call) for call in together.calls()))
        shared += len(at_once) - len(transactions.count)
        monkeypatch.undo()

        expected = await _left(server, alone.domain_id, one_by_one)
        assert await _left(server, together.domain_id, at_once) == expected, f"SHARED_COMMITS_SEED={SEED}"
    assert shared > WORLDS * CREATES / 2


async def _left(server: Server, domain_id: str, outcomes: Sequence[Said | Refused]) -> list[Any]:
    """All that is in a domain and was answered, without ids that were drawn and what else differs by chance."""
    async with server.database.read() as session:
        rows = await _rows(session, domain_id)
    plain = _Plain(domain_id, rows)
    return [
        *(plain.outcome(outcome) for outcome in outcomes),
        *sorted(repr(plain.row(row)) for model in rows for row in rows[model]),
        [plain.names[row.notification_id] for row in plain.feed()],
    ]


async def _rows(session: AsyncSession, domain_id: str) -> Rows:
    owned = (Channel, Protocol, Content, Inbox, Notification, Delivery, IdempotencyKey, Fanout)
    rows: dict[type[SQLModel], Sequence[Any]] = {}
    for model in owned:
        rows[model] = (await session.exec(select(model).where(model.domain_id == domain_id))).all()
    inbox_ids = [inbox.inbox_id for inbox in rows[Inbox]]
    rows[Change] = (await session.exec(select(Change).where(col(Change.inbox_id).in_(inbox_ids)))).all()
    fanout_ids = [fanout.fanout_id for fanout in rows[Fanout]]
    chunks = select(FanoutChunk).where(col(FanoutChunk.fanout_id).in_(fanout_ids))
    rows[FanoutChunk] = (await session.exec(chunks)).all()
    return rows


class _Plain:
    """Spells rows without what is drawn: an id is told by what it is the id of."""

    def __init__(self, domain_id: str, rows: Rows) -> None:
        self._rows = rows
        contents = {content.content_id: content.message["number"] for content in rows[Content]}
        self.names: dict[Any, Any] = {
            domain_id: "the domain",
            **{protocol.protocol_id: protocol.name for protocol in rows[Protocol]},
        }
        self.names |= {channel.channel_id: channel.name for channel in rows[Channel]}
        self.names |= {row.notification_id: (contents[row.content_id], row.user_id) for row in rows[Notification]}
        self._numbers = {
            "content_id": contents,
            "inbox_id": {inbox.inbox_id: inbox.owner_id for inbox in rows[Inbox]},
            "fanout_id": {fanout.fanout_id: (contents[fanout.content_id], fanout.due_at) for fanout in rows[Fanout]},
        }

    def row(self, row: SQLModel) -> list[Any]:
        drawn = {
            "delivery_id",
            "generation",
            "place",
            "feed_at",
            "body_hash",
        }  # of a domain's create, the hash has its id
        values = {name: value for name, value in row.model_dump().items() if name not in drawn}
        return [type(row).__name__, *((name, self._value(name, value)) for name, value in sorted(values.items()))]

    def outcome(self, outcome: Said | Refused) -> Any:
        if isinstance(outcome, Refused):
            return outcome.code, outcome.field, outcome.message
        assert outcome.notification is not None
        counts = outcome.recipient_count, outcome.delivery_count, outcome.replayed
        return self.names[outcome.notification_id], self.names[outcome.notification.notification_id], *counts

    def feed(self) -> list[Any]:
        """The domain's records in the order of its feed."""
        records = [row for row in self._rows[Notification] if row.feed_at is not None]
        assert all((row.user_id is None) == (row.feed_at is not None) for row in self._rows[Notification])
        return sorted(records, key=lambda row: (row.feed_at, row.content_id))

    def _value(self, name: str, value: Any) -> Any:
        if name in self._numbers:
            return self._numbers[name].get(value)
        if isinstance(value, dict):
            return {key: self._value(key, each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._value(name, each) for each in value]
        return self.names.get(value, value)


async def test_one_that_fails_is_alone_in_failing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction that they share fails as a whole; then each runs by itself."""
    run_all = statements.run_all

    async def failing(session: AsyncSession, rows: Batch, *others: Batch) -> None:
        await run_all(session, rows, *others)
        if any(row.topic == "poison" for row in rows.rows):
            raise LookupError("poison")

    monkeypatch.setattr(statements, "run_all", failing)
    topics = ["good", "poison", "good", "good"]
    outcomes = await asyncio.gather(
        *(say(server, "alice", topic=topic, idempotency_key=f"{number}") for number, topic in enumerate(topics)),
        return_exceptions=True,
    )

    assert [type(outcome) for outcome in outcomes] == [Said, LookupError, Said, Said]
    state = await inboxes.mine(server, ALICE)
    assert state is not None
    assert (state.unread_count, state.total_count) == (3, 3)
    monkeypatch.undo()
    assert not (await say(server, "alice", topic="poison", idempotency_key="1")).replayed


async def test_a_key_keeps_the_first_of_the_bodies_that_came_together(server: Server) -> None:
    topics = ["first", *(f"other-{number}" for number in range(9))]
    await asyncio.gather(
        *(say(server, "alice", topic=topic, idempotency_key="k") for topic in topics), return_exceptions=True
    )

    assert (await say(server, "alice", topic="first", idempotency_key="k")).replayed


async def test_what_may_have_been_committed_is_not_said_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    transactions = _Transactions.of(server.database, monkeypatch)

    async def lost(_session: AsyncSession, *_batches: Batch) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(statements, "run_all", lost)
    outcomes = await asyncio.gather(*(say(server, "alice") for _ in range(5)), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailable] * 5
    assert len(transactions.count) == 1


async def test_a_client_that_leaves_cancels_nothing(server: Server, wakes: Wakes) -> None:
    leaving = [asyncio.create_task(say(server, "alice")) for _ in range(3)]
    staying = asyncio.create_task(say(server, "alice"))
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()

    assert (await staying).recipient_count == 1
    await server.creates.drain()
    assert all(task.cancelled() for task in leaving)
    state = await inboxes.mine(server, ALICE)
    assert state is not None
    assert state.total_count == 4


async def test_whom_a_group_tells_and_wakes_it_does_once(
    server: Server, wakes: Wakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Sequence[News]] = []

    async def noting(news: Sequence[News]) -> None:
        told.append(news)

    monkeypatch.setattr(server.hub, "reaches", lambda _owner: True)
    monkeypatch.setattr(server.hub, "publish_news", noting)
    await asyncio.gather(*(say(server, user_id) for user_id in ("alice", "bob", "alice")))

    [news] = told
    assert sorted((head.owner_id, head.seq) for each in news for head in each.heads) == [
        ("alice", 1),
        ("alice", 2),
        ("bob", 1),
    ]


async def test_many_at_once_from_several_servers_leave_no_gap_and_lose_no_count(server: Server) -> None:
    others = [Server(**{**_parts(server)}) for _ in range(3)]
    await inside(server, *USERS)

    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        for number in range(200):
            said = creation("p1", resource_type="identity.Project") if number % 4 == 0 else creation(USERS[number % 3])
            tasks.create_task(notifications.create(others[number % 3], SERVICE, said))

    async with server.database.read() as session:
        found = (await session.exec(select(Inbox).where(Inbox.kind == InboxKind.USER, Inbox.domain_id == "home"))).all()
        for inbox in found:
            changes = select(Change).where(Change.inbox_id == inbox.inbox_id).order_by(col(Change.seq))
            log = [(change.seq, change.unread_count) for change in await session.exec(changes)]
            rows = select(Notification.seq).where(Notification.inbox_id == inbox.inbox_id)
            assert log == [(seq, seq) for seq in range(1, inbox.last_seq + 1)]
            assert sorted(seq or 0 for seq in await session.exec(rows)) == [*range(1, inbox.total_count + 1)]
    assert sum(inbox.total_count for inbox in found) == 150 + 50 * len(USERS)


def _parts(server: Server) -> dict[str, Any]:
    names = ("database", "vault", "plugins", "hub", "wake_worker", "wake_fanout", "clock")
    return {name: getattr(server, name) for name in names}
