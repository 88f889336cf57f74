"""Rows for tests about deliveries: each with what it needs, and only what matters to the test said."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from storage import deliveries, ids
from storage.engine import Database
from storage.models import (
    Attempt,
    Channel,
    Content,
    Delivery,
    LevelMatch,
    Notification,
    NotificationLevel,
    NotificationType,
    Protocol,
    ProtocolType,
    Quota,
)
from storage.queue import Leased

_PLACES = count(-(2**62))  # of rows in no inbox, of which several may have one content here

SATURDAY_EVENING = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)


def channel(**fields: Any) -> Channel:
    defaults = {
        "channel_id": ids.new(ids.PROJECT_CHANNEL),
        "domain_id": "d",
        "protocol_id": "protocol-000000000001",
        "project_id": "p",
        "name": "Pager",
        "notification_level": NotificationLevel.LV1,
        "level_match": LevelMatch.EXACT,
        "created_at": SATURDAY_EVENING,
    }
    return Channel(**{**defaults, **fields})


def protocol(**fields: Any) -> Protocol:
    protocol_id = ids.new(ids.PROTOCOL)
    defaults = {
        "protocol_id": protocol_id,
        "domain_id": "d",
        "name": protocol_id,
        "protocol_type": ProtocolType.EXTERNAL,
        "plugin_id": "webhook",
        "created_at": SATURDAY_EVENING,
    }
    return Protocol(**{**defaults, **fields})


def content(**fields: Any) -> Content:
    defaults = {
        "domain_id": "d",
        "topic": "monitoring.alert",
        "message": {"title": "Disk full", "tags": [{"key": "state", "value": "TRIGGERED"}]},
        "notification_type": NotificationType.ERROR,
        "notification_level": NotificationLevel.LV2,
    }
    return Content(**{**defaults, **fields})


def notification(said: Content, **fields: Any) -> Notification:
    defaults = {
        "place": next(_PLACES),
        "notification_id": ids.new(ids.NOTIFICATION),
        "domain_id": said.domain_id,
        "content_id": said.content_id,
        "created_by": "backend",
        "created_at": SATURDAY_EVENING,
    }
    return Notification(**{**defaults, **fields})


def delivery(said: Content, through: Protocol, **fields: Any) -> Delivery:
    defaults = {
        "delivery_id": ids.new(ids.DELIVERY),
        "domain_id": said.domain_id,
        "notification_id": ids.new(ids.NOTIFICATION),
        "content_id": said.content_id,
        "protocol_id": through.protocol_id,
        "plugin_id": through.plugin_id,
        "created_by": "backend",
        "created_at": SATURDAY_EVENING,
    }
    return Delivery(**{**defaults, **fields})


def quota(of: Protocol, **limits: int) -> Quota:
    return Quota(
        quota_id=ids.new(ids.QUOTA),
        domain_id=of.domain_id,
        protocol_id=of.protocol_id,
        created_at=SATURDAY_EVENING,
        **limits,
    )


async def store(database: Database, *rows: Any) -> None:
    """Add rows in the order given."""

    async def work(session: AsyncSession) -> None:
        for row in rows:
            session.add(row)
            await session.flush()

    await database.write(work)


async def enqueue(database: Database, *rows: Delivery) -> None:
    await database.write(lambda session: deliveries.enqueue(session, rows))


async def reload(database: Database, row: Delivery | Leased) -> Delivery:
    """The row as it is in the database now."""
    async with database.read() as session:
        found = await session.get(Delivery, row.delivery_id)
    assert found is not None
    return found


async def attempts(database: Database, row: Delivery) -> list[Attempt]:
    async with database.read() as session:
        return (await deliveries.attempts(session, [row.delivery_id])).get(row.delivery_id, [])
