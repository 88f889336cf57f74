"""Every table, with the reason for each index. Rows only: no queries and no rules.

Annotations are real types here: SQLModel reads them to know its columns and relationships.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlmodel import Field, Relationship, SQLModel

from storage import places
from storage.columns import Json, Number, Sealed, Text, UtcDateTime, enum_text
from storage.queries import search_texts

JsonObject = dict[str, Any]


class NotificationType(StrEnum):
    INFO = "INFO"
    ERROR = "ERROR"
    SUCCESS = "SUCCESS"
    WARNING = "WARNING"


class NotificationLevel(StrEnum):
    ALL = "ALL"  # on a notification: reaches every channel; a channel has LV1 to LV5
    LV1 = "LV1"
    LV2 = "LV2"
    LV3 = "LV3"
    LV4 = "LV4"
    LV5 = "LV5"


class ResourceState(StrEnum):
    ENABLED = "ENABLED"
    DISABLED = "DISABLED"


class ProtocolType(StrEnum):
    INTERNAL = "INTERNAL"  # the inbox itself
    EXTERNAL = "EXTERNAL"  # a plugin


class LevelMatch(StrEnum):
    EXACT = "EXACT"
    AT_LEAST = "AT_LEAST"


class InboxKind(StrEnum):
    """Whose sequence of changes it is. Locks are taken in this order: projects sort before users."""

    DOMAIN = "DOMAIN"  # has no inbox row: its feed is in the order of its records' own numbers
    PROJECT = "PROJECT"
    USER = "USER"


class ChangeKind(StrEnum):
    ADDED = "ADDED"  # one notification
    READ = "READ"  # these are now read, or unread
    REMOVED = "REMOVED"  # these are gone
    ALL_READ = "ALL_READ"  # everything up to a position is read
    SEEN = "SEEN"  # the bell was opened
    ALL_REMOVED = "ALL_REMOVED"  # everything up to a position is gone


class DeliveryState(StrEnum):
    PENDING = "PENDING"  # never tried yet
    SENDING = "SENDING"  # a worker holds its lease
    RETRYING = "RETRYING"  # failed before, due again at next_attempt_at
    DELIVERED = "DELIVERED"  # the far side took it
    DEAD = "DEAD"  # refused for good, or retries used up
    SKIPPED = "SKIPPED"  # wanted, but held; `reason` says by what


OPEN_STATES = (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.RETRYING)


class Decision(StrEnum):
    """What is planned for one channel."""

    SEND = "SEND"
    DEFER = "DEFER"  # planned again at the schedule's next opening
    SKIP = "SKIP"


class OffHours(StrEnum):
    """What happens to a notification outside its channel's schedule."""

    SKIP = "SKIP"
    DEFER = "DEFER"


class DayOfWeek(StrEnum):
    MON = "MON"
    TUE = "TUE"
    WED = "WED"
    THU = "THU"
    FRI = "FRI"
    SAT = "SAT"
    SUN = "SUN"


class DecisionReason(StrEnum):
    CHANNEL_DISABLED = "CHANNEL_DISABLED"
    PROTOCOL_DISABLED = "PROTOCOL_DISABLED"
    TOPIC = "TOPIC"
    LEVEL = "LEVEL"
    OFF_HOURS = "OFF_HOURS"
    QUOTA = "QUOTA"
    CANCELLED = "CANCELLED"
    CHANNEL_DELETED = "CHANNEL_DELETED"
    REFUSED = "REFUSED"
    RETRIES_EXHAUSTED = "RETRIES_EXHAUSTED"


class AttemptOutcome(StrEnum):
    OK = "OK"
    RETRY = "RETRY"  # failed, may work later
    REFUSED = "REFUSED"  # failed for good
    TIMEOUT = "TIMEOUT"  # no answer within the deadline
    BLOCKED = "BLOCKED"  # the destination's address is not allowed


class Content(SQLModel, table=True):
    """What was said, once per create, however many recipients."""

    # An id is never given twice: a finished delivery keeps its content's id longer than there is such a content.
    __table_args__ = {"sqlite_autoincrement": True}

    content_id: int = Field(default=None, primary_key=True, sa_type=Number)
    domain_id: str = Field(sa_type=Text)
    topic: str = Field(sa_type=Text)
    message: JsonObject = Field(sa_type=Json)
    notification_type: NotificationType = Field(sa_type=enum_text(NotificationType))
    notification_level: NotificationLevel = Field(sa_type=enum_text(NotificationLevel))
    resource_type: str | None = Field(default=None, sa_type=Text)  # null for a push
    resource_id: str | None = Field(default=None, sa_type=Text)


