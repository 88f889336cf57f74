"""Drawn ids lie beside each other in time, and hardly ever meet those of another server."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from storage import ids
from storage.ids import BITS, DRAWN_BITS, TICK_BITS, Numbers

TICK = 1 << TICK_BITS  # nanoseconds
SECOND = 1_000_000_000
AROUND = 1 << BITS - DRAWN_BITS + TICK_BITS  # nanoseconds, after which the time comes round again


def drawn(clock: Callable[[], int], seed: int = 1) -> Numbers:
    return Numbers(clock, random.Random(seed).getrandbits)


def at(*moments: int) -> Callable[[], int]:
    """A clock that says these, one after the other."""
    said = iter(moments)
    return lambda: next(said)


def test_an_id_is_a_prefix_and_twelve_hex_digits_that_differ_each_time() -> None:
    made = [ids.new(ids.NOTIFICATION) for _ in range(10_000)]

    assert all(re.fullmatch(r"notification-[0-9a-f]{12}", each) for each in made)
    assert len(set(made)) == len(made)
    assert all(earlier < later for earlier, later in pairwise(made) if not later.startswith("notification-0000"))


def test_what_is_drawn_in_one_tick_follows_a_random_number_one_by_one() -> None:
    numbers = drawn(lambda: 5 * TICK)

    made = [numbers.next() for _ in range(3)]

    assert made[0] >> DRAWN_BITS == 5
    assert made == [made[0], made[0] + 1, made[0] + 2]


def test_the_first_of_a_tick_is_drawn_anew() -> None:
    starts = {drawn(lambda: 5 * TICK, seed).next() for seed in range(100)}

    assert len(starts) > 90


def test_a_clock_that_goes_back_repeats_nothing() -> None:
    numbers = drawn(at(9 * TICK, 3 * TICK, 9 * TICK, 10 * TICK))

    first, second, third, fourth = (numbers.next() for _ in range(4))

    assert (second, third) == (first + 1, first + 2)
    assert fourth >> DRAWN_BITS == 10


def test_the_time_comes_round_again_after_fifty_two_days() -> None:
    numbers = drawn(at(AROUND - TICK, AROUND, AROUND + TICK))

    before, after, later = (numbers.next() for _ in range(3))

    assert 52 < AROUND / SECOND / 86_400 < 53
    assert after < later < before


def test_two_servers_that_draw_four_thousand_a_second_each_meet_less_than_once_in_two_thousand() -> None:
    """Which is one in some 16,000 expected: rate squared, times the time until it comes round, of all numbers."""
    seconds, rate = 30, 4_000
    mine, yours = (set(_drawn_at(rate, seconds, seed)) for seed in (1, 2))

    assert len(mine) == len(yours) == seconds * rate
    assert len(mine & yours) < seconds * rate / 2_000


def _drawn_at(rate: int, seconds: int, seed: int) -> Iterator[int]:
    moments = iter(range(1_700_000_000 * SECOND, (1_700_000_000 + seconds) * SECOND, SECOND // rate))
    numbers = drawn(lambda: next(moments), seed)
    return (numbers.next() for _ in range(seconds * rate))
