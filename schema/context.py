"""What a GraphQL field can reach while it is resolved: the server, the caller, and what to do after the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import strawberry
from strawberry.dataloader import DataLoader

from resolvers import checks, deliveries, inboxes, notifications
from resolvers.access import Caller, User
from resolvers.context import Server
from resolvers.errors import Refused
from schema.http import Via
from storage.models import Attempt, Notification
from storage.selected import Row

MAX_LOADED = 1_000  # deliveries whose attempts, or whose notifications, are read with one statement


@dataclass
class Context:
    """One request's, or one socket's. Built by `main.py` for `schema.http.GraphQLApp`."""

    server: Server
    identity: Caller | Refused  # who asks, or why that is not known
    via: Via
    _fetched: dict[str, None] = field(default_factory=dict)  # a set in the order of reading

    # Few requests need a loader. It keeps nothing: a socket's context lives on, and what it has read changes meanwhile.

    @cached_property
    def attempts(self) -> DataLoader[str, list[Attempt]]:
        """By delivery id, a whole page's at once."""
        return DataLoader(self._load_attempts, max_batch_size=MAX_LOADED, cache=False)

    @cached_property
    def notifications(self) -> DataLoader[str, Notification | None]:
        """By their own ids, as far as they show."""
        return DataLoader(self._load_notifications, max_batch_size=MAX_LOADED, cache=False)

    @property
    def caller(self) -> Caller:
        """Raises Unauthenticated."""
        if isinstance(self.identity, Refused):
            raise self.identity
        self.server.revocations.check(self.identity)
        return self.identity

    @property
    def expires_at(self) -> datetime | None:
        try:
            return self.caller.expires_at
        except Refused:
            return None

    @property
    def user(self) -> User | None:
        return None if isinstance(self.identity, Refused) else self.identity.user

    def shown(self, rows: Sequence[Notification | Row], *, mark_read: bool | None) -> None:
        """These rows are in the answer: once it is out, those that the rule names become read. Only by POST."""
        if self.via is Via.POST:
            self._fetched |= dict.fromkeys(inboxes.to_mark(self.server, self.caller, rows, mark_read))

    @property
    def marks(self) -> bool:
        """Whether rows become read once the answer is out."""
        return bool(self._fetched)

    def not_shown(self) -> None:
        """Nothing of what was shown is in the answer after all."""
        self._fetched.clear()

    async def answered(self) -> None:
        fetched = list(self._fetched)
        for start in range(0, len(fetched), checks.MAX_IDS):
            await inboxes.mark_fetched(self.server, self.caller, fetched[start : start + checks.MAX_IDS])

    async def _load_attempts(self, delivery_ids: list[str]) -> list[list[Attempt]]:
        found = await deliveries.attempts(self.server, delivery_ids)
        return [found.get(delivery_id, []) for delivery_id in delivery_ids]

    async def _load_notifications(self, notification_ids: list[str]) -> list[Notification | None]:
        found = await notifications.find_all(self.server, self.caller, notification_ids)
        return [found.get(notification_id) for notification_id in notification_ids]


Info = strawberry.Info[Context, None]
