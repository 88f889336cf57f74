"""The worker: claims deliveries that are due, sends each through its plugin, and records what came of it.

Any number of workers may share a database. What one has not settled when its lease ends, another takes up again, with
the same delivery id for the far side to tell the repeat by.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from dispatch import planner, redaction, retry
from dispatch.loop import Loop, where
from dispatch.plugins import DispatchRequest, Envelope, Plugin, Result
from storage import deliveries
from storage.deliveries import Claimed, Verdict
from storage.engine import Database
from storage.errors import DatabaseUnavailable, WrongKey
from storage.models import Attempt, AttemptOutcome, Decision, DecisionReason, Delivery, DeliveryState
from storage.secrets import Vault

POLL = 1.0  # seconds: other processes' deliveries wake no worker here
BREATH = 0.01  # seconds before asking again for what is due, but is just being claimed by another worker
LEAD = 5.0  # seconds from asking for a claim to sending what was claimed, at most
LEASE_MARGIN = 10.0  # seconds of a lease beyond the last call: for recording it, and for clocks that jump
DATABASE_GRACE = 5.0  # seconds at the end for what talks to the database, which is never cut off half-way
RECORD_PAUSE = 0.5  # seconds between two tries to record an outcome
MAX_ERROR = 500  # characters kept
MAX_EXCERPT = 20_000

log = structlog.get_logger()


@dataclass(frozen=True)
class WorkerSettings:
    concurrency: int = 32  # deliveries sent at once
    timeout: float = 15.0  # seconds for one attempt
    retry_schedule: tuple[float, ...] = retry.SCHEDULE  # seconds after each failure; then it is given up
    breather: float = retry.BREATHER  # seconds at least after a timeout, or when the far side is too busy


@dataclass
class _Flight:
    """A delivery that is being sent, and by when, on this process's own clock."""

    claimed: Claimed
    abandon_at: float  # the call ends here, whatever it waits for
    lease_end: float
    is_sending: bool = False  # rather than being recorded

    @property
    def lease(self) -> tuple[str, int]:
        return self.claimed.delivery.delivery_id, self.claimed.delivery.attempt_no


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
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._vault = vault
        self._plugins = plugins
        self._clock = clock
        self._settings = settings
        self._monotonic = monotonic
        self._jitter = jitter
        self._lease = LEAD + settings.timeout + LEASE_MARGIN
        self._flights: dict[asyncio.Task[None], _Flight] = {}
        self._loop = Loop(self.name, self._step, poll=POLL)

    @property
    def healthy(self) -> bool:
        return self._loop.healthy

    def start(self) -> None:
        self._loop.start()

    def wake(self) -> None:
        self._loop.wake()

    async def stop(self, deadline: float) -> None:
        """Claim nothing more, finish what is being sent within `deadline` seconds, and give the rest back."""
        end = self._monotonic() + deadline
        await self._loop.stop(DATABASE_GRACE)
        if self._flights:
            await asyncio.wait(self._flights, timeout=max(0.0, end - self._monotonic()))
        if self._flights:
            await self._give_back()

    async def _step(self) -> float | None:
        await self._renew()
        free = self._settings.concurrency - len(self._flights)
        if free == 0:
            return None  # what lands wakes the loop
        asked_at = self._monotonic()
        claims = await self._database.write(partial(deliveries.claim, limit=free, lease=self._lease))
        for claimed in claims:
            self._launch(claimed, asked_at)
        if len(claims) == free:
            return None
        async with self._database.read() as session:
            seconds = await deliveries.next_due(session)
        return None if seconds is None else max(seconds, BREATH)

    def _launch(self, claimed: Claimed, asked_at: float) -> None:
        flight = _Flight(claimed, asked_at + LEAD + self._settings.timeout, asked_at + self._lease)
        task = asyncio.create_task(self._deliver(flight), name=f"delivery {claimed.delivery.delivery_id}")
        self._flights[task] = flight
        task.add_done_callback(self._land)

    def _land(self, task: asyncio.Task[None]) -> None:
        flight = self._flights.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its lease will end, and then it is taken up again.
            delivery_id = flight.claimed.delivery.delivery_id
            log.error("delivery_lost", delivery_id=delivery_id, error=type(error).__name__, at=where(error))
        self._loop.wake()

    async def _renew(self) -> None:
        """Prolong the leases of what has been going on for long."""
        now = self._monotonic()
        ageing = [flight for flight in self._flights.values() if flight.lease_end - now < self._lease / 2]
        if ageing:
            leases = [flight.lease for flight in ageing]
            await self._database.write(partial(deliveries.renew, leases=leases, lease=self._lease))
            for flight in ageing:
                flight.lease_end = now + self._lease

    async def _give_back(self) -> None:
        sending = {task: flight for task, flight in self._flights.items() if flight.is_sending}
        for task in sending:
            task.cancel()
        await asyncio.wait(self._flights, timeout=DATABASE_GRACE)
        leases = [flight.lease for flight in sending.values()]
        await self._database.write(partial(deliveries.release, leases=leases))

    async def _deliver(self, flight: _Flight) -> None:
        """One delivery, from its claim to its record."""
        if self._monotonic() >= flight.abandon_at:
            return  # claimed too long ago to be sure of the lease
        claimed, attempt = flight.claimed, None
        verdict = _withheld(claimed, self._clock())
        if verdict is None:
            attempt = await self._attempt(flight)
            verdict = self._judge(claimed.delivery, attempt)
        await self._record(flight, verdict, attempt)

    async def _attempt(self, flight: _Flight) -> Attempt:
        delivery, started_at, started = flight.claimed.delivery, self._clock(), self._monotonic()
        result = await self._send(flight, started_at)
        return Attempt(
            delivery_id=delivery.delivery_id,
            attempt_no=delivery.attempt_no,
            started_at=started_at,
            duration_ms=round((self._monotonic() - started) * 1000),
            outcome=result.outcome,
            status_code=result.status_code,
            error=result.error,
            response_excerpt=result.response_excerpt,
        )

    async def _send(self, flight: _Flight, started_at: datetime) -> Result:
        plugin = self._plugins.get(flight.claimed.delivery.plugin_id)
        if plugin is None:
            return Result(AttemptOutcome.RETRY, error="The plugin is not installed here.")
        try:
            request, secrets = self._request(flight.claimed, started_at)
        except WrongKey as error:
            return Result(AttemptOutcome.RETRY, error=str(error))
        timeout = min(self._settings.timeout, flight.abandon_at - self._monotonic())
        flight.is_sending = True
        result = await _call(plugin, request, timeout)
        flight.is_sending = False
        return _presentable(result, secrets)

    def _request(self, claimed: Claimed, started_at: datetime) -> tuple[DispatchRequest, list[str]]:
        """What the plugin is given, and the secrets in it. Raises WrongKey."""
        delivery, content, protocol = claimed.delivery, claimed.content, claimed.protocol
        assert content is not None
        assert protocol is not None
        secret_data = self._unseal(protocol.secret_data)
        sealed = delivery.push_data if claimed.channel is None else claimed.channel.secret_data
        hidden = self._unseal(sealed)
        shown = None if claimed.channel is None else claimed.channel.data
        request = DispatchRequest(
            options=protocol.options,
            message=content.message,
            notification_type=content.notification_type,
            secret_data=secret_data,
            channel_data=hidden or shown or {},
            envelope=Envelope(
                delivery_id=delivery.delivery_id,
                notification_id=delivery.notification_id,
                domain_id=delivery.domain_id,
                topic=content.topic,
                notification_level=content.notification_level,
                created_at=delivery.created_at,
                attempted_at=started_at,
            ),
        )
        return request, [*redaction.strings(secret_data), *redaction.strings(hidden)]

    def _unseal(self, sealed: bytes | None) -> dict[str, Any]:
        return {} if sealed is None else self._vault.unseal(sealed)

    def _judge(self, delivery: Delivery, attempt: Attempt) -> Verdict:
        if attempt.outcome is AttemptOutcome.OK:
            return Verdict(DeliveryState.DELIVERED)
        delay = retry.next_delay(
            attempt.outcome,
            delivery.attempt_count + 1,
            status_code=attempt.status_code,
            schedule=self._settings.retry_schedule,
            jitter=self._jitter(),
            breather=self._settings.breather,
        )
        if delay is not None:
            return Verdict(DeliveryState.RETRYING, detail=attempt.error, delay=delay)
        is_final = attempt.outcome in retry.FINAL
        reason = DecisionReason.REFUSED if is_final else DecisionReason.RETRIES_EXHAUSTED
        return Verdict(DeliveryState.DEAD, reason, attempt.error)

    async def _record(self, flight: _Flight, verdict: Verdict, attempt: Attempt | None) -> None:
        """Record until it is done or the lease ends: what was sent and is not recorded is sent again."""
        delivery = flight.claimed.delivery
        work = partial(deliveries.record, delivery=delivery, verdict=verdict, attempt=attempt, now=self._clock())
        while True:
            try:
                recorded = await self._database.write(work)
                break
            except DatabaseUnavailable:
                if self._monotonic() >= flight.lease_end:
                    raise
                await asyncio.sleep(RECORD_PAUSE)
        log.info(
            "delivery_attempted" if attempt else "delivery_withheld",
            delivery_id=delivery.delivery_id,
            attempt_no=delivery.attempt_no,
            outcome=attempt and attempt.outcome.value,
            state=verdict.state.value,
            recorded=recorded,
        )


