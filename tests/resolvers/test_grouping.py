"""What comes while a group is at work is the next group, within bounds; nobody waits for company."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from resolvers.grouping import MAX_MEMBERS, MAX_WEIGHT, Groups

DEADLINE_S = 10


class Work:
    """Notes its groups, and ends each when it may."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.has_begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def __call__(self, members: Sequence[int]) -> list[int | Exception]:
        self.groups.append([*members])
        self.has_begun.set()
        await self.may_end.wait()
        return [LookupError(member) if member < 0 else 10 * member for member in members]


async def _begun(work: Work) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await work.has_begun.wait()


async def test_who_comes_alone_is_a_group_and_who_comes_meanwhile_is_the_next() -> None:
    groups, work = Groups[int, int](), Work()
    first = asyncio.create_task(groups.join(1, work, weight=1))
    await _begun(work)

    others = [asyncio.create_task(groups.join(member, work, weight=1)) for member in (2, 3, 4)]
    await asyncio.sleep(0)
    assert work.groups == [[1]]
    work.may_end.set()

    assert [await task for task in (first, *others)] == [10, 20, 30, 40]
    assert work.groups == [[1], [2, 3, 4]]


async def test_a_group_is_bounded_in_members_and_in_weight() -> None:
    groups, work = Groups[int, int](), Work()
    work.may_end.set()
    weights = [1] * (MAX_MEMBERS + 1) + [MAX_WEIGHT - 1, 1, 1, 2 * MAX_WEIGHT, 1]

    await asyncio.gather(*(groups.join(member, work, weight=weight) for member, weight in enumerate(weights)))

    assert [len(group) for group in work.groups] == [MAX_MEMBERS, 2, 2, 1, 1]
    assert [member for group in work.groups for member in group] == [*range(len(weights))]


async def test_each_gets_its_own_outcome() -> None:
    groups, work = Groups[int, int](), Work()
    work.may_end.set()

    outcomes = await asyncio.gather(
        *(groups.join(member, work, weight=1) for member in (1, -2, 3)), return_exceptions=True
    )

    assert [outcomes[0], type(outcomes[1]), outcomes[2]] == [10, LookupError, 30]
    assert len(work.groups) == 1


async def test_what_the_work_raises_everybody_raises_and_the_next_group_is_done() -> None:
    groups, work = Groups[int, int](), Work()
    work.may_end.set()

    async def failing(members: Sequence[int]) -> list[int | Exception]:
        raise TimeoutError

    outcomes = await asyncio.gather(
        *(groups.join(member, failing, weight=1) for member in (1, 2)), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes] == [TimeoutError, TimeoutError]
    assert await groups.join(4, work, weight=1) == 40


async def test_who_stops_waiting_is_done_all_the_same() -> None:
    groups, work = Groups[int, int](), Work()
    tasks = [asyncio.create_task(groups.join(member, work, weight=1)) for member in (1, 2)]
    await _begun(work)

    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    drained = asyncio.create_task(groups.drain())
    await asyncio.sleep(0)
    assert not drained.done()
    work.may_end.set()

    async with asyncio.timeout(DEADLINE_S):
        await drained
        assert await tasks[1] == 20
    assert work.groups == [[1, 2]]
