"""The worker: claims deliveries that are due, sends each through its plugin, and judges what came of it.

Any number of workers may share a database. What one has not settled when its lease ends, another takes up again, with
the same delivery id for the far side to tell the repeat by.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from dispatch import planner, retry
from dispatch.lanes import Lanes
from dispatch.loop import Loop, where
from dispatch.plugins import Plugin
from dispatch.recorder import Landed, Recorder
from dispatch.sending import Sender, Sent
from storage import queue, verdicts
from storage.deliveries import WITHDRAWN
from storage.engine import Database
from storage.models import OPEN_STATES, AttemptOutcome, Decision, DecisionReason, DeliveryState
from storage.queue import Claimed, Claims, Leased, Room
from storage.secrets import Vault
from storage.verdicts import Outcome, Recorded, Tried, Verdict

POLL = 1.0  # seconds: other processes' deliveries wake no worker here
BREATH = 0.01  # seconds before asking again where a claim brought nothing, but has not seen all destinations
FULL_PAUSE = 0.2  # seconds before asking again while all that is due is for destinations that are full
PACE = 0.1  # seconds between two measures of how fast destinations are
AHEAD = 16  # times as many as are sent at once are in hand: waiting, being sent, being recorded
LEAD = 5.0  # seconds from asking for a claim to sending what was claimed, at most
LEASE_MARGIN = 10.0  # seconds of a lease beyond the last call: for recording it, and for clocks that jump
CANCEL_GRACE = 2.0  # seconds at the end for what is cancelled to let go
DATABASE_GRACE = 5.0  # seconds at the end for what talks to the database, which is never cut off half-way

Announce = Callable[[Sequence[Leased]], Awaitable[None]]
Alert = Callable[[], None]

log = structlog.get_logger()


@dataclass(frozen=True)
class WorkerSettings:
    concurrency: int = 32  # deliveries sent at once
    per_destination: int = 8  # of these, to one destination
    timeout: float = 15.0  # seconds for one attempt
    retry_schedule: tuple[float, ...] = retry.SCHEDULE  # seconds after each failure; then it is given up
    breather: float = retry.BREATHER  # seconds at least after a timeout, or when the far side is too busy
    patience: timedelta = timedelta(hours=120)  # with a channel that only fails; then it is disabled


@dataclass(eq=False)
class _Flight:
    """A delivery in hand, and its times on this process's own clock."""

    claimed: Claimed
    send_by: float  # not begun later: too little of the lease would be left
    abandon_at: float  # the call ends here, whatever it waits for
    lease_end: float

    @property
    def lease(self) -> tuple[str, int]:
        return self.claimed.delivery.delivery_id, self.claimed.delivery.attempt_no


async def _to_nobody(_changed: object) -> None: ...


def _no_one() -> None: ...


