"""The recorder: writes what came of deliveries, everything that has landed in one transaction.

While one commit runs, what lands meanwhile gathers for the next: the more there is to record, the less each costs.
It knows nothing of sending.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from dispatch.loop import where
from storage.errors import DatabaseUnavailable
from storage.verdicts import Outcome, Recorded

PAUSE = 0.5  # seconds between two tries to record
MAX_BATCH = 500  # outcomes of one transaction
FULL_BATCH = 100  # outcomes that are worth a transaction at once
GATHER = 0.01  # seconds that fewer wait for others to land

log = structlog.get_logger()


@dataclass(frozen=True)
class Landed:
    """An outcome, and until when its lease lets it be recorded, on this process's own clock."""

    outcome: Outcome
    lease_end: float
    settled: Callable[[], None]  # told once it is recorded, or never will be


class Recorder:
    """`start` it within a running event loop, `add` outcomes, `stop` it at the end."""

    def __init__(
        self,
        write: Callable[[Sequence[Outcome]], Awaitable[Recorded]],
        *,
        then: Callable[[Recorded], Awaitable[None]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`write` commits outcomes; `then` is told after each commit."""
        self._write = write
        self._then = then
        self._monotonic = monotonic
        self._landed: list[Landed] = []
        self._woken = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="recorder")

    def add(self, landed: Landed) -> None:
        self._landed.append(landed)
        self._woken.set()

    async def stop(self, deadline: float) -> None:
        """Record what has landed within `deadline` seconds: the rest is left to its leases."""
        self._stopping = True
        self._woken.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=deadline)
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while self._landed or not self._stopping:
            if not self._landed:
                self._woken.clear()
                await self._woken.wait()
            if len(self._landed) < FULL_BATCH and not self._stopping:
                await asyncio.sleep(GATHER)
            batch, self._landed = self._landed[:MAX_BATCH], self._landed[MAX_BATCH:]
            if batch:
                await self._settle(batch)

    async def _settle(self, batch: Sequence[Landed]) -> None:
        """Record until it is done or the leases end: what was sent and is not recorded is sent again."""
        try:
            recorded = await self._record(batch)
        except Exception as error:
            if len(batch) > 1:  # one of them may be what the database does not take: the others do not suffer for it
                for landed in batch:
                    await self._settle([landed])
                return
            _log_loss(batch[0], error)
        else:
            _log(batch, recorded)
            await self._tell(recorded)
        for landed in batch:
            landed.settled()

    async def _record(self, batch: Sequence[Landed]) -> Recorded:
        while True:
            try:
                return await self._write([landed.outcome for landed in batch])
            except DatabaseUnavailable:
                if self._monotonic() >= min(landed.lease_end for landed in batch):
                    raise
                await asyncio.sleep(PAUSE)

    async def _tell(self, recorded: Recorded) -> None:
        try:
            await self._then(recorded)
        except Exception as error:  # it is in the database all the same
            log.error("recorded_untold", error=type(error).__name__, at=where(error))


def _log(batch: Sequence[Landed], recorded: Recorded) -> None:
    kept = {outcome.delivery.delivery_id for outcome in recorded.outcomes}
    for landed in batch:
        delivery, attempt = landed.outcome.delivery, landed.outcome.attempt
        log.info(
            "delivery_attempted" if attempt else "delivery_withheld",
            delivery_id=delivery.delivery_id,
            attempt_no=delivery.attempt_no,
            outcome=attempt and attempt.outcome.value,
            state=landed.outcome.verdict.state.value,
            recorded=delivery.delivery_id in kept,
        )


def _log_loss(landed: Landed, error: Exception) -> None:
    # Its lease will end, and then it is taken up again.
    delivery_id = landed.outcome.delivery.delivery_id
    log.error("delivery_lost", delivery_id=delivery_id, error=type(error).__name__, at=where(error))
