"""What a GraphQL field can reach while it is resolved: the server, the caller, and what to do after the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import strawberry
from strawberry.dataloader import DataLoader

from resolvers import checks, deliveries, inboxes
from resolvers.access import Caller, User
from resolvers.context import Server
from resolvers.errors import Refused
from schema.http import Via
from storage.models import Attempt, Notification

MAX_LOADED = 1_000  # deliveries whose attempts are read with one statement


@dataclass(slots=True)
class Context:
    """One request's, or one socket's. Built by `main.py` for `schema.http.GraphQLApp`."""

    server: Server
    identity: Caller | Refused  # who asks, or why that is not known
    via: Via
    attempts: DataLoader[str, list[Attempt]] = field(init=False)  # by delivery id, a whole page's at once
    _fetched: dict[str, None] = field(default_factory=dict)  # a set in the order of reading

    def __post_init__(self) -> None:
        # Nothing is kept: a socket's context lives on, and attempts are added meanwhile.
        self.attempts = DataLoader(self._load_attempts, max_batch_size=MAX_LOADED, cache=False)

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

    def shown(self, rows: Sequence[Notification], *, mark_read: bool | None) -> None:
        """These rows are in the answer: once it is out, those that the rule names become read. Only by POST."""
        if self.via is Via.POST:
            self._fetched |= dict.fromkeys(inboxes.to_mark(self.server, self.caller, rows, mark_read))

    async def answered(self) -> None:
        fetched = list(self._fetched)
        for start in range(0, len(fetched), checks.MAX_IDS):
            await inboxes.mark_fetched(self.server, self.caller, fetched[start : start + checks.MAX_IDS])

    async def _load_attempts(self, delivery_ids: list[str]) -> list[list[Attempt]]:
        found = await deliveries.attempts(self.server, delivery_ids)
        return [found.get(delivery_id, []) for delivery_id in delivery_ids]


Info = strawberry.Info[Context, None]
