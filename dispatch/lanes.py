"""Lanes: what waits to be sent, by destination, and how much more of each may be taken. Pure: no clock, no tasks.

A destination has so many sends at once, however much waits for it, so a slow one never holds the others' places. A
fast one is taken ahead of time, by as much as it has lately shown to finish, so that its lane does not run dry
between two claims.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Lanes(Generic[T]):
    """`put` what was taken, `pop` what may be sent now, `done` when it was sent; `tick` now and then."""

    def __init__(self, *, total: int, each: int) -> None:
        """`total` sends at once, of which `each` to one destination."""
        self._total = total
        self._each = each
        self._waiting: dict[str, deque[T]] = {}  # in the order in which they are served
        self._sending: Counter[str] = Counter()
        self._finished: Counter[str] = Counter()  # since the last tick
        self._pace: Counter[str] = Counter()  # finished between the last two ticks

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, destination: str, item: T) -> None:
        self._waiting.setdefault(destination, deque()).append(item)

    def pop(self) -> tuple[str, T] | None:
        """The next to be sent, one destination after the other; None: all places are taken, or nothing waits."""
        if self._sending.total() >= self._total:
            return None
        for destination, items in self._waiting.items():
            if self._sending[destination] < self._each:
                del self._waiting[destination]
                item = items.popleft()
                if items:
                    self._waiting[destination] = items  # behind the others
                self._sending[destination] += 1
                return destination, item
        return None

    def done(self, destination: str) -> None:
        self._finished[destination] += 1
        self._sending[destination] -= 1
        if not self._sending[destination]:
            del self._sending[destination]

    def left(self) -> dict[str, int]:
        """How many more may be taken, for each destination that is being served: without a lane it is `each`."""
        busy = {*self._waiting, *self._sending, *self._pace, *self._finished}
        return {destination: self._ahead(destination) - self._held(destination) for destination in busy}

    def tick(self) -> list[T]:
        """Take a new measure of the pace; return what waits where nothing moves, for others to have the room."""
        still = [each for each in self._waiting if not self._pace[each] and not self._finished[each]]
        self._pace, self._finished = self._finished, Counter()
        return [item for destination in still for item in self._cut(destination)]

    def clear(self) -> list[T]:
        """Take out all that waits."""
        items = [item for waiting in self._waiting.values() for item in waiting]
        self._waiting.clear()
        return items

    def _ahead(self, destination: str) -> int:
        return self._each + max(self._pace[destination], self._finished[destination])

    def _held(self, destination: str) -> int:
        return self._sending[destination] + len(self._waiting.get(destination, ()))

    def _cut(self, destination: str) -> list[T]:
        items = self._waiting[destination]
        cut = []
        while items and self._held(destination) > self._ahead(destination):
            cut.append(items.pop())
        if not items:
            del self._waiting[destination]
        return cut
