"""Revoking tokens: what was issued to a user so far is refused from now on, by every process.

The rows are the truth. Each process has them in memory; the hub wakes it to read what is new, and a clock does so too.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from resolvers import access, checks, transaction
from resolvers.access import Caller, User
from resolvers.context import Server
from storage import revocations
from storage.models import Revocation

READ_AGAIN = timedelta(hours=1)  # what was revoked that recently: no transaction takes longer, no clock is that wrong


async def revoke(server: Server, caller: Caller, *, user_id: str, domain_id: str | None) -> datetime:
    """Refuse every token that was issued to a user or a service until now; until when that is."""
    access.require(caller, access.ADMINS)
    domain = access.domain_of(caller, domain_id)
    user, now = checks.identifier(user_id, "userId"), server.clock()
    revocation = Revocation(domain_id=domain, user_id=user, revoked_at=now)
    await transaction.write(server, caller, lambda session: revocations.put(session, revocation))
    server.revocations.learn([revocation])
    await server.hub.publish_revocation()
    return now


async def refresh(server: Server, since: datetime | None) -> Collection[User]:
    """Learn what was revoked since then, here or elsewhere, or, for None, ever; whose tokens that concerns."""
    async with server.database.read() as session:
        found = await revocations.since(session, None if since is None else since - READ_AGAIN)
    server.revocations.learn(found)
    return {(revocation.domain_id, revocation.user_id) for revocation in found}