def _withheld(claimed: Claimed, now: datetime) -> Verdict | None:
    """What a delivery that is due becomes without being sent; None: it is to be sent."""
    delivery, protocol, channel = claimed.delivery, claimed.protocol, claimed.channel
    if delivery.reason in deliveries.WITHDRAWN:
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


async def _call(plugin: Plugin, request: DispatchRequest, timeout: float) -> Result:
    # Of an exception only the class is kept: its text may hold what the plugin was given.
    try:
        async with asyncio.timeout(timeout):
            result = await plugin.dispatch(request)
    except TimeoutError:
        return Result(AttemptOutcome.TIMEOUT, error="The attempt did not end in time.")
    except Exception as error:
        return Result(AttemptOutcome.RETRY, error=f"The plugin failed ({type(error).__name__}).")
    if not isinstance(result, Result):
        return Result(AttemptOutcome.RETRY, error="The plugin did not say what came of it.")
    return result


def _presentable(result: Result, secrets: list[str]) -> Result:
    """The same without secrets, and in a form that every database can hold."""
    return replace(
        result,
        error=_kept(result.error, secrets, MAX_ERROR),
        response_excerpt=_kept(result.response_excerpt, secrets, MAX_EXCERPT),
    )


def _kept(text: str | None, secrets: list[str], longest: int) -> str | None:
    if text is None:
        return None
    storable = text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    return redaction.redact(storable, secrets)[:longest]