def _searched(context: DefaultExecutionContext) -> str:
    given = context.get_current_parameters()  # type: ignore[no-untyped-call]
    return search_texts.searched(given["domain_id"], given["topic"], given["message"])


# What the index of searches holds. It is no attribute: nothing reads it back with a content.
Content.__table__.append_column(  # type: ignore[attr-defined]
    Column("searched", Text, nullable=False, server_default="", default=_searched)
)


class Inbox(SQLModel, table=True):
    """One user's inbox, or one project's feed: the row that every change of it locks.

    A user is known when, and only when, this row exists.
    """

    __table_args__ = (UniqueConstraint("domain_id", "kind", "owner_id"),)

    inbox_id: int = Field(default=None, primary_key=True, sa_type=Number)
    domain_id: str = Field(sa_type=Text)
    kind: InboxKind = Field(sa_type=enum_text(InboxKind))
    owner_id: str = Field(sa_type=Text)  # the user's or the project's id
    generation: int = Field(sa_type=Number)  # random; renewed when sequence numbers start anew
    last_seq: int = Field(default=0, sa_type=Number)
    unread_count: int = Field(default=0, sa_type=Number)
    unseen_count: int = Field(default=0, sa_type=Number)  # rows with a seq above seen_seq
    seen_seq: int = Field(default=0, sa_type=Number)  # up to here the bell was opened
    total_count: int = Field(default=0, sa_type=Number)


def _place(context: DefaultExecutionContext) -> int:
    given = context.get_current_parameters()  # type: ignore[no-untyped-call]
    inbox_id: int | None = given.get("inbox_id")
    return -int(given["content_id"]) if inbox_id is None else places.of(inbox_id, int(given["seq"]))


class Notification(SQLModel, table=True):
    """A row in a user's inbox, or the record (`user_id` null) of a project, a domain or a push."""

    __table_args__ = (
        # notifications(): a user's own list, newest first
        Index("notification_by_user", "domain_id", "user_id", "created_at", "notification_id"),
        # notifications(filter: {isRead: false}) and markAllRead
        Index(
            "notification_unread",
            "domain_id",
            "user_id",
            "created_at",
            "notification_id",
            sqlite_where=text("NOT is_read"),
            postgresql_where=text("NOT is_read"),
        ),
        # notifications() of an administrator; with what leads to the contents, which searches look through
        Index("notification_by_domain", "domain_id", "created_at", "notification_id", "content_id"),
        # notifications(filter: {projectId})
        Index("notification_by_project", "domain_id", "project_id", "created_at", "notification_id"),
        # notifications(filter: {parentNotificationId}), and the rows that one create led to
        Index("notification_by_parent", "parent_notification_id", "created_at", "notification_id"),
        # notifications() of a service: the records that it created
        Index(
            "notification_by_creator",
            "domain_id",
            "created_by",
            "created_at",
            "notification_id",
            sqlite_where=text("user_id IS NULL"),
            postgresql_where=text("user_id IS NULL"),
        ),
        # notificationFeed() of a domain: its records after a position
        Index(
            "notification_by_feed",
            "domain_id",
            "feed_at",
            "content_id",
            sqlite_where=text("feed_at IS NOT NULL"),
            postgresql_where=text("feed_at IS NOT NULL"),
        ),
        # is this content still needed? whose rows have what a search found?
        Index("notification_by_content", "content_id", "user_id"),
        UniqueConstraint("notification_id"),
    )

    # an inbox's rows up to a position, or after one
    place: int = Field(
        default=None,
        primary_key=True,
        sa_type=Number,
        sa_column_kwargs={"autoincrement": False, "default": _place},
    )
    notification_id: str = Field(sa_type=Text)
    domain_id: str = Field(sa_type=Text)
    content_id: int | None = Field(default=None, sa_type=Number, sa_column_args=[ForeignKey("content.content_id")])
    inbox_id: int | None = Field(default=None, sa_type=Number, sa_column_args=[ForeignKey("inbox.inbox_id")])
    seq: int | None = Field(default=None, sa_type=Number)  # of its creation, in its inbox; null without one
    feed_at: int | None = Field(default=None, sa_type=Number)  # storage.feeds.NUMBER of a record; null in inboxes
    user_id: str | None = Field(default=None, sa_type=Text)
    project_id: str | None = Field(default=None, sa_type=Text)
    parent_notification_id: str | None = Field(default=None, sa_type=Text)
    is_read: bool = False
    read_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    decisions: list[JsonObject] = Field(default_factory=list, sa_type=Json)
    created_by: str = Field(sa_type=Text)  # the user id of the caller
    created_at: datetime = Field(sa_type=UtcDateTime)

    content: Content = Relationship(sa_relationship_kwargs={"lazy": "raise"})
    inbox: Inbox | None = Relationship(sa_relationship_kwargs={"lazy": "raise"})


