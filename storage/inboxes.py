"""Inbox rows: who is known, exact counts, and the lock that puts every change of an inbox in order.

Locks are always taken in the order of `Owner`, projects before users, before anything else in a transaction but
idempotency keys: that is what keeps concurrent creates from deadlocking.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import ColumnElement, Select, and_, false, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import ids
from storage.dialects import insert
from storage.engine import Database
from storage.kept import Kind
from storage.models import Inbox, InboxKind
from storage.selected import Row
from storage.statements import Insert

MAX_NAMED = 500  # owners in one statement: databases bound its parameters and its depth


class Owner(NamedTuple):
    """Whose inbox, or which project's feed. Sorts in lock order within a domain."""

    domain_id: str
    kind: InboxKind
    owner_id: str


def of_user(domain_id: str, user_id: str) -> Owner:
    return Owner(domain_id, InboxKind.USER, user_id)


def of_project(domain_id: str, project_id: str) -> Owner:
    return Owner(domain_id, InboxKind.PROJECT, project_id)


def of_domain(domain_id: str) -> Owner:
    """Whose feed `storage.feeds` orders: there is no inbox row of it."""
    return Owner(domain_id, InboxKind.DOMAIN, domain_id)


def owner(inbox: Inbox) -> Owner:
    return Owner(inbox.domain_id, inbox.kind, inbox.owner_id)


async def find(session: AsyncSession, owner: Owner) -> Inbox | None:
    return (await session.exec(select(Inbox).where(is_one_of([owner])))).first()


async def find_kept(database: Database, owner: Owner) -> Row | None:
    """Its id, generation, head and counts."""
    found = await database.rows(_ONE, (owner,))
    return found[0] if found else None


async def heads(session: AsyncSession, owners: Collection[Owner]) -> dict[Owner, int]:
    """The last sequence number of each of these inboxes that exists, in one query."""
    if not owners:
        return {}
    # Streams ask for thousands every other second: no objects are made of the rows.
    columns = map(col, (Inbox.domain_id, Inbox.kind, Inbox.owner_id, Inbox.last_seq))
    found = await session.exec(sqlalchemy.select(*columns).where(is_one_of(owners)))  # type: ignore[call-overload]
    return {Owner(*named): last_seq for *named, last_seq in found}


async def known_users(session: AsyncSession, domain_id: str, *, limit: int) -> list[str]:
    """The first `limit` of a domain's known users."""
    theirs = Inbox.domain_id == domain_id, Inbox.kind == InboxKind.USER
    users = select(Inbox.owner_id).where(*theirs).order_by(col(Inbox.owner_id)).limit(limit)
    return list(await session.exec(users))


async def missing(session: AsyncSession, owners: Collection[Owner]) -> list[Owner]:
    """Those of these inboxes that do not exist yet."""
    return sorted(set(owners) - (await heads(session, owners)).keys())


async def register(session: AsyncSession, domain_id: str, user_ids: Iterable[str]) -> int:
    """Make these users known; how many of them were new."""
    owners = sorted({of_user(domain_id, user_id) for user_id in user_ids})
    chunks = [owners[start : start + MAX_NAMED] for start in range(0, len(owners), MAX_NAMED)]
    return sum([await make(session, await missing(session, chunk)) for chunk in chunks])


async def make(session: AsyncSession, owners: Sequence[Owner]) -> int:
    """Make the rows of these owners, given in lock order, where another transaction has not done so meanwhile."""
    if not owners:
        return 0
    statement = insert(session, Inbox).values([_empty(owner) for owner in owners])
    made = await session.exec(statement.on_conflict_do_nothing().returning(col(Inbox.inbox_id)))
    return len(made.all())


class Counted(NamedTuple):
    """An inbox after what was counted in it."""

    inbox_id: int
    generation: int
    last_seq: int
    unread_count: int
    unseen_count: int
    total_count: int


class _Addition(NamedTuple):
    domain_id: str
    kind: InboxKind
    owner_id: str
    generation: int
    last_seq: int  # of one that is made; where there is one, it has come so much further


