"""What can be done at a server, whichever way leads to it.

Every way raises the same refusals, and an error for everything that a client must never meet.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from resolvers.streams import StreamFilter
from storage.models import NotificationLevel, NotificationType
from tests.chaos.streams.told import Standing, Told

ADMIN = "admin"


@dataclass(frozen=True)
class News:
    topic: str
    notification_type: NotificationType
    notification_level: NotificationLevel


class Door(Protocol):
    async def add_channel(self, project: str, users: Sequence[str]) -> None:
        """An INTERNAL channel of the project."""

    async def create(self, resource_type: str, resource_id: str, news: News) -> None: ...

    async def set_read(self, user: str, ids: Sequence[str], is_read: bool, origin: str) -> None: ...

    async def mark_all_read(self, user: str, up_to: str, origin: str) -> None: ...

    async def mark_seen(self, user: str, up_to: str, origin: str) -> None: ...

    async def delete(self, user: str, ids: Sequence[str], origin: str) -> None: ...

    async def delete_one(self, user: str, id: str, origin: str) -> None: ...

    async def delete_all(self, users: Sequence[str], up_to: str | None, origin: str) -> None:
        """One user's by that user, several users' by an administrator."""

    async def standing(self, user: str) -> Standing: ...

    async def page(self, user: str, after: str, first: int) -> tuple[list[Told], str, bool]: ...

    def changed(self, user: str, after: str | None, wanted: StreamFilter) -> AsyncGenerator[Told, None]: ...

    def created(self, user: str, after: str | None, wanted: StreamFilter) -> AsyncGenerator[Told, None]: ...
