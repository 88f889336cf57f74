"""What a client is told and what it asks, in one shape whichever way it comes: the record of a client's life."""

from __future__ import annotations

from dataclasses import dataclass

from resolvers.events import EventKind


@dataclass(frozen=True)
class Counts:
    unread: int
    unseen: int


NOTHING = Counts(0, 0)


@dataclass(frozen=True)
class Row:
    """What never changes of a notification."""

    notification_id: str
    topic: str
    notification_type: str
    notification_level: str
    project_id: str | None
    cursor: str


@dataclass(frozen=True)
class Told:
    """One event. What its kind does not have is empty."""

    kind: EventKind
    cursor: str
    counts: Counts | None  # None on notificationCreated, which has none
    origin_id: str | None = None
    row: Row | None = None
    ids: tuple[str, ...] = ()
    is_read: bool = False
    up_to: str | None = None


@dataclass(frozen=True)
class Standing:
    """An inbox as it was read."""

    cursor: str
    counts: Counts
    total: int


@dataclass(frozen=True)
class Began:
    """From here on; without a cursor, from whatever is new by then."""

    cursor: str | None


@dataclass(frozen=True)
class Moved:
    """Where a page of changes led."""

    cursor: str


@dataclass(frozen=True)
class Expired:
    """The stream ended: the log does not reach back to the client's cursor."""


@dataclass(frozen=True)
class Entry:
    moment: float  # of the monotonic clock, when the client had it
    what: Told | Standing | Began | Moved | Expired
