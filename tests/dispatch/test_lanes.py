from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from dispatch.lanes import Lanes


def fill(lanes: Lanes[int], **waiting: int) -> None:
    for destination, number in waiting.items():
        for item in range(number):
            lanes.put(destination, item)


def popped(lanes: Lanes[int]) -> list[str]:
    """The destinations of all that may be sent now."""
    found = []
    while (one := lanes.pop()) is not None:
        found.append(one[0])
    return found


def test_destinations_take_turns_and_each_has_so_many_places() -> None:
    lanes = Lanes[int](total=10, each=2)
    fill(lanes, slow=5, other=1, third=3)

    assert popped(lanes) == ["slow", "other", "third", "slow", "third"]
    assert lanes.waiting == 4


def test_there_are_so_many_places_in_all() -> None:
    lanes = Lanes[int](total=3, each=2)
    fill(lanes, a=2, b=2)

    assert popped(lanes) == ["a", "b", "a"]
    lanes.done("a")
    assert popped(lanes) == ["b"]


def test_a_destination_that_is_full_has_nothing_left_and_an_unknown_one_is_not_named() -> None:
    lanes = Lanes[int](total=10, each=2)
    fill(lanes, slow=2)
    popped(lanes)

    assert lanes.left() == {"slow": 0}


def test_a_fast_destination_is_taken_ahead_by_what_it_finishes() -> None:
    lanes = Lanes[int](total=10, each=2)
    for _ in range(30):
        fill(lanes, fast=1)
        popped(lanes)
        lanes.done("fast")

    assert lanes.left() == {"fast": 32}
    lanes.tick()
    assert lanes.left() == {"fast": 32}
    lanes.tick()
    assert lanes.left() == {}


def test_what_waits_for_a_destination_that_stands_still_is_given_back() -> None:
    lanes = Lanes[int](total=10, each=2)
    fill(lanes, stuck=2)
    popped(lanes)
    fill(lanes, stuck=3)

    assert sorted(lanes.tick()) == [0, 1, 2]
    assert lanes.waiting == 0


def test_what_waits_for_a_destination_that_moves_stays() -> None:
    lanes = Lanes[int](total=10, each=2)
    fill(lanes, moving=5)
    popped(lanes)
    lanes.done("moving")

    assert lanes.tick() == []
    assert lanes.waiting == 3


@given(st.lists(st.sampled_from("abcd")), st.integers(1, 6), st.integers(1, 3))
def test_nothing_is_lost_and_no_bound_is_passed(destinations: list[str], total: int, each: int) -> None:
    lanes = Lanes[int](total=total, each=each)
    for number, destination in enumerate(destinations):
        lanes.put(destination, number)
    sent: list[int] = []
    while lanes.waiting:
        found = []
        while (one := lanes.pop()) is not None:
            found.append(one)
        assert len(found) <= total
        assert all(number <= each for number in Counter(destination for destination, _ in found).values())
        for destination, item in found:
            sent.append(item)
            lanes.done(destination)

    assert sorted(sent) == list(range(len(destinations)))
