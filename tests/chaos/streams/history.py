"""The whole log of every inbox, also of what is pruned, and what follows from it: what clients are compared with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.models import Change, ChangeKind, Inbox, InboxKind, Notification
from tests.chaos.streams.told import NOTHING, Counts


class Difference(Exception):
    """What should be equal is not. The smaller `size`, the easier it is to understand."""

    def __init__(self, what: str, *, size: int = 0) -> None:
        super().__init__(what)
        self.size = size


@dataclass
class Upkeep:
    """What was done to an inbox beside its changes, with the moments at which it began."""

    pruned: list[tuple[float, int]] = field(default_factory=list)  # and the last sequence number that went
    renewed: list[tuple[float, int]] = field(default_factory=list)  # and the generation from then on


class Chronicle:
    """Takes down each line of the log before it can be pruned."""

    def __init__(self, domain: str) -> None:
        self.began: dict[str, float] = {}  # when the call with this originId did
        self.inboxes: dict[str, int] = {}  # of the users
        self.upkeep: dict[int, Upkeep] = defaultdict(Upkeep)
        self._lines: dict[int, list[Change]] = defaultdict(list)
        self._domain = domain

    @property
    def length(self) -> int:
        return sum(map(len, self._lines.values()))

    def head(self, inbox_id: int) -> int:
        return len(self._lines[inbox_id])

    async def read_on(self, session: AsyncSession) -> None:
        of_users = select(Inbox).where(Inbox.domain_id == self._domain, Inbox.kind == InboxKind.USER)
        for inbox in await session.exec(of_users):
            self.inboxes[inbox.owner_id] = inbox.inbox_id
            lines = self._lines[inbox.inbox_id]
            following = select(Change).where(Change.inbox_id == inbox.inbox_id, Change.seq > len(lines))
            for line in await session.exec(following.order_by(col(Change.seq))):
                if line.seq != len(lines) + 1:
                    raise Difference(f"the log of {inbox.owner_id} goes from {len(lines)} to {line.seq}")
                lines.append(line)

    async def histories(self, session: AsyncSession) -> dict[str, History]:
        """Each user's, to the end: nothing is written any more."""
        await self.read_on(session)
        return {
            user: History(self._lines[inbox_id], self.upkeep[inbox_id], self.began, await _existing(session, inbox_id))
            for user, inbox_id in self.inboxes.items()
        }


async def _existing(session: AsyncSession, inbox_id: int) -> Sequence[Notification]:
    return (await session.exec(select(Notification).where(Notification.inbox_id == inbox_id))).all()


class History:
    """One inbox from its first change to its last. Raises Difference where the log does not add up."""

    def __init__(
        self, lines: Sequence[Change], upkeep: Upkeep, began: dict[str, float], existing: Sequence[Notification]
    ) -> None:
        self.lines = lines
        self.totals = [0]  # after each change, the first being none
        self.gone_since: dict[str, float] = {}  # by id: when the call that removed it began
        self._existing = existing
        self._upkeep = upkeep
        self._began = began
        self._seqs: dict[str, int] = {}  # of what exists, in the order in which it came
        self._unread: set[str] = set()
        self._seen = self._unseen = 0
        for line in lines:
            self._add(line)
        left = {(id, seq, id not in self._unread) for id, seq in self._seqs.items()}
        if left != {(row.notification_id, row.seq, row.is_read) for row in existing}:
            raise Difference("the notifications that there are are not those that the log leaves")

    @property
    def head(self) -> int:
        return len(self.lines)

    @property
    def is_undisturbed(self) -> bool:
        """Whether nobody ever had a reason to begin anew."""
        return not self._upkeep.renewed and all(floor <= 0 for _, floor in self._upkeep.pruned)

    def last_of(self, project_id: str) -> int:
        """Where the last of this project came that still exists."""
        return max(row.seq or 0 for row in self._existing if row.project_id == project_id)

    def counts(self, seq: int) -> Counts:
        line = self.lines[seq - 1] if seq else None
        return Counts(line.unread_count, line.unseen_count) if line else NOTHING

    def is_pruned(self, seq: int, moment: float) -> bool:
        """Whether the change behind this one may have been gone from the log by then."""
        return any(began <= moment and seq < floor for began, floor in self._upkeep.pruned)

    def age(self, generation: int) -> int:
        """How many times the inbox had been started anew when it had this generation."""
        renewed = [each for _, each in self._upkeep.renewed]
        return renewed.index(generation) + 1 if generation in renewed else 0

    def newest_age(self, moment: float) -> int:
        """How many times it may have been by then."""
        return sum(began <= moment for began, _ in self._upkeep.renewed)

    def _add(self, line: Change) -> None:
        _FOLDS[line.kind](self, line)
        counted = Counts(len(self._unread), self._unseen)
        if counted != self.counts(line.seq):
            raise Difference(f"change {line.seq} of {line.inbox_id} says {self.counts(line.seq)}, and it is {counted}")
        self.totals.append(len(self._seqs))

    def _came(self, line: Change) -> None:
        assert line.notification_id
        self._seqs[line.notification_id] = line.seq
        self._unread.add(line.notification_id)
        self._unseen += 1

    def _read(self, line: Change) -> None:
        ids = set(line.notification_ids or ())
        known = ids & self._unread if line.is_read else ids & (self._seqs.keys() - self._unread)
        if not ids or known != ids:
            raise Difference(f"change {line.seq} of {line.inbox_id} marks what was so, or gone, before")
        self._unread ^= ids

    def _removed(self, line: Change) -> None:
        self._remove(line, line.notification_ids or ())

    def _all_read(self, line: Change) -> None:
        self._unread -= set(self._up_to(line))

    def _seen_up_to(self, line: Change) -> None:
        self._seen = line.up_to or 0
        self._unseen = len(self._seqs) - len(self._up_to(line))

    def _all_removed(self, line: Change) -> None:
        self._remove(line, self._up_to(line))

    def _remove(self, line: Change, ids: Sequence[str]) -> None:
        for id in ids:
            if id not in self._seqs:
                raise Difference(f"change {line.seq} of {line.inbox_id} removes what was gone before")
            self._unseen -= self._seqs.pop(id) > self._seen
            self._unread.discard(id)
            self.gone_since[id] = self._began.get(line.origin_id or "", -1)

    def _up_to(self, line: Change) -> list[str]:
        return [id for id, _ in takewhile(lambda each: each[1] <= (line.up_to or 0), self._seqs.items())]


_FOLDS: dict[ChangeKind, Callable[[History, Change], None]] = {
    ChangeKind.ADDED: History._came,
    ChangeKind.READ: History._read,
    ChangeKind.REMOVED: History._removed,
    ChangeKind.ALL_READ: History._all_read,
    ChangeKind.SEEN: History._seen_up_to,
    ChangeKind.ALL_REMOVED: History._all_removed,
}
