"""The order of a domain's feed: numbers for its records, and the watermark below which no commit can add another.

No lock gives the numbers out, so creates do not wait for each other. PostgreSQL's are those of transactions: what
began before the oldest transaction that still runs is complete, and the rest of a feed waits for it. SQLite has one
writer, so its contents are numbered in the order of commits, and nothing waits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import bindparam, text, tuple_
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import ids, inboxes, notifications
from storage.columns import Text
from storage.dialects import Several
from storage.inboxes import Owner
from storage.models import InboxKind, Notification
from storage.scope import Scope

LAST = 2**63 - 1  # behind every number, and every content

# Where it stands: its generation, below which number it is complete, and which number no record has yet.
_STANDING = {
    "postgresql": """
        SELECT generation, shift + pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
               shift + pg_snapshot_xmax(pg_current_snapshot())::text::bigint
        FROM feed_epoch
    """,
    "sqlite": """
        SELECT generation, coalesce(seq, 0) + 1, coalesce(seq, 0) + 1
        FROM feed_epoch LEFT JOIN sqlite_sequence ON name = 'content'
    """,
}

# A dump brings numbers to a server whose transactions count otherwise. It also writes the row anew: by another
# transaction than the row says, which is what `xmin` shows, of which the row has the lower half.
_GO_ON = """
    UPDATE feed_epoch
    SET generation = :generation,
        shift = 1 + (SELECT coalesce(max(feed_at), 0) FROM notification) - pg_current_xact_id()::text::bigint,
        written_by = pg_current_xact_id()::text::bigint % 4294967296
    WHERE written_by IS DISTINCT FROM xmin::text::bigint
"""
_RENEW = {
    "postgresql": """
        UPDATE feed_epoch
        SET generation = :generation, written_by = pg_current_xact_id()::text::bigint % 4294967296
    """,
    "sqlite": "UPDATE feed_epoch SET generation = :generation",
}


class Position(NamedTuple):
    """Where a record stands in its domain's feed."""

    number: int
    content_id: int  # of the record: orders those of one transaction


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the feeds of all domains have come."""

    generation: int
    complete: int  # no record will be added below this number
    unused: int  # no record has this number yet, or a higher one


# The number of a new record, in the statement that inserts it, after its content.
NUMBER = {
    "postgresql": "((SELECT shift FROM feed_epoch) + pg_current_xact_id()::text::bigint)",
    "sqlite": "(SELECT seq FROM sqlite_sequence WHERE name = 'content')",
}


async def go_on(session: AsyncSession) -> bool:
    """Before anything is written: whether the database was restored from a dump. It numbers on from what that brought.

    Cursors that were given before are of another generation then: what they had come past may be lost.
    """
    if _dialect(session) != "postgresql":
        return False
    changed = await session.exec(text(_GO_ON), params={"generation": ids.new_generation()})  # type: ignore[call-overload]
    return bool(changed.rowcount)


async def renew(session: AsyncSession) -> None:
    """Let the cursors of all domains' feeds be of another generation."""
    statement = text(_RENEW[_dialect(session)])
    await session.exec(statement, params={"generation": ids.new_generation()})  # type: ignore[call-overload]


async def standing(session: AsyncSession) -> Standing:
    return Standing(*(await session.exec(text(_STANDING[_dialect(session)]))).one())  # type: ignore[call-overload]


async def after(session: AsyncSession, scope: Scope, position: Position, *, limit: int) -> Sequence[Notification]:
    """The next records after a position, whether or not their feed is complete so far."""
    place = tuple_(col(Notification.feed_at), col(Notification.content_id))
    statement = (
        notifications.rows(scope)
        .where(col(Notification.feed_at).is_not(None), place > tuple(position))
        .order_by(col(Notification.feed_at), col(Notification.content_id))
        .limit(limit)
    )
    return (await session.exec(statement)).all()


def position(record: Notification) -> Position:
    assert record.feed_at is not None
    assert record.content_id is not None
    return Position(record.feed_at, record.content_id)


async def heads(session: AsyncSession, owners: Collection[Owner]) -> dict[Owner, int]:
    """The highest number in the feed of each of these domains that has any, in one query; others are passed over."""
    domains = [owner.domain_id for owner in owners if owner.kind is InboxKind.DOMAIN]
    if not domains:
        return {}
    each = _each(session, domains)
    highest = select(func.max(Notification.feed_at)).where(
        Notification.domain_id == each, col(Notification.feed_at).is_not(None)
    )
    found = await session.exec(select(each, highest.scalar_subquery()))
    return {inboxes.of_domain(domain_id): head for domain_id, head in found if head is not None}


def _each(session: AsyncSession, texts: Collection[str]) -> Any:
    """A row for each of these texts, in a statement that is the same for any number of them."""
    given = bindparam(None, list(texts), Several(Text()), unique=True)
    if _dialect(session) == "postgresql":
        return func.unnest(given).column_valued("each")
    return func.json_each(given).table_valued("value").c.value


def _dialect(session: AsyncSession) -> str:
    return session.get_bind().dialect.name
