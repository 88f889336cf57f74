"""Deliveries move as the list of moves allows, and in no other way: on paper, and in the database."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlmodel import SQLModel, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from dispatch.hub import Hub
from resolvers import inboxes, steering
from resolvers.context import Server
from resolvers.errors import FailedPrecondition
from storage import deliveries, migrations, queue, states
from storage.deliveries import Filter
from storage.engine import Database
from storage.models import (
    OPEN_STATES,
    Content,
    DecisionReason,
    Delivery,
    DeliveryState,
)
from storage.queue import Leased
from storage.secrets import Vault
from storage.verdicts import Verdict
from tests.dispatch import rows
from tests.dispatch.rows import SATURDAY_EVENING
from tests.resolvers import working
from tests.resolvers.callers import ADMIN

T = TypeVar("T")

DOCUMENT = Path(__file__).parents[2] / "docs" / "deliveries.md"
CHANNELS = ("c1", "c2")
MOST = 3  # deliveries at a time: enough to be mixed up, and few enough to go a long way
DAY = 86_400
VERDICTS = (
    Verdict(DeliveryState.DELIVERED),
    Verdict(DeliveryState.RETRYING, detail="500", delay=0),
    Verdict(DeliveryState.RETRYING, detail="500", delay=DAY),
    Verdict(DeliveryState.DEAD, DecisionReason.RETRIES_EXHAUSTED),
    Verdict(DeliveryState.SKIPPED, DecisionReason.CHANNEL_DISABLED),
    Verdict(DeliveryState.PENDING, DecisionReason.OFF_HOURS, due_at=SATURDAY_EVENING),
)
THOROUGH = settings(max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
some = st.integers(0, 1_000)  # which of those that there are


def test_the_picture_shows_these_moves_and_no_others() -> None:
    picture = DOCUMENT.read_text().split("```mermaid")[1].split("```")[0]
    drawn = defaultdict(set)
    for start, end in re.findall(r"(\S+) --> (\w+|\[\*\])", picture):
        drawn[start].add(end)

    assert drawn.pop("[*]") == states.BEGINNINGS
    ends = {state for state, to in drawn.items() if "[*]" in to}
    assert ends == set(DeliveryState) - set(OPEN_STATES)
    assert {state: to - {"[*]"} for state, to in drawn.items()} == states.MOVES


def test_every_reason_is_explained() -> None:
    table = DOCUMENT.read_text().split("| reason |")[1].split("\n## ")[0]

    assert set(re.findall(r"[A-Z_]{5,}", " ".join(re.findall(r"\n\| ([A-Z_, ]+) \|", table)))) == set(DecisionReason)


def test_what_callers_may_set_moving_may_move() -> None:
    assert all(DeliveryState.PENDING in states.MOVES[state] for state in states.REVIVABLE)
    assert all(DeliveryState.SKIPPED in states.MOVES[state] for state in states.WAITING)
    assert set(states.MOVES) == set(DeliveryState)


class Deliveries(RuleBasedStateMachine):
    """Workers and callers over one database, one step after the other; what changed is judged after each."""

    url: str
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, DeliveryState] = {}
        self.seen: set[tuple[DeliveryState, DeliveryState]] = set()
        self.claimed: list[Leased] = []  # also those whose leases are lost by now
        self.run(self._open())

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    async def _open(self) -> None:
        self.database = Database(self.url)
        await self.database.open()
        self.server = Server(
            database=self.database,
            vault=Vault(Fernet.generate_key()),
            plugins={},
            hub=Hub("memory://"),
            wake_worker=lambda: None,
            wake_fanout=lambda: None,
            clock=lambda: SATURDAY_EVENING,
        )
        await self.server.hub.open()
        self.protocol = rows.protocol(domain_id="home")
        await rows.store(self.database, self.protocol)

    async def _close(self) -> None:
        async def empty(session: AsyncSession) -> None:
            for table in reversed(SQLModel.metadata.sorted_tables):
                await session.exec(delete(table))

        await self.database.write(empty)
        await self.server.hub.close()
        await self.database.close()

    def teardown(self) -> None:
        self.run(self._close())

    async def _add(self, channel_id: str, state: DeliveryState) -> None:
        said = rows.content(domain_id="home")
        await rows.store(self.database, said)
        record = rows.notification(said)
        made = rows.delivery(
            said, self.protocol, channel_id=channel_id, notification_id=record.notification_id, state=state
        )
        made.finished_at = None if state in OPEN_STATES else SATURDAY_EVENING
        await rows.store(self.database, record)
        await rows.enqueue(self.database, made)

    async def _rows(self) -> list[Delivery]:
        async with self.database.read() as session:
            return list(await session.exec(select(Delivery).order_by(Delivery.delivery_id)))

    def _one(self, number: int, *, rather: Collection[DeliveryState] = ()) -> str:
        """Some delivery, in one of these states where there is one."""
        apt = sorted(delivery_id for delivery_id, state in self.known.items() if state in rather)
        among = apt or sorted(self.known)
        return among[number % len(among)]

    def _refusable(self, steer: Callable[..., Awaitable[Delivery]], delivery_id: str) -> None:
        with suppress(FailedPrecondition):
            self.run(_awaited(steer(self.server, ADMIN, delivery_id=delivery_id)))

    @precondition(lambda self: len(self.known) < MOST)
    @rule(channel_id=st.sampled_from(CHANNELS), state=st.sampled_from(sorted(states.BEGINNINGS)))
    def make(self, channel_id: str, state: DeliveryState) -> None:
        self.run(self._add(channel_id, state))

    @rule(limit=st.integers(1, 3), lease=st.sampled_from([0, DAY]))
    def claim(self, limit: int, lease: float) -> None:
        claims = self.run(working.claim(self.database, limit=limit, lease=lease))
        self.claimed += [claimed.delivery for claimed in claims]

    @precondition(lambda self: self.claimed)
    @rule(which=some, verdict=st.sampled_from(VERDICTS))
    def record(self, which: int, verdict: Verdict) -> None:
        self.run(working.record(self.database, self.claimed[-1 - which % len(self.claimed)], verdict))

    @rule(verdict=st.sampled_from(VERDICTS))
    def claim_and_record(self, verdict: Verdict) -> None:
        """What most workers do, so that deliveries come a long way."""
        self.claim(limit=MOST, lease=DAY)
        self.only_allowed_moves_happen()
        for delivery in self.claimed[-MOST:]:
            self.run(working.record(self.database, delivery, verdict))

    @rule()
    def release(self) -> None:
        self.run(self.database.write(queue.release_all))

    @rule(channel_id=st.sampled_from(CHANNELS))
    def delete_channel(self, channel_id: str) -> None:
        reason = DecisionReason.CHANNEL_DELETED
        work = partial(deliveries.skip_open, channel_id=channel_id, reason=reason, now=SATURDAY_EVENING)
        self.run(self.database.write(work))

    @precondition(lambda self: self.known)
    @rule(which=some)
    def retry(self, which: int) -> None:
        self._refusable(steering.retry, self._one(which, rather=states.REVIVABLE))

    @precondition(lambda self: self.known)
    @rule(which=some)
    def cancel(self, which: int) -> None:
        self._refusable(steering.cancel, self._one(which, rather=states.WAITING))

    @rule(asked=st.sets(st.sampled_from(sorted(states.REPLAYABLE))))
    def replay(self, asked: set[DeliveryState]) -> None:
        self.run(steering.replay(self.server, ADMIN, Filter(states=asked), since=SATURDAY_EVENING))

    @precondition(lambda self: self.known)
    @rule(which=some)
    def delete_notification(self, which: int) -> None:
        said = {row.delivery_id: row.notification_id for row in self.run(self._rows())}
        wanted = [said[self._one(which)]]
        self.run(inboxes.delete(self.server, ADMIN, notification_ids=wanted, origin_id=None))

    @invariant()
    def only_allowed_moves_happen(self) -> None:
        found = {row.delivery_id: row.state for row in self.run(self._rows())}
        assert self.known.keys() <= found.keys()  # none is lost
        for delivery_id, state in found.items():
            before = self.known.get(delivery_id)
            assert state in (states.BEGINNINGS if before is None else states.MOVES[before] | {before})
            if before is not None and state is not before:
                self.seen.add((before, state))
        self.known = found

    @invariant()
    def every_row_fits_its_state(self) -> None:
        contents = set(self.run(self._contents()))
        for row in self.run(self._rows()):
            assert (row.finished_at is None) == (row.state in OPEN_STATES)
            assert (row.next_attempt_at is not None) == (row.state in states.WAITING)
            assert (row.lease_until is not None) == (row.state is DeliveryState.SENDING)
            assert row.retries_from <= row.attempt_count <= row.attempt_no
            assert row.content_id in contents or row.state not in OPEN_STATES

    async def _contents(self) -> list[int]:
        async with self.database.read() as session:
            return list(await session.exec(select(Content.content_id)))


async def _awaited(work: Awaitable[T]) -> T:
    return await work


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_only_allowed_moves_happen_whoever_does_what(database_url: str, runner: asyncio.Runner) -> None:
    run_state_machine_as_test(_machine(database_url, runner), settings=THOROUGH)


def test_every_allowed_move_happens(database_url: str, runner: asyncio.Runner) -> None:
    machine = _machine(database_url, runner)()
    delivered, again, later, dead, held, deferred = VERDICTS

    def attempt(verdict: Verdict) -> None:
        machine.claim(limit=1, lease=DAY)
        machine.only_allowed_moves_happen()
        machine.record(0, verdict)

    machine.make(CHANNELS[0], DeliveryState.PENDING)
    for step in (
        partial(machine.cancel, 0),
        partial(machine.retry, 0),
        partial(attempt, again),
        partial(attempt, later),
        partial(machine.retry, 0),
        partial(attempt, deferred),
        partial(attempt, dead),
        partial(machine.retry, 0),
        partial(attempt, held),
        partial(machine.retry, 0),
        partial(attempt, later),
        partial(machine.cancel, 0),
        partial(machine.retry, 0),
        partial(attempt, delivered),
    ):
        machine.only_allowed_moves_happen()
        step()
    machine.only_allowed_moves_happen()
    machine.teardown()

    assert machine.seen == {(before, after) for before, to in states.MOVES.items() for after in to}


def _machine(url: str, runner: asyncio.Runner) -> type[Deliveries]:
    runner.run(_migrate(url))
    return type("Machine", (Deliveries,), {"url": url, "runner": runner})


async def _migrate(url: str) -> None:
    database = Database(url)
    await database.open()
    await migrations.upgrade(database)
    await database.close()
