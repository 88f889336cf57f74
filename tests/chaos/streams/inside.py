"""The way from within: the resolvers of a server in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from resolvers import channels, cursors, inboxes, notifications, streams
from resolvers.access import Caller, Role
from resolvers.context import Server
from resolvers.events import Event, EventKind
from resolvers.notifications import Creation
from resolvers.streams import StreamFilter
from storage import ids
from storage.channels import Kind
from storage.notifications import NotificationRow
from tests.chaos.streams.door import ADMIN, News
from tests.chaos.streams.told import Counts, Row, Standing, Told

T = TypeVar("T")

ONE_IN = 7  # events is not taken at once
WITH_POSITION = (EventKind.ALL_READ, EventKind.SEEN, EventKind.ALL_REMOVED)


@dataclass(frozen=True)
class Inside:
    """At the resolvers of a server in this process."""

    server: Server
    domain: str = "home"

    async def add_channel(self, project: str, users: Sequence[str]) -> None:
        await channels.create(
            self.server,
            self._admin,
            Kind.PROJECT,
            protocol_id=ids.internal_protocol(self.domain),
            owner_id=project,
            name="inside",
            data={"users": list(users)},
        )

    async def create(self, resource_type: str, resource_id: str, news: News) -> None:
        creation = Creation(resource_type, resource_id, message={"title": "A"}, **asdict(news))
        await notifications.create(self.server, self._admin, creation)

    async def set_read(self, user: str, ids: Sequence[str], is_read: bool, origin: str) -> None:
        caller = self._user(user)
        await inboxes.set_read(self.server, caller, notification_ids=ids, is_read=is_read, origin_id=origin)

    async def mark_all_read(self, user: str, up_to: str, origin: str) -> None:
        await inboxes.mark_all_read(self.server, self._user(user), up_to=up_to, origin_id=origin)

    async def mark_seen(self, user: str, up_to: str, origin: str) -> None:
        await inboxes.mark_seen(self.server, self._user(user), up_to=up_to, origin_id=origin)

    async def delete(self, user: str, ids: Sequence[str], origin: str) -> None:
        await inboxes.delete(self.server, self._user(user), notification_ids=ids, origin_id=origin)

    async def delete_one(self, user: str, id: str, origin: str) -> None:
        await inboxes.delete_one(self.server, self._user(user), notification_id=id, origin_id=origin)

    async def delete_all(self, users: Sequence[str], up_to: str | None, origin: str) -> None:
        caller = self._user(users[0]) if len(users) == 1 else self._admin
        asked = {"users": users, "up_to": up_to, "domain_id": None, "origin_id": origin}
        await inboxes.delete_all(self.server, caller, **asked)  # type: ignore[arg-type]

    async def standing(self, user: str) -> Standing:
        state = await inboxes.mine(self.server, self._user(user))
        assert state is not None
        return Standing(state.cursor, Counts(state.unread_count, state.unseen_count), state.total_count)

    async def page(self, user: str, after: str, first: int) -> tuple[list[Told], str, bool]:
        events, position, has_more = await streams.page(self.server, self._user(user), after=after, first=first)
        return [_of_event(event) for event in events], cursors.for_stream(position), has_more

    async def changed(self, user: str, after: str | None, wanted: StreamFilter) -> AsyncGenerator[Told, None]:
        screen: Screen[Event] = Screen(lambda event: event)
        opened = streams.changed(self.server, self._user(user), after=after, wanted=wanted, tell=screen.tell)
        async with aclosing(screen.shown(opened)) as events:
            async for event in events:
                yield _of_event(event)

    async def created(self, user: str, after: str | None, wanted: StreamFilter) -> AsyncGenerator[Told, None]:
        screen: Screen[NotificationRow] = Screen(_added)
        opened = streams.added(self.server, self._user(user), after=after, wanted=wanted, tell=screen.tell)
        async with aclosing(screen.shown(opened)) as rows:
            async for found in rows:
                row = _of_row(found)
                yield Told(EventKind.ADDED, row.cursor, None, row=row)

    @property
    def _admin(self) -> Caller:
        return Caller(self.domain, ADMIN, Role.DOMAIN_ADMIN, _in_a_year())

    def _user(self, user: str) -> Caller:
        return Caller(self.domain, user, Role.USER, _in_a_year())


class Screen(Generic[T]):
    """Is told most events at once, as a socket with room is, and takes the others one by one, all in their order."""

    def __init__(self, of_event: Callable[[Event], T]) -> None:
        self._of_event = of_event
        self._come: asyncio.Queue[T | Exception | None] = asyncio.Queue()
        self._told = 0

    def tell(self, event: Event) -> bool:
        self._told += 1
        if self._told % ONE_IN == 0:
            return False
        self._come.put_nowait(self._of_event(event))
        return True

    async def shown(self, stream: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        taking = asyncio.create_task(self._take(stream))
        try:
            while (come := await self._come.get()) is not None:
                if isinstance(come, Exception):
                    raise come
                yield come
        finally:
            taking.cancel()
            await asyncio.wait([taking])

    async def _take(self, stream: AsyncGenerator[T, None]) -> None:
        try:
            async with aclosing(stream):
                async for each in stream:
                    self._come.put_nowait(each)
        except Exception as error:
            self._come.put_nowait(error)
        else:
            self._come.put_nowait(None)


def _added(event: Event) -> NotificationRow:
    assert event.notification is not None
    return event.notification


def _in_a_year() -> datetime:
    return datetime.now(UTC) + timedelta(days=365)


def _of_event(event: Event) -> Told:
    return Told(
        kind=event.kind,
        cursor=cursors.for_stream(event.position),
        counts=Counts(event.unread_count, event.unseen_count),
        origin_id=event.origin_id,
        row=_of_row(event.notification) if event.notification else None,
        ids=tuple(event.notification_ids),
        is_read=event.is_read,
        up_to=cursors.for_stream(event.up_to) if event.kind in WITH_POSITION else None,
    )


def _of_row(row: NotificationRow) -> Row:
    """Of a row of text."""
    inbox: Any = row.inbox
    return Row(
        notification_id=row.notification_id,
        topic=row.content.topic,
        notification_type=row.content.notification_type,
        notification_level=row.content.notification_level,
        project_id=row.project_id,
        cursor=inboxes.cursor(inbox, row.seq),
    )
