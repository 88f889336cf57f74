"""When to try again. Pure: the outcome of an attempt goes in, a delay or an end comes out."""

from __future__ import annotations

from collections.abc import Sequence

from storage.models import AttemptOutcome

SCHEDULE = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0)  # seconds after each failure
JITTER = 0.2  # of the delay, either way: what failed together does not come back together
BREATHER = 60.0  # seconds at least for a far side that is too slow or too busy
TOO_MANY_REQUESTS = 429
FINAL = frozenset({AttemptOutcome.REFUSED, AttemptOutcome.BLOCKED})


def next_delay(
    outcome: AttemptOutcome,
    failures: int,
    *,
    schedule: Sequence[float],
    jitter: float,
    status_code: int | None = None,
    retry_after: float | None = None,
    breather: float = BREATHER,
) -> float | None:
    """Seconds until the next attempt; None: give up.

    `failures` counts this one; `jitter` is a random number from 0 to below 1. What the far side asks for by
    `retry_after` (seconds) is done from once to twice the schedule's delay: it can neither hurry us nor stop us.
    """
    if outcome in FINAL or failures > len(schedule):
        return None
    base = schedule[failures - 1]
    delay = base * (1 + JITTER * (2 * jitter - 1))
    if retry_after is not None:
        delay = max(delay, min(max(retry_after, base), 2 * base))
    is_overloaded = outcome is AttemptOutcome.TIMEOUT or status_code == TOO_MANY_REQUESTS
    return max(delay, breather) if is_overloaded else delay
