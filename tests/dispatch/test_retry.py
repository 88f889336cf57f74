from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch import retry
from storage.models import AttemptOutcome

RETRIED = [AttemptOutcome.RETRY, AttemptOutcome.TIMEOUT]
HALF = 0.5  # the jitter that leaves a delay as it is

outcomes = st.sampled_from(RETRIED)
jitters = st.floats(0, 1, exclude_max=True)
delays = st.lists(st.floats(0, 1e6), min_size=1, max_size=10)


def test_the_delays_grow_as_documented() -> None:
    delays = [
        retry.next_delay(AttemptOutcome.RETRY, failures, schedule=retry.SCHEDULE, jitter=HALF)
        for failures in range(1, 9)
    ]

    assert delays == [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000, None]


@pytest.mark.parametrize("outcome", [AttemptOutcome.REFUSED, AttemptOutcome.BLOCKED])
def test_what_is_final_is_not_tried_again(outcome: AttemptOutcome) -> None:
    assert retry.next_delay(outcome, 1, schedule=retry.SCHEDULE, jitter=HALF) is None


@given(outcomes, delays, jitters)
def test_it_is_given_up_after_as_many_retries_as_there_are_delays(
    outcome: AttemptOutcome, schedule: list[float], jitter: float
) -> None:
    for failures in range(1, len(schedule) + 1):
        assert retry.next_delay(outcome, failures, schedule=schedule, jitter=jitter) is not None
    assert retry.next_delay(outcome, len(schedule) + 1, schedule=schedule, jitter=jitter) is None


@given(delays, jitters)
def test_jitter_moves_a_delay_by_a_fifth_at_most(schedule: list[float], jitter: float) -> None:
    for failures, base in enumerate(schedule, start=1):
        delay = retry.next_delay(AttemptOutcome.RETRY, failures, schedule=schedule, jitter=jitter)

        assert delay is not None
        assert base * 0.8 <= delay <= base * 1.2


@given(delays, jitters, st.floats(0, 1e4))
def test_one_that_is_too_slow_or_too_busy_gets_a_breather(
    schedule: list[float], jitter: float, breather: float
) -> None:
    for failures in range(1, len(schedule) + 1):
        timeout = retry.next_delay(
            AttemptOutcome.TIMEOUT, failures, schedule=schedule, jitter=jitter, breather=breather
        )
        busy = retry.next_delay(
            AttemptOutcome.RETRY, failures, schedule=schedule, jitter=jitter, status_code=429, breather=breather
        )

        assert timeout is not None
        assert timeout >= breather
        assert busy == timeout


def test_the_breather_is_a_minute_also_where_retries_are_quick() -> None:
    assert retry.next_delay(AttemptOutcome.TIMEOUT, 1, schedule=[0.1], jitter=HALF) == 60
    assert retry.next_delay(AttemptOutcome.RETRY, 1, schedule=[0.1], jitter=HALF, status_code=503) == 0.1


@given(outcomes, delays, jitters, st.floats(0, 1e9))
def test_what_the_far_side_asks_for_is_done_from_once_to_twice_the_delay(
    outcome: AttemptOutcome, schedule: list[float], jitter: float, retry_after: float
) -> None:
    for failures, base in enumerate(schedule, start=1):
        delay = retry.next_delay(
            outcome, failures, schedule=schedule, jitter=jitter, retry_after=retry_after, breather=0.0
        )

        assert delay is not None
        assert base <= delay <= 2 * base
        assert delay >= min(retry_after, 2 * base)
