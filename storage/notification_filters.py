"""What lists of notifications are narrowed and ordered by, and the indexes that have their rows in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement
from sqlmodel import col

from storage import kept, paging
from storage.models import Content, Notification, NotificationLevel, NotificationType
from storage.notifications import READ, UNREAD
from storage.paging import Order
from storage.queries import fields, operators
from storage.queries.operators import EVERYTHING, Question

# Which index leads to the rows of a list in NEWEST_FIRST, by what is given of scope and filter: it has them in this
# order, and nothing else is asked of them, so that a page costs the same wherever it is in whatever there is.
LED_BY: Mapping[frozenset[str], str] = {
    frozenset({"domain_id"}): "notification_by_domain",
    frozenset({"domain_id", "user_id"}): "notification_by_user",
    frozenset({"domain_id", "user_id", "is_read"}): "notification_unread",
    frozenset({"domain_id", "project_id"}): "notification_by_project",
    frozenset({"domain_id", "created_by"}): "notification_by_creator",
}

# What a list can be ordered by; `notification_id` makes every order total.
CREATED_AT = paging.key("CREATED_AT", Notification.created_at, lambda row: row.created_at)
TOPIC = paging.key("TOPIC", Content.topic, lambda row: row.content.topic)
TYPE = paging.key("TYPE", Content.notification_type, lambda row: row.content.notification_type)
LEVEL = paging.key("LEVEL", Content.notification_level, lambda row: row.content.notification_level)
ID = paging.key("ID", Notification.notification_id, lambda row: row.notification_id)
NEWEST_FIRST: Order = (CREATED_AT, ID)


@dataclass(frozen=True)
class Filter:
    """What is None does not narrow; an empty list matches nothing."""

    notification_ids: Sequence[str] | None = None
    topics: Sequence[str] | None = None
    notification_types: Sequence[NotificationType] | None = None
    notification_levels: Sequence[NotificationLevel] | None = None
    is_read: bool | None = None
    parent_notification_id: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    created_after: datetime | None = None  # exclusive
    created_before: datetime | None = None  # exclusive
    question: Question = EVERYTHING

    @property
    def is_led(self) -> bool:
        """Whether of each thing that it asks there is an index, if not of all together."""
        checked = (self.notification_ids, self.topics, self.notification_types, self.notification_levels)
        return self.question is EVERYTHING and not self.is_read and all(each is None for each in checked)


UNFILTERED = kept.constant(Filter())


def conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    lists = {
        Notification.notification_id: wanted.notification_ids,
        Content.topic: wanted.topics,
        Content.notification_type: wanted.notification_types,
        Content.notification_level: wanted.notification_levels,
    }
    equals = {
        Notification.parent_notification_id: wanted.parent_notification_id,
        Notification.project_id: wanted.project_id,
        Notification.user_id: wanted.user_id,
    }
    every: list[ColumnElement[bool]] = [
        col(column).in_(values) for column, values in lists.items() if values is not None
    ]
    every += [col(column) == value for column, value in equals.items() if value is not None]
    if wanted.is_read is not None:
        every.append(READ if wanted.is_read else UNREAD)
    if wanted.created_after is not None:
        every.append(col(Notification.created_at) > wanted.created_after)
    if wanted.created_before is not None:
        every.append(col(Notification.created_at) < wanted.created_before)
    return [*every, *operators.conditions(fields.NOTIFICATION, wanted.question)]


def is_indexed(order: Order) -> bool:
    """Whether it is the one that the indexes have rows in, or its reverse."""
    columns = [getattr(key.column, "key", None) for key in order]
    return columns == ["created_at", "notification_id"] and order[0].descending == order[1].descending