class Worker:
    """`start` it within a running event loop, `wake` it when deliveries were committed, `stop` it at the end."""

    name = "worker"

    def __init__(
        self,
        database: Database,
        vault: Vault,
        *,
        plugins: Mapping[str, Plugin],
        clock: Callable[[], datetime],
        settings: WorkerSettings,
        announce: Announce = _to_nobody,
        alert: Alert = _no_one,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`announce` is told of deliveries that have changed, `alert` that there are channels whose owners are to be
        told that they were disabled.
        """
        self._database = database
        self._clock = clock
        self._settings = settings
        self._announce = announce
        self._alert = alert
        self._monotonic = monotonic
        self._jitter = jitter
        self._lease = LEAD + settings.timeout + LEASE_MARGIN
        self._sender = Sender(plugins, vault, clock)
        self._lanes = Lanes[_Flight](total=settings.concurrency, each=settings.per_destination)
        self._recorder = Recorder(self._write, then=self._tell, monotonic=monotonic)
        self._loop = Loop(self.name, self._step, poll=POLL)
        self._in_hand: set[_Flight] = set()
        self._sending: dict[asyncio.Task[None], _Flight] = {}
        self._late: list[_Flight] = []  # to be given back
        self._full: frozenset[str] = frozenset()  # destinations that the last claim passed over
        self._may_be_due = True  # rather than being asked first
        self._visited = ""
        self._measured_at = monotonic()

    @property
    def healthy(self) -> bool:
        return self._loop.healthy and self._recorder.is_running

    def start(self) -> None:
        self._recorder.start()
        self._loop.start()

    def wake(self) -> None:
        self._may_be_due = True
        self._loop.wake()

    async def stop(self, deadline: float) -> None:
        """Claim nothing more, finish what is being sent within `deadline` seconds, and give the rest back."""
        end = self._monotonic() + deadline
        await self._loop.stop(DATABASE_GRACE)
        unsent = [*self._lanes.clear(), *self._late]
        if self._sending:
            await asyncio.wait(self._sending, timeout=max(0.0, end - self._monotonic()))
        await self._release([*unsent, *await self._break_off()])
        await self._recorder.stop(DATABASE_GRACE)

    async def _break_off(self) -> list[_Flight]:
        """Cancel what is still being sent. It has ended before another worker may begin."""
        sending = dict(self._sending)
        for task in sending:
            task.cancel()
        if sending:
            await asyncio.wait(sending, timeout=CANCEL_GRACE)
        return [flight for task, flight in sending.items() if task.cancelled() or not task.done()]

    async def _step(self) -> float | None:
        """Claim what there is room for; how long until there may be more."""
        await self._renew()
        await self._make_room()
        if self._lanes.waiting >= self._settings.concurrency or self._free == 0:
            return PACE  # what lands wakes the loop
        if not self._may_be_due and (seconds := await self._next_due()) != 0:
            return seconds
        claims = await self._claim()
        if claims.is_all:
            seconds = await self._next_due()
            return FULL_PAUSE if seconds == 0 else seconds
        if claims.claimed:
            return 0
        return BREATH if claims.over_quota or claims.visited else FULL_PAUSE

    @property
    def _free(self) -> int:
        return self._settings.concurrency * AHEAD - len(self._in_hand)

    async def _claim(self) -> Claims:
        asked_at = self._monotonic()
        room = Room(self._free, self._settings.per_destination, self._lanes.left())
        self._full = frozenset(room.full)
        work = partial(
            queue.claim,
            room=room,
            lease=self._lease,
            now=self._clock(),
            over_quota=planner.DETAILS[DecisionReason.QUOTA],
            visited=self._visited,
        )
        self._may_be_due = False  # a wake-up while the claim runs says otherwise again
        claims = await self._database.write(work)
        self._may_be_due |= not claims.is_all
        self._visited = claims.visited
        for claimed in claims.claimed:
            self._take(claimed, asked_at)
        self._pump()
        await self._announce([*(claimed.delivery for claimed in claims.claimed), *claims.over_quota])
        return claims

    def _take(self, claimed: Claimed, asked_at: float) -> None:
        flight = _Flight(claimed, asked_at + LEAD, asked_at + LEAD + self._settings.timeout, asked_at + self._lease)
        self._in_hand.add(flight)
        verdict = _withheld(claimed, self._clock())
        if verdict is None:
            self._lanes.put(claimed.delivery.destination, flight)
        else:
            self._land(flight, Outcome(claimed.delivery, verdict))

    def _pump(self) -> None:
        """Begin to send what may be sent now."""
        while (found := self._lanes.pop()) is not None:
            destination, flight = found
            if self._monotonic() >= flight.send_by:
                self._late.append(flight)
                self._lanes.done(destination)
                continue
            task = asyncio.create_task(self._deliver(flight), name=f"delivery {flight.lease[0]}")
            self._sending[task] = flight
            task.add_done_callback(self._sent)

    async def _deliver(self, flight: _Flight) -> None:
        started_at, started = self._clock(), self._monotonic()
        sent = await self._sender.send(flight.claimed, min(self._settings.timeout, flight.abandon_at - started))
        delivery, milliseconds = flight.claimed.delivery, round((self._monotonic() - started) * 1000)
        result = sent.result
        tried = Tried(
            started_at, milliseconds, result.outcome, result.status_code, result.error, result.response_excerpt
        )
        self._land(flight, Outcome(delivery, self._judge(delivery, sent), tried, sent.is_of_destination))

    def _sent(self, task: asyncio.Task[None]) -> None:
        flight = self._sending.pop(task)
        destination = flight.claimed.delivery.destination
        self._lanes.done(destination)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its lease will end, and then it is taken up again.
            log.error("delivery_lost", delivery_id=flight.lease[0], error=type(error).__name__, at=where(error))
            self._in_hand.discard(flight)
        self._pump()
        if destination in self._full:
            self._may_be_due = True
        if self._may_be_due:
            self._loop.wake()

    def _land(self, flight: _Flight, outcome: Outcome) -> None:
        self._recorder.add(Landed(outcome, flight.lease_end, partial(self._settle, flight)))

    def _settle(self, flight: _Flight) -> None:
        self._in_hand.discard(flight)
        if self._may_be_due:
            self._loop.wake()

    async def _renew(self) -> None:
        """Prolong the leases of what has been going on for long."""
        now = self._monotonic()
        ageing = [flight for flight in self._in_hand if flight.lease_end - now < self._lease / 2]
        if ageing:
            leases = [flight.lease for flight in ageing]
            await self._database.write(partial(queue.renew, leases=leases, lease=self._lease))
            for flight in ageing:
                flight.lease_end = now + self._lease

    async def _make_room(self) -> None:
        """Give back what waits for destinations that have become slow, and what has waited for too long."""
        if self._monotonic() - self._measured_at >= PACE:
            self._measured_at = self._monotonic()
            self._late += self._lanes.tick()
        late = tuple(self._late)
        await self._release(late)
        del self._late[: len(late)]  # only by then; what has become late meanwhile is behind them

    async def _release(self, flights: Collection[_Flight]) -> None:
        if flights:
            leases = [flight.lease for flight in flights]
            await self._database.write(partial(queue.release, leases=leases))
            self._in_hand.difference_update(flights)

    async def _next_due(self) -> float | None:
        async with self._database.read() as session:
            return await queue.next_due(session)

    async def _write(self, outcomes: Sequence[Outcome]) -> Recorded:
        now, patience = self._clock(), self._settings.patience
        return await self._database.write(partial(verdicts.record, outcomes=outcomes, now=now, patience=patience))

    async def _tell(self, recorded: Recorded) -> None:
        """After a commit: tell those who want to know, and look again at what is due."""
        if any(outcome.verdict.state in OPEN_STATES for outcome in recorded.outcomes):
            self._loop.wake()
        for channel in recorded.disabled:
            log.warning("channel_disabled", channel_id=channel.channel_id, failing_since=str(channel.failing_since))
        if recorded.disabled:
            self._alert()
        await self._announce([outcome.delivery for outcome in recorded.outcomes])

    def _judge(self, delivery: Leased, sent: Sent) -> Verdict:
        result = sent.result
        if result.outcome is AttemptOutcome.OK:
            return Verdict(DeliveryState.DELIVERED)
        delay = retry.next_delay(
            result.outcome,
            delivery.attempt_count - delivery.retries_from + 1,
            status_code=result.status_code,
            retry_after=result.retry_after,
            schedule=self._settings.retry_schedule,
            jitter=self._jitter(),
            breather=self._settings.breather,
        )
        if delay is not None:
            return Verdict(DeliveryState.RETRYING, detail=result.error, delay=delay)
        is_final = result.outcome in retry.FINAL
        reason = DecisionReason.REFUSED if is_final else DecisionReason.RETRIES_EXHAUSTED
        return Verdict(DeliveryState.DEAD, reason, result.error)


def _withheld(claimed: Claimed, now: datetime) -> Verdict | None:
    """What a delivery that is due becomes without being sent; None: it is to be sent."""
    delivery, protocol, channel = claimed.delivery, claimed.protocol, claimed.channel
    if delivery.reason in WITHDRAWN:
        return Verdict(DeliveryState.SKIPPED, delivery.reason)
    if delivery.channel_id is not None and channel is None:
        return Verdict(DeliveryState.SKIPPED, DecisionReason.CHANNEL_DELETED)
    if claimed.content is None:
        return Verdict(DeliveryState.DEAD, detail="What was said is gone.")
    if protocol is None:
        return Verdict(DeliveryState.SKIPPED, DecisionReason.PROTOCOL_DISABLED, "The protocol was deleted.")
    decision = planner.replan(channel, protocol, waited=delivery.reason is DecisionReason.OFF_HOURS, now=now)
    if decision.decision is Decision.SEND:
        return None
    state = DeliveryState.PENDING if decision.decision is Decision.DEFER else DeliveryState.SKIPPED
    return Verdict(state, decision.reason, decision.detail, due_at=decision.defer_until)
