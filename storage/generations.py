"""Generations: after a restore the cursors of all streams end, so that nobody goes on past changes that are not there.

It must not guess: a dump shows that it was restored, and of other backups the operator knows.
"""

from __future__ import annotations

from sqlmodel import update
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import feeds, ids
from storage.models import Inbox


async def go_on(session: AsyncSession) -> None:
    """Before anything is written: cursors from before a dump that was restored have ended."""
    if await feeds.go_on(session):
        await _renew_inboxes(session)


async def renew(session: AsyncSession) -> None:
    """End the cursors of all inboxes and feeds: clients are told to read anew."""
    await feeds.go_on(session)
    await feeds.renew(session)
    await _renew_inboxes(session)


async def _renew_inboxes(session: AsyncSession) -> None:
    await session.exec(update(Inbox).values(generation=ids.new_generation()))
