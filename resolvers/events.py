"""What a change log tells: events, and how an inbox stood when they were read. No reading, and no waiting for more.

Events and positions are tuples: thousands are made a second, and most live no longer than it takes to tell them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from resolvers import cursors
from resolvers.cursors import StreamCursor
from storage.notifications import NotificationRow


class EventKind(StrEnum):
    ADDED = "ADDED"
    READ = "READ"
    REMOVED = "REMOVED"
    ALL_READ = "ALL_READ"
    SEEN = "SEEN"
    ALL_REMOVED = "ALL_REMOVED"
    SYNCED = "SYNCED"  # nothing was missed up to here
    RESET = "RESET"  # something was missed: read the inbox anew, and go on from here


class Event(NamedTuple):
    """One change of an inbox, with the counts after it. What its kind does not have is empty."""

    kind: EventKind
    position: StreamCursor
    unread_count: int
    unseen_count: int
    origin_id: str | None = None
    notification: NotificationRow | None = None  # as text
    notification_ids: Sequence[str] = ()
    is_read: bool = False
    up_to: StreamCursor = cursors.BEGINNING


class Standing(Protocol):
    """How an inbox stands: its row, or what its last change says of it."""

    @property
    def inbox_id(self) -> int: ...

    @property
    def generation(self) -> int: ...

    @property
    def last_seq(self) -> int: ...

    @property
    def unread_count(self) -> int: ...

    @property
    def unseen_count(self) -> int: ...


class Stood(NamedTuple):
    """An inbox as a change left it."""

    inbox_id: int
    generation: int
    last_seq: int
    unread_count: int
    unseen_count: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The next events of a log, where they leave it, and how it stood then."""

    position: StreamCursor
    events: Sequence[Event]
    inbox: Standing | None  # None for a user whom nobody has heard of

    @property
    def has_more(self) -> bool:
        return self.inbox is not None and self.inbox.last_seq > self.position.seq

    @property
    def is_last(self) -> bool:
        """Whether the inbox stands as it leaves it: what comes later is announced to whoever watched before."""
        return self.inbox is None or self.inbox.last_seq == self.position.seq


def standing(kind: EventKind, inbox: Standing | None) -> Event:
    """How an inbox stands at its head."""
    if inbox is None:
        return Event(kind, cursors.BEGINNING, 0, 0)
    return Event(kind, head(inbox), inbox.unread_count, inbox.unseen_count)


def head(inbox: Standing | None) -> StreamCursor:
    return at(inbox, 0 if inbox is None else inbox.last_seq)


def at(inbox: Standing | None, seq: int) -> StreamCursor:
    return cursors.BEGINNING if inbox is None else StreamCursor(inbox.inbox_id, inbox.generation, seq)
