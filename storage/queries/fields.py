"""What can be asked of each record: the names of its fields, where they are stored, and what kind of value they hold.

Only what the API shows of a record is here: no secret, nothing sealed, none of the server's own bookkeeping. It knows
no operator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, case, func, literal, type_coerce

from storage.columns import Text
from storage.errors import StorageError
from storage.models import Channel, Content, Delivery, Notification, NotificationUsage, Protocol, Quota

SEPARATOR = "."  # between the segments of a key
MAX_PATH_SEGMENTS = 8  # of a key, the field's name among them
MAX_KEY_CHARACTERS = 255


class Kind(StrEnum):
    TEXT = "TEXT"
    NUMBER = "NUMBER"  # an integer
    BOOLEAN = "BOOLEAN"
    DATE = "DATE"  # a moment
    ENUM = "ENUM"  # a text of a few
    JSON = "JSON"  # an object, into which a key leads further
    LIST = "LIST"  # a JSON list


DOCUMENTS = frozenset({Kind.JSON, Kind.LIST})


class UnknownKey(StorageError):
    """The record has no such field. The message repeats no key."""


@dataclass(frozen=True)
class Field:
    name: str  # as the API spells it
    column: ColumnElement[Any]
    kind: Kind
    attributes: tuple[str, ...]  # which lead from a row to its value
    is_nullable: bool = False
    is_ours: bool = False  # its JSON is the server's own, whose keys are stored as is_read and shown as isRead

    @property
    def comparable(self) -> ColumnElement[Any]:
        """The column in the type that its values are compared and sorted in: booleans as 0 and 1."""
        if self.kind is Kind.BOOLEAN:
            number = case((self.column, literal(1, BigInteger)), else_=0)
            return case((self.column.is_not(None), number)) if self.is_nullable else number
        if self.kind is Kind.ENUM:
            return type_coerce(self.column, Text())
        return type_coerce(self.column, BigInteger()) if self.kind is Kind.NUMBER else self.column


@dataclass(frozen=True)
class Asked:
    """A field, and the path from there into its JSON."""

    field: Field
    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fields:
    """The fields of a record by their names; `keyword` are the keys of the texts that a keyword is looked for in."""

    fields: Mapping[str, Field]
    keyword: tuple[str, ...]

    def resolve(self, key: str) -> Asked:
        """The field that a key names, as the API (`isRead`) or the seeds (`is_read`) spell it.

        `message.tags.urgency` leads into a field that holds JSON. Raises UnknownKey.
        """
        check_length(key)
        name, *path = key.split(SEPARATOR)
        field = self.fields.get(_camel_case(name))
        if field is None:
            raise UnknownKey(f"There is no such field; there are {', '.join(sorted(self.fields))}.")
        if path and field.kind not in DOCUMENTS:
            raise UnknownKey("This field is one value: no key leads into it.")
        if not all(path):
            raise UnknownKey("A segment of a key may not be empty.")
        return Asked(field, tuple(map(_snake_case, path)) if field.is_ours else tuple(path))


def check_length(key: str) -> None:
    """Raises UnknownKey."""
    if len(key) > MAX_KEY_CHARACTERS:
        raise UnknownKey(f"A key has {MAX_KEY_CHARACTERS} characters at most.")
    if key.count(SEPARATOR) >= MAX_PATH_SEGMENTS:
        raise UnknownKey(f"A key has {MAX_PATH_SEGMENTS} segments at most.")


def _camel_case(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def _snake_case(name: str) -> str:
    return re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", name)


def _fields(keyword: Iterable[str], *fields: Field) -> Fields:
    return Fields({field.name: field for field in fields}, tuple(keyword))


def _field(
    name: str, column: Any, kind: Kind = Kind.TEXT, *, within: tuple[str, ...] = (), is_ours: bool = False
) -> Field:
    return Field(name, column, kind, (*within, column.key), column.property.columns[0].nullable, is_ours)


def protocols_as(entity: type[Protocol]) -> Fields:
    """The fields of protocols that are read as this entity."""
    return _fields(
        ("protocolId", "name"),
        _field("protocolId", entity.protocol_id),
        _field("name", entity.name),
        _field("state", entity.state, Kind.ENUM),
        _field("protocolType", entity.protocol_type, Kind.ENUM),
        _field("pluginId", entity.plugin_id),
        _field("options", entity.options, Kind.JSON),
        _field("tags", entity.tags, Kind.JSON),
        _field("domainId", entity.domain_id),
        _field("createdAt", entity.created_at, Kind.DATE),
    )


def _channels(id_name: str, *own: Field) -> Fields:
    return _fields(
        (id_name, "name"),
        _field(id_name, Channel.channel_id),
        _field("name", Channel.name),
        _field("state", Channel.state, Kind.ENUM),
        _field("data", Channel.data, Kind.JSON),  # as shown: null where all of it is secret
        _field("topics", Channel.topics, Kind.LIST),
        _field("schedule", Channel.schedule, Kind.JSON, is_ours=True),
        _field("tags", Channel.tags, Kind.JSON),
        _field("protocolId", Channel.protocol_id),
        _field("domainId", Channel.domain_id),
        _field("createdAt", Channel.created_at, Kind.DATE),
        *own,
    )


_SAID = ("content",)

NOTIFICATION = _fields(
    ("topic", "message.title", "message.description"),
    _field("notificationId", Notification.notification_id),
    _field("parentNotificationId", Notification.parent_notification_id),
    _field("topic", Content.topic, within=_SAID),
    _field("message", Content.message, Kind.JSON, within=_SAID),
    _field("notificationType", Content.notification_type, Kind.ENUM, within=_SAID),
    _field("notificationLevel", Content.notification_level, Kind.ENUM, within=_SAID),
    _field("isRead", Notification.is_read, Kind.BOOLEAN),
    _field("readAt", Notification.read_at, Kind.DATE),
    _field("userId", Notification.user_id),
    _field("projectId", Notification.project_id),
    _field("domainId", Notification.domain_id),
    _field("createdAt", Notification.created_at, Kind.DATE),
)

DELIVERY = _fields(
    ("deliveryId", "detail"),
    _field("deliveryId", Delivery.delivery_id),
    _field("notificationId", Delivery.notification_id),
    _field("channelId", Delivery.channel_id),
    _field("protocolId", Delivery.protocol_id),
    _field("pluginId", Delivery.plugin_id),
    _field("state", Delivery.state, Kind.ENUM),
    _field("reason", Delivery.reason, Kind.ENUM),
    _field("detail", Delivery.detail),
    _field("attemptCount", Delivery.attempt_count, Kind.NUMBER),
    _field("nextAttemptAt", Delivery.next_attempt_at, Kind.DATE),
    _field("domainId", Delivery.domain_id),
    _field("createdAt", Delivery.created_at, Kind.DATE),
    _field("finishedAt", Delivery.finished_at, Kind.DATE),
)

PROTOCOL = protocols_as(Protocol)

PROJECT_CHANNEL = _channels(
    "projectChannelId",
    _field("notificationLevel", Channel.notification_level, Kind.ENUM),
    _field("levelMatch", Channel.level_match, Kind.ENUM),
    _field("projectId", Channel.project_id),
)

USER_CHANNEL = _channels("userChannelId", _field("userId", Channel.user_id))

QUOTA = _fields(
    ("quotaId", "protocolId"),
    _field("quotaId", Quota.quota_id),
    _field("protocolId", Quota.protocol_id),
    _field("day", Quota.day, Kind.NUMBER),
    _field("month", Quota.month, Kind.NUMBER),
    _field("domainId", Quota.domain_id),
)

NOTIFICATION_USAGE = _fields(
    ("protocolId", "date"),
    _field("protocolId", NotificationUsage.protocol_id),
    _field("date", NotificationUsage.date),
    _field("count", NotificationUsage.count, Kind.NUMBER),
    _field("failCount", NotificationUsage.fail_count, Kind.NUMBER),
    _field("domainId", NotificationUsage.domain_id),
    # As the original has them: the month (2026-01) and the day of it (31).
    Field("usageMonth", func.substr(NotificationUsage.date, 1, 7, type_=Text()), Kind.TEXT, ("usage_month",)),
    Field("usageDate", func.substr(NotificationUsage.date, 9, 2, type_=Text()), Kind.TEXT, ("usage_date",)),
)
