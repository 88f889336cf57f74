"""What a worker does with deliveries in the database, one step at a time, for tests that run none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from storage import queue, verdicts
from storage.engine import Database
from storage.models import AttemptOutcome
from storage.queue import Claimed, Leased, Room
from storage.verdicts import Outcome, Tried, Verdict
from tests.dispatch.rows import SATURDAY_EVENING


async def claim(database: Database, *, limit: int = 1_000, lease: float = 60) -> Sequence[Claimed]:
    work = partial(queue.claim, room=Room(limit), lease=lease, now=SATURDAY_EVENING)
    return (await database.write(work)).claimed


async def record(database: Database, delivery: Leased, verdict: Verdict, *, now: datetime = SATURDAY_EVENING) -> bool:
    """Record an attempt that led to this; False where the lease was lost."""
    outcomes = [Outcome(delivery, verdict, Tried(SATURDAY_EVENING, 3, AttemptOutcome.RETRY))]
    work = partial(verdicts.record, outcomes=outcomes, now=now, patience=timedelta(days=5))
    return bool((await database.write(work)).outcomes)
