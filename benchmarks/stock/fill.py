"""Fills the stock server's database with so many notifications.

DATABASE_URL=... .venv/bin/python -m benchmarks.stock.fill 100000
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from sqlalchemy import insert, text
from sqlmodel import SQLModel

from benchmarks.http import sample
from benchmarks.http.sample import Said
from benchmarks.stock.server import NotificationLevel, NotificationRow, NotificationType, engine


async def _fill(count: int) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
        await connection.execute(insert(NotificationRow), [_row(said) for said in sample.said(count)])
        await connection.execute(text("ANALYZE"))
    await engine.dispose()


def _row(said: Said) -> dict[str, Any]:
    return {
        "notification_id": said.notification_id,
        "user_id": said.user_id,
        "topic": said.topic,
        "message": said.message,
        "notification_type": NotificationType(said.type),
        "notification_level": NotificationLevel(said.level),
        "is_read": said.is_read,
        "created_at": said.created_at,
    }


if __name__ == "__main__":
    asyncio.run(_fill(int(sys.argv[1])))