class FeedEpoch(SQLModel, table=True):
    """One row: since when, and from where on, the numbers of domains' feeds count."""

    __tablename__ = "feed_epoch"

    epoch_id: int = Field(primary_key=True, sa_type=Number)
    generation: int = Field(sa_type=Number)  # random; renewed when what has cursors may have been lost
    shift: int = Field(default=0, sa_type=Number)  # added to the numbers of PostgreSQL's transactions
    written_by: int | None = Field(default=None, sa_type=Number)  # the transaction that did: another one restored it


class Change(SQLModel, table=True):
    """One change of an inbox: gap-free and in commit order by `seq`, with the counts after it."""

    __table_args__ = (
        # changes past their time are swept
        Index("change_by_age", "changed_at"),
        {"sqlite_with_rowid": False},
    )

    inbox_id: int = Field(primary_key=True, sa_type=Number, sa_column_args=[ForeignKey("inbox.inbox_id")])
    seq: int = Field(primary_key=True, sa_type=Number)
    kind: ChangeKind = Field(sa_type=enum_text(ChangeKind))
    notification_id: str | None = Field(default=None, sa_type=Text)  # ADDED
    notification_ids: list[str] | None = Field(default=None, sa_type=Json)  # READ, REMOVED
    is_read: bool | None = None  # READ
    up_to: int | None = Field(default=None, sa_type=Number)  # ALL_READ, SEEN, ALL_REMOVED: a seq
    unread_count: int = Field(sa_type=Number)
    unseen_count: int = Field(sa_type=Number)
    origin_id: str | None = Field(default=None, sa_type=Text)
    changed_at: datetime = Field(sa_type=UtcDateTime)


class IdempotencyKey(SQLModel, table=True):
    """The first answer to a keyed create or push."""

    __tablename__ = "idempotency_key"
    __table_args__ = (
        # keys past their time are swept
        Index("idempotency_key_by_age", "created_at"),
    )

    domain_id: str = Field(primary_key=True, sa_type=Text)
    caller: str = Field(primary_key=True, sa_type=Text)
    operation: str = Field(primary_key=True, sa_type=Text)
    key: str = Field(primary_key=True, sa_type=Text)
    body_hash: str = Field(sa_type=Text)
    answer: JsonObject | None = Field(default=None, sa_type=Json)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Revocation(SQLModel, table=True):
    """Until when tokens of a user may have been issued and are refused. Kept for good: tokens may live as long."""

    __table_args__ = (
        # what other processes have revoked lately?
        Index("revocation_by_time", "revoked_at"),
    )

    domain_id: str = Field(primary_key=True, sa_type=Text)
    user_id: str = Field(primary_key=True, sa_type=Text)
    revoked_at: datetime = Field(sa_type=UtcDateTime)


class Fanout(SQLModel, table=True):
    """Recipients of a create who are reached later, chunk by chunk. Gone when done."""

    __table_args__ = (
        # which one is due?
        Index("fanout_due", "due_at"),
        # is this content still needed?
        Index("fanout_by_content", "content_id"),
    )

    fanout_id: int = Field(default=None, primary_key=True, sa_type=Number)
    record_id: str = Field(sa_type=Text)
    domain_id: str = Field(sa_type=Text)
    content_id: int = Field(sa_type=Number, sa_column_args=[ForeignKey("content.content_id")])
    project_id: str | None = Field(default=None, sa_type=Text)
    created_by: str = Field(sa_type=Text)
    due_at: datetime = Field(sa_type=UtcDateTime)  # later than its create only for channels that defer


class FanoutChunk(SQLModel, table=True):
    """Users whom a fan-out has not reached yet, and reaches in one transaction."""

    __tablename__ = "fanout_chunk"

    fanout_id: int = Field(primary_key=True, sa_type=Number, sa_column_args=[ForeignKey("fanout.fanout_id")])
    number: int = Field(primary_key=True, sa_type=Number)  # the highest comes first, and 1 last
    user_ids: list[str] = Field(sa_type=Json)


