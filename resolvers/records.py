"""The rows of what is said: its content, and the record of what was said to nobody's inbox in particular."""

from __future__ import annotations

from datetime import datetime

from storage import feeds, ids
from storage.models import Content, JsonObject, Notification, NotificationLevel, NotificationType


def content(
    domain_id: str,
    topic: str,
    *,
    message: JsonObject,
    notification_type: NotificationType = NotificationType.INFO,
    notification_level: NotificationLevel = NotificationLevel.ALL,
    resource_type: str | None = None,
    resource_id: str | None = None,
) -> Content:
    return Content(
        domain_id=domain_id,
        topic=topic,
        message=message,
        notification_type=notification_type,
        notification_level=notification_level,
        resource_type=resource_type,
        resource_id=resource_id,
    )


def record(content: Content, *, created_by: str, now: datetime) -> Notification:
    return Notification(
        notification_id=ids.new(ids.NOTIFICATION),
        domain_id=content.domain_id,
        content=content,
        inbox=None,
        feed_at=feeds.number(),
        created_by=created_by,
        created_at=now,
    )
