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
    breather: float = BREATHER,
) -> float | None:
    """Seconds until the next attempt; None: give up.

    `failures` counts this one; `jitter` is a random number from 0 to below 1.
    """
    if outcome in FINAL or failures > len(schedule):
        return None
    delay = schedule[failures - 1] * (1 + JITTER * (2 * jitter - 1))
    is_overloaded = outcome is AttemptOutcome.TIMEOUT or status_code == TOO_MANY_REQUESTS
    return max(delay, breather) if is_overloaded else delay