class Protocol(SQLModel, table=True):
    """In what way: a plugin with its options and its secret. The INTERNAL one has no plugin."""

    __table_args__ = (UniqueConstraint("domain_id", "name"),)

    protocol_id: str = Field(primary_key=True, sa_type=Text)
    domain_id: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    state: ResourceState = Field(default=ResourceState.ENABLED, sa_type=enum_text(ResourceState))
    protocol_type: ProtocolType = Field(sa_type=enum_text(ProtocolType))
    plugin_id: str | None = Field(default=None, sa_type=Text)
    options: JsonObject = Field(default_factory=dict, sa_type=Json)
    secret_data: bytes | None = Field(default=None, sa_type=Sealed)
    tags: JsonObject = Field(default_factory=dict, sa_type=Json)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Channel(SQLModel, table=True):
    """Where to: a project's channel (`project_id`) or a user's (`user_id`), one of the two."""

    __table_args__ = (
        # which channels does this project have? (create, lists)
        Index("channel_by_project", "domain_id", "project_id", "created_at", "channel_id"),
        # which channels does this user have? (create, lists)
        Index("channel_by_user", "domain_id", "user_id", "created_at", "channel_id"),
        # projectChannels(), userChannels() of an administrator: newest first
        Index("channel_by_domain", "domain_id", "created_at", "channel_id"),
        # is this protocol in use?
        Index("channel_by_protocol", "protocol_id", "created_at", "channel_id"),
        # whose owner is still to be told?
        Index(
            "channel_alert_due",
            "alert_due_at",
            sqlite_where=text("alert_due_at IS NOT NULL"),
            postgresql_where=text("alert_due_at IS NOT NULL"),
        ),
    )

    channel_id: str = Field(primary_key=True, sa_type=Text)  # project-ch-... or user-ch-...
    domain_id: str = Field(sa_type=Text)
    protocol_id: str = Field(sa_type=Text, sa_column_args=[ForeignKey("protocol.protocol_id")])
    project_id: str | None = Field(default=None, sa_type=Text)
    user_id: str | None = Field(default=None, sa_type=Text)
    name: str = Field(sa_type=Text)
    state: ResourceState = Field(default=ResourceState.ENABLED, sa_type=enum_text(ResourceState))
    data: JsonObject | None = Field(default=None, sa_type=Json)  # as shown, secrets masked; null where all is secret
    secret_data: bytes | None = Field(default=None, sa_type=Sealed)  # all of it, where anything of it is secret
    topics: list[str] | None = Field(default=None, sa_type=Json)  # null: every topic; []: none
    schedule: JsonObject | None = Field(
        default=None, sa_type=Json
    )  # null: always; else dispatch.schedules.Schedule as JSON
    destination: str | None = Field(default=None, sa_type=Text)  # what is limited together; null: the channel itself
    part_count: int = 1  # deliveries that one notification makes: one for each recipient, where its plugin says so
    failing_since: datetime | None = Field(default=None, sa_type=UtcDateTime)  # null while it works
    alert_due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # when it was disabled; null once told
    notification_level: NotificationLevel | None = Field(default=None, sa_type=enum_text(NotificationLevel))
    level_match: LevelMatch | None = Field(default=None, sa_type=enum_text(LevelMatch))
    tags: JsonObject = Field(default_factory=dict, sa_type=Json)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Quota(SQLModel, table=True):
    """How many deliveries a protocol may make, in UTC days and months. A protocol has one at the most."""

    __table_args__ = (
        # quotas(): newest first
        Index("quota_by_domain", "domain_id", "created_at", "quota_id"),
    )

    quota_id: str = Field(primary_key=True, sa_type=Text)
    domain_id: str = Field(sa_type=Text)
    protocol_id: str = Field(unique=True, sa_type=Text, sa_column_args=[ForeignKey("protocol.protocol_id")])
    day: int | None = Field(default=None, sa_type=Number)  # null: unlimited
    month: int | None = Field(default=None, sa_type=Number)
    created_at: datetime = Field(sa_type=UtcDateTime)


class NotificationUsage(SQLModel, table=True):
    """What a protocol did in one UTC day: deliveries that count against its quota, and those that died."""

    __tablename__ = "notification_usage"
    __table_args__ = (
        # notificationUsages(): the latest day first
        Index("notification_usage_by_domain", "domain_id", "date", "protocol_id"),
    )

    protocol_id: str = Field(primary_key=True, sa_type=Text)
    date: str = Field(primary_key=True, sa_type=Text)  # 2026-01-31: sorts by time, and a month is a prefix
    domain_id: str = Field(sa_type=Text)
    count: int = Field(default=0, sa_type=Number)
    fail_count: int = Field(default=0, sa_type=Number)


