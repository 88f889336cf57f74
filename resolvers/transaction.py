"""The boundary of a caller's write: one transaction, in which the caller becomes known."""

from __future__ import annotations

from typing import TypeVar

from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import access
from resolvers.access import Caller
from resolvers.context import Server
from storage import inboxes
from storage.engine import Work

T = TypeVar("T")


async def write(server: Server, caller: Caller, work: Work[T]) -> T:
    """Run `work` in one transaction and commit it. Whoever has an inbox has it from their first write on."""

    async def known(session: AsyncSession) -> T:
        if caller.role in access.PEOPLE:
            await inboxes.register(session, caller.domain_id, [caller.user_id])
        return await work(session)

    return await server.database.write(known)
