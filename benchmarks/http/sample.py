"""What was said to whom in every server's database: the same notifications for all, from their numbers alone.

It must not know a table: each server's own filling does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

DOMAIN = "benchmark"
EACH = 200  # notifications of one user
FIRST = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)
MESSAGE = {
    "title": "Disk full",
    "description": "On web-1 there are 3 GiB left of 200; at this rate that lasts until Thursday.",
    "link": "https://console.example.com/alerts/1729",
    "tags": [{"key": "host", "value": "web-1"}, {"key": "region", "value": "eu-central-1"}],
}
TYPES = ("INFO", "ERROR", "SUCCESS", "WARNING")
LEVELS = ("LV1", "LV2", "LV3", "LV4", "LV5")

# To whom creates go: each has a channel, and those who watch an open socket.
WATCHED = tuple(f"watched-{number}" for number in range(128))
UNWATCHED = tuple(f"unwatched-{number}" for number in range(128))


@dataclass(frozen=True)
class Said:
    number: int
    user_id: str
    position: int  # in the user's inbox, from 1
    topic: str
    message: dict[str, Any]
    type: str
    level: str
    is_read: bool
    created_at: datetime

    @property
    def notification_id(self) -> str:
        return f"notification-{self.number:012x}"


def users(count: int) -> list[str]:
    """Those to whom `count` notifications were said."""
    return [f"user-{number}" for number in range(count // EACH)]


def said(count: int) -> Iterator[Said]:
    """In the order of their creation, which goes round the users."""
    everyone = users(count)
    for number in range(len(everyone) * EACH):
        turn, which = divmod(number, len(everyone))
        yield Said(
            number=number,
            user_id=everyone[which],
            position=turn + 1,
            topic=f"monitoring.alert.{number % 7}",
            message=MESSAGE,
            type=TYPES[number % 4],
            level=LEVELS[number % 5],
            is_read=turn % 2 == 0,
            created_at=FIRST + timedelta(seconds=number),
        )