# A project's feed is nobody's to read: it has a sequence and a total only.
_UNREAD = "CASE {kind} WHEN 'USER' THEN {last_seq} ELSE 0 END"
_COUNTS = {"unread_count": _UNREAD, "unseen_count": _UNREAD, "total_count": "{last_seq}", "seen_seq": "0"}
# A number is given to those only that are new: to what conflicts, PostgreSQL would else give one too.
_INBOX_ID = """
    coalesce((
        SELECT inbox_id FROM inbox
        WHERE inbox.domain_id = {domain_id} AND inbox.kind = {kind} AND inbox.owner_id = {owner_id}
    ), nextval('inbox_inbox_id_seq'))
"""
_ADD = Insert(
    Inbox,
    _Addition._fields,
    computed={
        "inbox_id": {"postgresql": _INBOX_ID, "sqlite": "NULL"},
        **{name: dict.fromkeys(("postgresql", "sqlite"), spelled) for name, spelled in _COUNTS.items()},
    },
    shared={"domain_id", "last_seq"},
    then=f"""
        ON CONFLICT (domain_id, kind, owner_id) DO UPDATE SET
            last_seq = inbox.last_seq + excluded.last_seq,
            unread_count = inbox.unread_count + excluded.unread_count,
            unseen_count = inbox.unseen_count + excluded.unseen_count,
            total_count = inbox.total_count + excluded.total_count
        RETURNING {", ".join(Owner._fields + Counted._fields)}
    """,
    at_once=True,
)


async def add(session: AsyncSession, numbers: Mapping[Owner, int]) -> dict[Owner, Counted]:
    """Lock these inboxes, made where missing, and count so many new notifications in each; what they are then.

    One sorted statement: the rows' locks, their creation and their counts.
    """
    generations = count(ids.new_generation())  # of those that are made
    additions = [_Addition(*owner, next(generations), number) for owner, number in sorted(numbers.items())]
    rows = await _ADD.run(session, additions)
    return {
        Owner(domain_id, InboxKind(kind), owner_id): Counted(*counted) for domain_id, kind, owner_id, *counted in rows
    }


async def lock(session: AsyncSession, inbox_ids: Collection[int]) -> dict[int, Inbox]:
    """Lock these inboxes, in lock order, to change them."""
    if not inbox_ids:
        return {}
    rows = await session.exec(
        select(Inbox)
        .where(col(Inbox.inbox_id).in_(sorted(inbox_ids)))
        .order_by(col(Inbox.domain_id), col(Inbox.kind), col(Inbox.owner_id))
        .with_for_update(),
        execution_options={"populate_existing": True},
    )
    return {inbox.inbox_id: inbox for inbox in rows}


def _one(_fixed: None, owner: Owner) -> Select[Any]:
    counts = (Inbox.inbox_id, Inbox.generation, Inbox.last_seq, Inbox.unread_count, Inbox.unseen_count)
    return sqlalchemy.select(*counts, Inbox.total_count).where(is_one_of([owner]))  # type: ignore[call-overload, no-any-return]


_ONE = Kind(_one, lambda *_given: "sqlite_autoindex_inbox_1", has_one_shape=True)


def is_one_of(owners: Collection[Owner]) -> ColumnElement[bool]:
    """Whether an inbox is one of these owners'."""
    # Not as rows of three columns: SQLite reads through the table for those.
    by_kind: dict[tuple[str, InboxKind], list[str]] = defaultdict(list)
    for domain_id, kind, owner_id in owners:
        by_kind[domain_id, kind].append(owner_id)
    return or_(
        false(),
        *(
            and_(col(Inbox.domain_id) == domain_id, col(Inbox.kind) == kind, col(Inbox.owner_id).in_(owner_ids))
            for (domain_id, kind), owner_ids in by_kind.items()
        ),
    )


def _empty(owner: Owner) -> dict[str, object]:
    return Inbox(**owner._asdict(), generation=ids.new_generation()).model_dump(exclude={"inbox_id"})
