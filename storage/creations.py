"""New notifications, with the place that each has in its inbox: many of them in one statement.

It counts nothing and logs nothing: `storage.inboxes` and `storage.changes` do, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from storage import feeds, places, statements
from storage.contents import AnyContent
from storage.inboxes import Counted
from storage.models import (
    JsonObject,
    Notification,
    NotificationLevel,
    NotificationType,
)
from storage.statements import Batch, Insert


class Place(NamedTuple):
    """Where in its inbox a new notification stands, and what the inbox counts with it."""

    inbox_id: int
    generation: int
    seq: int
    unread_count: int
    unseen_count: int


def last_places(inbox: Counted, number: int) -> Iterator[Place]:
    """Those of the last so many that were counted in an inbox, in order."""
    for later in range(number - 1, -1, -1):
        # Of a project's feed, where nothing is read, there are no counts to fall behind.
        unread, unseen = max(inbox.unread_count - later, 0), max(inbox.unseen_count - later, 0)
        yield Place(inbox.inbox_id, inbox.generation, inbox.last_seq - later, unread, unseen)


class NewNotification(NamedTuple):
    """What is inserted, with the attributes of a Notification, and those of its content that its readers ask for."""

    notification_id: str
    domain_id: str
    content: AnyContent
    created_by: str
    created_at: datetime
    inbox: Place | None = None
    user_id: str | None = None
    project_id: str | None = None
    parent_notification_id: str | None = None
    decisions: Sequence[JsonObject] = ()
    is_read: bool = False
    read_at: datetime | None = None

    @property
    def content_id(self) -> int:
        return self.content.content_id

    @property
    def inbox_id(self) -> int | None:
        return None if self.inbox is None else self.inbox.inbox_id

    @property
    def generation(self) -> int | None:
        return None if self.inbox is None else self.inbox.generation

    @property
    def seq(self) -> int | None:
        return None if self.inbox is None else self.inbox.seq

    @property
    def topic(self) -> str:
        return self.content.topic

    @property
    def message(self) -> JsonObject:
        return self.content.message

    @property
    def notification_type(self) -> NotificationType:
        return self.content.notification_type

    @property
    def notification_level(self) -> NotificationLevel:
        return self.content.notification_level


_COLUMNS = statements.columns_of(Notification, but={"place", "feed_at"})
_OF_RECORDS = {dialect: f"CASE WHEN {{user_id}} IS NULL THEN {number} END" for dialect, number in feeds.NUMBER.items()}
_PLACE = dict.fromkeys(feeds.NUMBER, places.SPELLED)
_SHARED = {"domain_id", "content_id", "project_id", "is_read", "read_at", "created_by", "created_at"}  # of a create
_INSERT = Insert(Notification, _COLUMNS, computed={"place": _PLACE, "feed_at": _OF_RECORDS}, shared=_SHARED)


def inserting(rows: Sequence[NewNotification]) -> Batch:
    return Batch(_INSERT, rows)
