"""What a GraphQL field can reach while it is resolved: the server, the caller, and what to do after the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import strawberry

from resolvers import checks, inboxes
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import Refused
from schema.http import Via
from storage.models import Notification


@dataclass(slots=True)
class Context:
    """One request's, or one socket's. Built by `main.py` for `schema.http.GraphQLApp`."""

    server: Server
    identity: Caller | Refused  # who asks, or why that is not known
    via: Via
    _fetched: dict[str, None] = field(default_factory=dict)  # a set in the order of reading

    @property
    def caller(self) -> Caller:
        """Raises Unauthenticated."""
        if isinstance(self.identity, Refused):
            raise self.identity
        return self.identity

    @property
    def expires_at(self) -> datetime | None:
        return None if isinstance(self.identity, Refused) else self.identity.expires_at

    def shown(self, rows: Sequence[Notification], *, mark_read: bool | None) -> None:
        """These rows are in the answer: once it is out, those that the rule names become read. Only by POST."""
        if self.via is Via.POST:
            self._fetched |= dict.fromkeys(inboxes.to_mark(self.server, self.caller, rows, mark_read))

    async def answered(self) -> None:
        fetched = list(self._fetched)
        for start in range(0, len(fetched), checks.MAX_IDS):
            await inboxes.mark_fetched(self.server, self.caller, fetched[start : start + checks.MAX_IDS])


Info = strawberry.Info[Context, None]
