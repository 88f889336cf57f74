"""The API's enums, with what each value means. Clients must accept values that are added later."""

from __future__ import annotations

from enum import EnumMeta

import strawberry

from resolvers.access import Role
from resolvers.notifications import NotificationOrderField, OrderDirection
from storage.models import (
    AttemptOutcome,
    DayOfWeek,
    Decision,
    DecisionReason,
    DeliveryState,
    LevelMatch,
    NotificationLevel,
    NotificationType,
    OffHours,
    ProtocolType,
    ResourceState,
)


def _publish(enum: EnumMeta, description: str, **values: str) -> None:
    """Make a Python enum a GraphQL enum whose every value is described."""
    published = strawberry.enum(enum, description=description)
    for value in published.__strawberry_definition__.values:  # type: ignore[attr-defined]
        value.description = values[value.name]


_publish(
    NotificationType,
    "What kind of news it is.",
    INFO="Something happened.",
    ERROR="Something failed.",
    SUCCESS="Something succeeded, or is over.",
    WARNING="Something may fail.",
)
_publish(
    NotificationLevel,
    "How far a notification reaches, or which ones a channel takes.",
    ALL="Every channel takes it. Not for channels.",
    LV1="Level 1, a channel's default.",
    LV2="Level 2.",
    LV3="Level 3.",
    LV4="Level 4.",
    LV5="Level 5.",
)
_publish(
    ResourceState,
    "Whether a protocol or a channel is in use.",
    ENABLED="In use.",
    DISABLED="Kept, but nothing is sent through it.",
)
_publish(
    ProtocolType,
    "Where a protocol leads.",
    INTERNAL="To inboxes of users on this server.",
    EXTERNAL="To an external system, through a plugin.",
)
_publish(
    Role,
    "What a caller may do; the README has the table.",
    USER="A person: their own inbox and channels.",
    SERVICE="A backend: says what happened.",
    DOMAIN_ADMIN="Everything within one domain.",
    SYSTEM="Everything, in any domain that the call names.",
)
_publish(
    LevelMatch,
    "How a channel compares a notification's level with its own.",
    EXACT="Only its own level.",
    AT_LEAST="Its own level and those above.",
)
_publish(
    OffHours,
    "What happens to a notification outside a channel's schedule.",
    SKIP="It is not sent, and the delivery says so.",
    DEFER="It waits for the schedule's next opening.",
)
_publish(
    DayOfWeek,
    "A day of the week, in the schedule's time zone.",
    MON="Monday.",
    TUE="Tuesday.",
    WED="Wednesday.",
    THU="Thursday.",
    FRI="Friday.",
    SAT="Saturday.",
    SUN="Sunday.",
)
_publish(
    DeliveryState,
    "Where a delivery stands.",
    PENDING="Not tried yet.",
    SENDING="A worker is sending it now.",
    RETRYING="Failed before; due again at nextAttemptAt.",
    DELIVERED="The far side took it.",
    DEAD="Refused for good, or all retries are used up.",
    SKIPPED="Wanted, but held; reason says by what.",
)
_publish(
    Decision,
    "What was decided for one channel.",
    SEND="It goes out now.",
    DEFER="It goes out at deferUntil.",
    SKIP="It does not go out; reason says why.",
)
_publish(
    DecisionReason,
    "Why something does not go out, or ended without success.",
    CHANNEL_DISABLED="The channel is disabled.",
    PROTOCOL_DISABLED="The channel's protocol is disabled.",
    TOPIC="The channel does not subscribe to the topic.",
    LEVEL="The channel does not take this level.",
    OFF_HOURS="The channel's schedule is closed.",
    QUOTA="The protocol's quota is used up.",
    CANCELLED="Somebody cancelled it.",
    CHANNEL_DELETED="The channel was deleted before it went out.",
    REFUSED="The far side refused it for good.",
    RETRIES_EXHAUSTED="Every attempt failed.",
)
_publish(
    AttemptOutcome,
    "What came of one attempt.",
    OK="The far side took it.",
    RETRY="It failed, and may work later.",
    REFUSED="It failed for good.",
    TIMEOUT="No answer came within the deadline.",
    BLOCKED="The destination's address is not allowed by the server's operator.",
)
_publish(OrderDirection, "Which end comes first.", ASC="The smallest first.", DESC="The largest first.")
_publish(
    NotificationOrderField,
    "What notifications can be ordered by.",
    CREATED_AT="When they were created.",
    TOPIC="Their topic, by code point.",
    TYPE="Their type's name.",
    LEVEL="Their level's name.",
)

__all__ = [
    "AttemptOutcome",
    "DayOfWeek",
    "Decision",
    "DecisionReason",
    "DeliveryState",
    "LevelMatch",
    "NotificationLevel",
    "NotificationOrderField",
    "NotificationType",
    "OffHours",
    "OrderDirection",
    "ProtocolType",
    "ResourceState",
    "Role",
]
