"""Keeping SQLite's index of contents' texts in few pieces. PostgreSQL's is one.

Each commit adds a piece, and a search looks into all of them. FTS5 merges four of a size by itself as they come, which
leaves up to three of each size; what is merged here is left in one or two.
"""

from __future__ import annotations

from sqlmodel import func, select, text
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.engine import Database

PAGES = 30  # that one transaction writes, about: it keeps all other writers waiting for some 10 ms

_MERGE = text("INSERT INTO content_search (content_search, rank) VALUES ('merge', :pages)").bindparams(pages=PAGES)
_CHANGES = select(func.total_changes())


async def merge(database: Database) -> bool:
    """Merge a little; whether there is more to merge. Raises DatabaseUnavailable."""
    return database.is_sqlite and await database.write(_merge)


async def _merge(session: AsyncSession) -> bool:
    before = (await session.exec(_CHANGES)).one()
    await session.exec(_MERGE)  # type: ignore[call-overload]
    changes: int = (await session.exec(_CHANGES)).one() - before
    return changes > 1  # else nothing was merged: https://sqlite.org/fts5.html#the_merge_command
