"""Who and what a history of a given length is about: plain numbers, which `benchmarks.history` makes rows of.

Of ten notifications, eight come from a create for a project (its record, and a row for each of its users) and two from
creates for one user each. When nine tenths of it had happened, every user read all there was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

CREATES = 3  # of a block: the first for a project, two for users
BLOCK = 10  # notifications that they make
PROJECT_USERS = BLOCK - CREATES
READERS = 10  # users whose inboxes are of one size however long the history is
READER_ROWS = 100  # in each of them
RARE_EVERY = 10  # of them has the rare word in its title
COLLECTOR = "collector"  # has one of each hundred notifications
SENDER = "backend"  # created it all
RARE, COMMON = "reindexing", "disk"  # words of titles: one of few readers' rows only, one of a quarter of all
UNIT = READERS * READER_ROWS * BLOCK  # the shortest history
CHUNK = 50_000  # blocks that are made in one transaction


@dataclass(frozen=True)
class Shape:
    """Raises ValueError for what is not made of whole units."""

    notifications: int

    def __post_init__(self) -> None:
        if self.notifications <= 0 or self.notifications % UNIT:
            raise ValueError(f"must be a multiple of {UNIT:,}")

    @property
    def blocks(self) -> int:
        return self.notifications // BLOCK

    @property
    def read_before(self) -> int:
        """The first block after everybody had read everything."""
        return self.blocks * 9 // 10

    @property
    def projects(self) -> int:
        return self.notifications // 1_000

    @property
    def users(self) -> int:
        """Besides the readers and the collector."""
        return self.notifications // 200

    def chunks(self) -> Iterator[range]:
        """Blocks, one transaction's after the other's; none lies on both sides of the great reading."""
        for start, end in ((0, self.read_before), (self.read_before, self.blocks)):
            for first in range(start, end, CHUNK):
                yield range(first, min(first + CHUNK, end))


def reader(number: int) -> str:
    return f"reader-{number % READERS}"
