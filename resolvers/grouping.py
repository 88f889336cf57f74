"""Work that is done together: what comes while a group is at work waits, and is the next group.

Nobody waits by the clock for company: what comes alone is a group of one, at once. It knows nothing of what the work
is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Generic, TypeVar

M = TypeVar("M")  # a member
R = TypeVar("R")  # what comes of it

TURNS = 8  # of the event loop between two groups: who was just answered, and asks again, may be in the next one
MAX_MEMBERS = 100  # of a group: what it writes is one transaction
MAX_WEIGHT = 1_000  # of a group's members together, unless one alone weighs more

# What came of each member, in their order; of one that failed by itself, its exception.
Work = Callable[[Sequence[M]], Awaitable[Sequence[R | Exception]]]


@dataclass(frozen=True)
class _Waiting(Generic[M, R]):
    member: M
    weight: int
    work: Work[M, R]
    outcome: asyncio.Future[R]


class Groups(Generic[M, R]):
    """One group is at work at a time, in a task of its own: whoever stops waiting for an outcome stops nobody's work.

    What a group's work raises, every member's `join` raises.
    """

    def __init__(self) -> None:
        self._waiting: deque[_Waiting[M, R]] = deque()
        self._working: asyncio.Task[None] | None = None

    async def join(self, member: M, work: Work[M, R], *, weight: int) -> R:
        """What comes of the member, of a group that does this work."""
        outcome: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(member, weight, work, outcome))
        if self._working is None:
            # A context of its own: a group belongs to no caller.
            self._working = asyncio.get_running_loop().create_task(self._run(), name="groups", context=Context())
        return await outcome

    async def drain(self) -> None:
        """Wait until nothing is at work and nothing waits."""
        while self._working is not None:
            await asyncio.wait([self._working])

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._do(self._next())
                for _ in range(TURNS):
                    await asyncio.sleep(0)
        finally:
            self._working = None

    async def _do(self, group: Sequence[_Waiting[M, R]]) -> None:
        try:
            outcomes = await group[0].work([each.member for each in group])
        except Exception as error:
            for each in group:
                _settle(each.outcome, error)
        else:
            for each, outcome in zip(group, outcomes, strict=True):
                _settle(each.outcome, outcome)

    def _next(self) -> list[_Waiting[M, R]]:
        group = [self._waiting.popleft()]
        weight = group[0].weight
        while self._waiting and len(group) < MAX_MEMBERS and weight + self._waiting[0].weight <= MAX_WEIGHT:
            group.append(self._waiting.popleft())
            weight += group[-1].weight
        return group


def _settle(outcome: asyncio.Future[R], came: R | Exception) -> None:
    if outcome.done():  # nobody waits for it any more
        return
    if isinstance(came, Exception):
        outcome.set_exception(came)
    else:
        outcome.set_result(came)