class Delivery(SQLModel, table=True):
    """One notification through one channel (or, of a push, through one protocol)."""

    __table_args__ = (
        UniqueConstraint("notification_id", "channel_id", "part"),
        # claim: what is due; the finished ones are not in it, so claims cost the same among millions of them
        Index(
            "delivery_due",
            "next_attempt_at",
            sqlite_where=text("state IN ('PENDING', 'RETRYING')"),
            postgresql_where=text("state IN ('PENDING', 'RETRYING')"),
        ),
        # claim: what is due elsewhere, where thousands are due for destinations that are full
        Index(
            "delivery_due_by_destination",
            "destination",
            "next_attempt_at",
            sqlite_where=text("state IN ('PENDING', 'RETRYING')"),
            postgresql_where=text("state IN ('PENDING', 'RETRYING')"),
        ),
        # claim: leases that ran out
        Index(
            "delivery_leased",
            "lease_until",
            sqlite_where=text("state = 'SENDING'"),
            postgresql_where=text("state = 'SENDING'"),
        ),
        # deliveries(): newest first
        Index("delivery_by_domain", "domain_id", "created_at", "delivery_id"),
        # deliveries(filter: {channelId}), and the open ones of a channel that is deleted
        Index("delivery_by_channel", "channel_id", "created_at", "delivery_id"),
        # deliveries(filter: {protocolId})
        Index("delivery_by_protocol", "protocol_id", "created_at", "delivery_id"),
        # deliveries() of a user
        Index("delivery_by_user", "domain_id", "user_id", "created_at", "delivery_id"),
        # deliveries() of a service
        Index("delivery_by_creator", "domain_id", "created_by", "created_at", "delivery_id"),
        # deliveries past their time are swept: none that waits is in it, so claims do not keep it up
        Index(
            "delivery_by_end",
            "finished_at",
            sqlite_where=text("finished_at IS NOT NULL"),
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
        # is this content still needed?
        Index(
            "delivery_open_by_content",
            "content_id",
            sqlite_where=text("state IN ('PENDING', 'SENDING', 'RETRYING')"),
            postgresql_where=text("state IN ('PENDING', 'SENDING', 'RETRYING')"),
        ),
    )

    delivery_id: str = Field(primary_key=True, sa_type=Text)
    domain_id: str = Field(sa_type=Text)
    notification_id: str = Field(sa_type=Text)  # the notification may be deleted before
    content_id: int | None = Field(default=None, sa_type=Number)  # the content may be gone once it is finished
    protocol_id: str = Field(sa_type=Text)
    plugin_id: str = Field(sa_type=Text)
    channel_id: str | None = Field(default=None, sa_type=Text)  # null for a push
    user_id: str | None = Field(default=None, sa_type=Text)  # whose user channel it goes through
    part: int = 0  # the recipient's index, where a plugin splits recipients
    destination: str = Field(default="", sa_type=Text)  # deliveries to one are limited together
    push_data: bytes | None = Field(default=None, sa_type=Sealed)  # a push's own channel data
    state: DeliveryState = Field(default=DeliveryState.PENDING, sa_type=enum_text(DeliveryState))
    reason: DecisionReason | None = Field(default=None, sa_type=enum_text(DecisionReason))
    detail: str | None = Field(default=None, sa_type=Text)
    attempt_no: int = 0  # raised by each claim; an outcome is written only where it still matches
    attempt_count: int = 0  # attempts that were recorded
    retries_from: int = 0  # how many of them came before it was last asked for again
    counted_on: str | None = Field(default=None, sa_type=Text)  # the UTC day whose usage it is in
    next_attempt_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # null once finished
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)  # by the database's clock
    created_by: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Attempt(SQLModel, table=True):
    """One call of a plugin for a delivery."""

    __table_args__ = {"sqlite_with_rowid": False}

    delivery_id: str = Field(primary_key=True, sa_type=Text, sa_column_args=[ForeignKey("delivery.delivery_id")])
    attempt_no: int = Field(primary_key=True)
    started_at: datetime = Field(sa_type=UtcDateTime)
    duration_ms: int
    outcome: AttemptOutcome = Field(sa_type=enum_text(AttemptOutcome))
    status_code: int | None = None
    error: str | None = Field(default=None, sa_type=Text)
    response_excerpt: str | None = Field(default=None, sa_type=Text)
