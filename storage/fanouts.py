"""Fan-outs in progress: the recipients whom a create has not reached yet, kept so that a crash forgets nobody.

They are kept in chunks, each of which is reached in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import Select, bindparam, literal, literal_column
from sqlalchemy.sql.dml import ReturningDelete
from sqlmodel import col, delete, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import statements
from storage.columns import Number, UtcDateTime
from storage.contents import NewContent
from storage.dialects import insert
from storage.models import Content, Fanout, FanoutChunk, Inbox, InboxKind
from storage.statements import Batch, Insert, Query

CHUNK = 500  # recipients: they hold SQLite's only writer for some 15 ms


class NewFanout(NamedTuple):
    """What is to be said later, with the attributes of a Fanout."""

    record_id: str
    domain_id: str
    content_id: int
    project_id: str | None
    created_by: str
    due_at: datetime


class Due(NamedTuple):
    """A fan-out that is worked on, with its content."""

    fanout_id: int
    record_id: str
    project_id: str | None
    created_by: str
    content: NewContent


class Chunk(NamedTuple):
    """Some of a fan-out's recipients, numbered down to 1."""

    fanout_id: int
    number: int
    user_ids: Sequence[str]

    @property
    def is_last(self) -> bool:
        return self.number == 1


_START = Insert(Fanout, NewFanout._fields, then="RETURNING fanout_id")
_KEEP = Insert(FanoutChunk, Chunk._fields)


async def start(session: AsyncSession, fanouts: Sequence[tuple[NewFanout, Sequence[str]]]) -> None:
    """Keep the recipients of each of these fan-outs for later."""
    if fanouts:
        fanout_ids = await _start(session, [fanout for fanout, _ in fanouts])
        recipients = zip(fanout_ids, (user_ids for _, user_ids in fanouts), strict=True)
        chunks = [chunk for fanout_id, user_ids in recipients for chunk in _chunks(fanout_id, user_ids)]
        await statements.run_all(session, Batch(_KEEP, chunks))


async def start_for_domain(session: AsyncSession, fanout: NewFanout) -> int:
    """Keep every known user of the domain for later; how many they are."""
    [fanout_id] = await _start(session, [fanout])
    is_known = (col(Inbox.domain_id) == fanout.domain_id, col(Inbox.kind) == InboxKind.USER)
    number = (func.row_number().over(order_by=col(Inbox.owner_id)) - 1) // CHUNK + 1
    known = sqlalchemy.select(col(Inbox.owner_id), number.label("number")).where(*is_known).subquery()
    together = {"postgresql": func.json_agg, "sqlite": func.json_group_array}[session.get_bind().dialect.name]
    chunks = sqlalchemy.select(literal(fanout_id), known.c.number, together(known.c.owner_id)).group_by(known.c.number)
    keep = insert(session, FanoutChunk).from_select(Chunk._fields, chunks)
    kept = await session.exec(keep.returning(func.json_array_length(col(FanoutChunk.user_ids))))
    return sum(kept.scalars())


def _due(_dialect: str) -> Select[Any]:
    of_fanout = [col(getattr(Fanout, name)) for name in Due._fields if name != "content"]
    of_content = [col(getattr(Content, name)) for name in NewContent._fields]
    due_at, now = col(Fanout.due_at), bindparam("now", type_=UtcDateTime())
    due = sqlalchemy.select(*of_fanout, *of_content).join_from(Fanout, Content).where(due_at <= now)
    first = due.order_by(due_at).limit(literal_column("1")).offset(literal_column("0"))  # no parameters
    return first.with_for_update(skip_locked=True, of=Fanout)


_DUE = Query(_due)


async def take(session: AsyncSession, *, now: datetime) -> Due | None:
    """The fan-out that has been due for longest and that nobody else works on, with its content; locked."""
    for fanout_id, record_id, project_id, created_by, *content in await _DUE.rows(session, now=now):
        return Due(fanout_id, record_id, project_id, created_by, NewContent(*content))
    return None


def _next(_dialect: str) -> ReturningDelete[Any]:
    columns = [col(getattr(FanoutChunk, name)) for name in Chunk._fields]
    fanout_id, number, _ = columns
    its_own = fanout_id == bindparam("fanout_id", type_=Number())
    first = select(func.max(number)).where(its_own).scalar_subquery()
    return delete(FanoutChunk).where(its_own, number == first).returning(*columns)


_NEXT = Query(_next)


async def next_chunk(session: AsyncSession, fanout: Due) -> Chunk:
    """The next recipients of one that was taken. They are forgotten with it: their rows are in this transaction.

    It is asked after the lock: in a view of the rows from before it, some may wait yet whom others have reached.
    """
    [chunk] = await _NEXT.rows(session, fanout_id=fanout.fanout_id)
    return Chunk(*chunk)


def _done(_dialect: str) -> ReturningDelete[Any]:
    fanout_id = col(Fanout.fanout_id)
    return delete(Fanout).where(fanout_id == bindparam("fanout_id", type_=Number())).returning(fanout_id)


_DONE = Query(_done)


async def finish(session: AsyncSession, fanout: Due) -> None:
    """All recipients were reached. Their rows need its content from now on."""
    await _DONE.rows(session, fanout_id=fanout.fanout_id)


async def _start(session: AsyncSession, fanouts: Sequence[NewFanout]) -> list[int]:
    """Their ids, which ascend in this order."""
    return sorted(fanout_id for (fanout_id,) in await _START.run(session, fanouts))


def _chunks(fanout_id: int, user_ids: Sequence[str]) -> Iterator[Chunk]:
    for number, start in enumerate(range(0, len(user_ids), CHUNK), 1):
        yield Chunk(fanout_id, number, user_ids[start : start + CHUNK])
