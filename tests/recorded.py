"""A record of nobody's in particular, written by itself: for tests of what reads records."""

from __future__ import annotations

from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from storage import contents, creations, ids, statements
from storage.contents import NewContent
from storage.creations import NewNotification


async def record(
    session: AsyncSession, domain_id: str, *, now: datetime, created_by: str = "backend"
) -> NewNotification:
    [content] = await contents.insert(session, [NewContent(domain_id, "a.topic", message={})])
    row = NewNotification(ids.new(ids.NOTIFICATION), domain_id, content, created_by, now)
    await statements.run_all(session, creations.inserting([row]))
    return row
