"""Writers: they say, mark and delete at random, all at once, with what clients have seen.

Every change but a create carries an originId of its own, so that the log tells which call it came from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from random import Random
from time import monotonic

from resolvers.errors import CursorExpired, NotFound
from storage.models import NotificationLevel, NotificationType
from tests.chaos.streams.door import Door, News
from tests.chaos.streams.readers import Reader
from tests.chaos.streams.told import Told

TOPICS = ("disk.full", "disk.fine", "login")
TYPES = (NotificationType.INFO, NotificationType.ERROR, NotificationType.WARNING)
LEVELS = (NotificationLevel.ALL, NotificationLevel.LV1, NotificationLevel.LV2)
RECENT = 100  # entries of a client in which a writer looks for ids and cursors
MOST_IDS = 8


@dataclass
class Writer:
    name: str
    domain: str
    users: Sequence[str]
    projects: Sequence[str]
    doors: Sequence[Door]
    readers: Sequence[Reader]
    chance: Random
    began: dict[str, float]  # where it tells when each call began

    async def run(self, is_enough: Callable[[], bool]) -> None:
        self._numbers = count(1)
        while not is_enough():
            [act] = self.chance.choices(list(_ACTS), list(_ACTS.values()))
            # Ids and cursors are of the past: what they name may be gone by now.
            with suppress(CursorExpired, NotFound):
                await act(self, self.chance.choice(self.doors), self.chance.choice(self.users))

    async def _tell_user(self, door: Door, user: str) -> None:
        await door.create("identity.User", user, self._news())

    async def _tell_project(self, door: Door, _user: str) -> None:
        await door.create("identity.Project", self.chance.choice(self.projects), self._news())

    async def _tell_domain(self, door: Door, _user: str) -> None:
        await door.create("identity.Domain", self.domain, self._news())

    async def _mark(self, door: Door, user: str) -> None:
        await door.set_read(user, self._ids(user), self.chance.random() < 0.7, self._origin())

    async def _mark_all(self, door: Door, user: str) -> None:
        if cursor := self._cursor(user):
            await door.mark_all_read(user, cursor, self._origin())

    async def _open_the_bell(self, door: Door, user: str) -> None:
        if cursor := self._cursor(user):
            await door.mark_seen(user, cursor, self._origin())

    async def _delete(self, door: Door, user: str) -> None:
        await door.delete(user, self._ids(user), self._origin())

    async def _delete_one(self, door: Door, user: str) -> None:
        await door.delete_one(user, self._ids(user)[0], self._origin())

    async def _delete_up_to(self, door: Door, user: str) -> None:
        if cursor := self._cursor(user):
            await door.delete_all([user], cursor, self._origin())

    async def _delete_everything(self, door: Door, user: str) -> None:
        users = [user] if self.chance.random() < 0.5 else self.chance.sample(list(self.users), 3)
        await door.delete_all(users, None, self._origin())

    def _news(self) -> News:
        return News(self.chance.choice(TOPICS), self.chance.choice(TYPES), self.chance.choice(LEVELS))

    def _recent(self, user: str) -> list[Told]:
        """What some client of this user was told last."""
        entries = self.chance.choice([reader for reader in self.readers if reader.user == user]).entries
        return [entry.what for entry in entries[-RECENT:] if isinstance(entry.what, Told)]

    def _ids(self, user: str) -> list[str]:
        known = [told.row.notification_id for told in self._recent(user) if told.row]
        # Somebody else's, or nobody's, is passed over.
        strange = [f"notification-{self.chance.randrange(16**12):012x}"]
        return self.chance.sample(known, min(len(known), self.chance.randint(1, MOST_IDS))) or strange

    def _cursor(self, user: str) -> str | None:
        told = self._recent(user)
        return self.chance.choice(told).cursor if told else None

    def _origin(self) -> str:
        origin = f"{self.name}-{next(self._numbers)}"
        self.began[origin] = monotonic()
        return origin


_ACTS: Mapping[Callable[[Writer, Door, str], Awaitable[None]], float] = {
    Writer._tell_user: 12,
    Writer._tell_project: 25,
    Writer._tell_domain: 40,
    Writer._mark: 16,
    Writer._mark_all: 4,
    Writer._open_the_bell: 6,
    Writer._delete: 7,
    Writer._delete_one: 5,
    Writer._delete_up_to: 2,
    Writer._delete_everything: 1,
}
