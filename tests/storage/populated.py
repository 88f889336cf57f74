"""A database with enough rows for its planner to tell one way to a row from another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import SQLModel

from storage.models import (
    Attempt,
    AttemptOutcome,
    Change,
    ChangeKind,
    Channel,
    Content,
    Delivery,
    DeliveryState,
    Fanout,
    FanoutChunk,
    IdempotencyKey,
    Inbox,
    InboxKind,
    Notification,
    NotificationLevel,
    NotificationType,
    NotificationUsage,
    Protocol,
    ProtocolType,
    Quota,
    ResourceState,
    Revocation,
)
from storage.notification_filters import CREATED_AT, ID
from storage.paging import Bounds
from storage.scope import Scope

NOW = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)
LATER = datetime(2126, 1, 31, tzinfo=UTC)
DOMAINS = 10
ROWS = 4_000  # of each of the large tables
USERS = 40  # of a domain
WIDE = "x" * 1_000  # what rows say takes most of a table, as it does where there are many

DOMAIN = Scope("d1")
USER = Scope("d1", user_id="u1")
CREATOR = Scope("d1", created_by="s1")
ORDER = (CREATED_AT, ID)
FIRST = Bounds(limit=20)
NEXT = Bounds(limit=20, after=(NOW + timedelta(seconds=2_001), "notification-2001"))
BACK = Bounds(limit=20, before=(NOW + timedelta(seconds=2_001), "notification-2001"), backwards=True)


def tables() -> dict[type[SQLModel], list[dict[str, Any]]]:
    """Rows of ten domains that are all alike; `n` of a row tells its domain, its user, its project and its time."""

    def rows(make: Callable[[int], dict[str, Any]], count: int = ROWS) -> list[dict[str, Any]]:
        return [make(n) for n in range(count)]

    def domain(n: int) -> str:
        return f"d{n % DOMAINS}"

    def owner(n: int) -> int:
        return n // DOMAINS % USERS

    def at(n: int) -> datetime:
        return NOW + timedelta(seconds=n)

    def inbox_id(n: int) -> int:
        return n % DOMAINS * USERS + owner(n) + 1

    users = DOMAINS * USERS
    states = [DeliveryState.DELIVERED] * 18 + [DeliveryState.PENDING, DeliveryState.SENDING]
    return {
        Content: rows(
            lambda n: {
                "content_id": n + 1,
                "domain_id": domain(n),
                "topic": f"t{n % 7}",
                "message": {"title": f"said word{n}", "more": WIDE},
                "notification_type": NotificationType.INFO,
                "notification_level": NotificationLevel.LV1,
            }
        ),
        Inbox: [
            {
                "inbox_id": domain_number * USERS + n + 1,
                "domain_id": domain(domain_number),
                "kind": InboxKind.USER,
                "owner_id": f"u{n}",
                "generation": 1,
                "last_seq": 10,
            }
            for domain_number in range(DOMAINS)
            for n in range(USERS)
        ],
        Notification: rows(
            lambda n: {
                "notification_id": f"notification-{n}",
                "domain_id": domain(n),
                "content_id": n + 1,
                "inbox_id": inbox_id(n) if n % 3 else None,
                "seq": n // users + 1 if n % 3 else None,
                "feed_at": None if n % 3 else n,
                "user_id": f"u{owner(n)}" if n % 3 else None,
                "project_id": f"p{owner(n)}",
                "parent_notification_id": f"notification-{n // 100}" if n % 3 else None,
                "is_read": n % 20 > 0,
                "decisions": [{"more": WIDE}],
                "created_by": f"s{owner(n)}",
                "created_at": at(n),
            }
        ),
        Change: rows(
            lambda n: {
                "inbox_id": n % users + 1,
                "seq": n // users + 1,
                "kind": ChangeKind.READ if n // users % 2 else ChangeKind.ADDED,
                "notification_id": None if n // users % 2 else f"notification-{n}",
                "notification_ids": [f"notification-{n}"] if n // users % 2 else None,
                "unread_count": 1,
                "unseen_count": 1,
                "changed_at": at(n),
            }
        ),
        IdempotencyKey: rows(
            lambda n: {
                "domain_id": domain(n),
                "caller": f"s{owner(n)}",
                "operation": "create",
                "key": f"key-{n}",
                "body_hash": "x",
                "created_at": at(n),
            }
        ),
        Revocation: rows(lambda n: {"domain_id": domain(n), "user_id": f"u{n}", "revoked_at": at(n)}),
        Fanout: rows(
            lambda n: {
                "fanout_id": n + 1,
                "record_id": f"notification-{n}",
                "domain_id": domain(n),
                "content_id": n + 1,
                "created_by": "s",
                "due_at": at(n),
            }
        ),
        FanoutChunk: rows(lambda n: {"fanout_id": n + 1, "number": 1, "user_ids": ["u1", "u2"]}),
        Protocol: rows(
            lambda n: {
                "protocol_id": f"protocol-{n}",
                "domain_id": f"d{n % 200}",
                "name": f"name {n}",
                "state": ResourceState.ENABLED,
                "protocol_type": ProtocolType.EXTERNAL,
                "plugin_id": "webhook",
                "options": {},
                "tags": {},
                "created_at": at(n),
            }
        ),
        Channel: rows(
            lambda n: {
                "channel_id": f"channel-{n}",
                "domain_id": domain(n),
                "protocol_id": f"protocol-{n % 400}",
                "project_id": f"p{owner(n)}" if n // DOMAINS % 2 else None,
                "user_id": None if n // DOMAINS % 2 else f"u{owner(n)}",
                "name": "Pager",
                "state": ResourceState.ENABLED,
                "alert_due_at": None if n % 100 else at(n),
                "tags": {},
                "created_at": at(n),
            }
        ),
        Quota: rows(
            lambda n: {
                "quota_id": f"quota-{n}",
                "domain_id": domain(n),
                "protocol_id": f"protocol-{n}",
                "day": 1_000_000,
                "created_at": at(n),
            }
        ),
        NotificationUsage: rows(
            lambda n: {
                "protocol_id": f"protocol-{n}",
                "date": "2026-01-31",
                "domain_id": domain(n),
                "count": 1,
                "fail_count": 0,
            }
        ),
        Delivery: rows(
            lambda n: {
                "delivery_id": f"delivery-{n}",
                "domain_id": domain(n),
                "notification_id": f"notification-{n}",
                "content_id": n + 1,
                "protocol_id": f"protocol-{n % 400}",
                "plugin_id": "webhook",
                "channel_id": f"channel-{n % 400}",
                "user_id": f"u{owner(n)}" if n % 3 else None,
                "detail": WIDE,
                "destination": f"destination-{n // 20 % 40}",
                "state": states[n % 20],
                "next_attempt_at": NOW if n % 20 == 18 else None,
                "lease_until": LATER if n % 20 == 19 else None,
                "created_by": f"s{owner(n)}",
                "created_at": at(n),
                "finished_at": at(n) if n % 20 < 18 else None,
            }
        ),
        Attempt: rows(
            lambda n: {
                "delivery_id": f"delivery-{n}",
                "attempt_no": 1,
                "started_at": at(n),
                "duration_ms": 1,
                "outcome": AttemptOutcome.OK,
            }
        ),
    }
