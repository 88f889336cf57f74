"""Statistics: what callers make of the records that they may see. Statements are made in `storage.pipelines`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

import asyncpg
import orjson
from sqlalchemy import Select, func, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from storage import channels, deliveries, notification_searches, protocols, quotas, usages
from storage.channels import Kind as ChannelKind
from storage.errors import DatabaseUnavailable, TooCostly
from storage.models import Notification
from storage.notification_filters import Filter
from storage.pipelines import compiler, document_functions
from storage.pipelines.rows import Gathering, Ordering, Rows
from storage.pipelines.stages import Stage
from storage.queries import fields, operators
from storage.queries.fields import Fields
from storage.queries.operators import Question, Unaskable
from storage.records import Records
from storage.scope import Scope

MAX_ROWS = 10_000  # of a result
MAX_RESULT_BYTES = 16 * 1024 * 1024  # of it, as JSON
MAX_GATHERED = 100_000  # values that push, add_to_set and merge_objects put together
MAX_GATHERED_CHARACTERS = 16 * 1024 * 1024  # of them, as JSON
BATCH = 500  # rows that are read at once


class Record(StrEnum):
    """What there are statistics of."""

    NOTIFICATION = "notification"
    DELIVERY = "delivery"
    PROTOCOL = "protocol"
    PROJECT_CHANNEL = "projectChannel"
    USER_CHANNEL = "userChannel"
    QUOTA = "quota"
    NOTIFICATION_USAGE = "notificationUsage"


@dataclass(frozen=True)
class Wanted:
    """Of the records that a question is about: what a pipeline, or else the different values of a key, makes of them.

    `limit` and `offset` are those of the rows that come of it; without a limit they are all read, and not counted.
    """

    question: Question
    stages: Sequence[Stage] = ()
    distinct: str | None = None
    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True)
class Result:
    results: list[Any]  # objects, or, of distinct, values
    total_count: int | None  # where there is a limit


async def read(session: AsyncSession, record: Record, scope: Scope, wanted: Wanted) -> Result:
    """Raises Unaskable, TooCostly."""
    found = await _rows(session, record, scope, wanted.question)
    rows = compiler.run(found, wanted.stages) if wanted.distinct is None else compiler.distinct(found, wanted.distinct)
    async with _translated():
        for gathering in rows.gatherings:
            await _check(session, gathering)
        results = await _results(session, rows, wanted)
        return Result(results, None if wanted.limit is None else await _number(session, compiler.count(rows)))


async def _results(session: AsyncSession, rows: Rows, wanted: Wanted) -> list[Any]:
    names = [field.name for field in rows.fields.fields.values()]
    statement = compiler.read(rows, limit=MAX_ROWS + 1 if wanted.limit is None else wanted.limit, offset=wanted.offset)
    results: list[Any] = []
    size = 0
    stream = await session.stream(statement)
    async for batch in stream.partitions(BATCH):
        read = [document_functions.plain([*row]) for row in batch]
        results += [row[0] for row in read] if wanted.distinct else [dict(zip(names, row, strict=True)) for row in read]
        size += len(orjson.dumps(read))
        if len(results) > MAX_ROWS:
            raise Unaskable(f"This has more than {MAX_ROWS} rows: limit them, or ask for a page.", field=_whole(wanted))
        if size > MAX_RESULT_BYTES:
            raise Unaskable(f"This takes more than {MAX_RESULT_BYTES} bytes.", field=_whole(wanted))
    return results


def _whole(wanted: Wanted) -> str:
    return "aggregate" if wanted.distinct is None else "distinct"


async def _check(session: AsyncSession, gathering: Gathering) -> None:
    """Before values are put together, which databases do in memory."""
    values = gathering.statement.limit(MAX_GATHERED + 1).subquery()
    statement = select(func.count(), func.coalesce(func.sum(values.c.size), 0)).select_from(values)
    [(number, characters)] = await session.exec(statement)  # type: ignore[call-overload]
    if number > MAX_GATHERED or characters > MAX_GATHERED_CHARACTERS:
        most = f"{MAX_GATHERED} values, and {MAX_GATHERED_CHARACTERS} characters of them"
        raise Unaskable(f"This puts together more than {most}.", field=gathering.place)


async def _number(session: AsyncSession, statement: Select[Any]) -> int:
    [(number,)] = await session.exec(statement)  # type: ignore[call-overload]
    return int(number)


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """While rows are streamed, SQLAlchemy leaves the errors of PostgreSQL's driver as they are."""
    try:
        yield
    except asyncpg.QueryCanceledError as error:
        raise TooCostly("The question costs too much.") from error
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable("The database does not answer.") from error


# Where the records are.


@dataclass(frozen=True)
class _Source:
    statement: SelectOfScalar[Any]  # of those in scope that the question is about
    fields: Fields
    order: Sequence[Any]  # columns, the oldest record first


Find = Callable[[AsyncSession, Scope, Question], Awaitable[_Source]]


async def _notifications(session: AsyncSession, scope: Scope, question: Question) -> _Source:
    operators.conditions(fields.NOTIFICATION, question)  # before it is looked for: what is wrong is said here
    statement = await notification_searches.matching(session, scope, Filter(question=question))
    return _Source(statement, fields.NOTIFICATION, (Notification.created_at, Notification.notification_id))


def _of(in_scope: Callable[[Scope], Records[Any]], filter_of: Callable[..., Any]) -> Find:
    async def source(_session: AsyncSession, scope: Scope, question: Question) -> _Source:
        records = in_scope(scope)
        statement = records.matching(filter_of(question=question))
        return _Source(statement, records.fields, [key.column for key in records.usual])

    return source


_SOURCES: Mapping[Record, Find] = {
    Record.NOTIFICATION: _notifications,
    Record.DELIVERY: _of(deliveries.in_scope, deliveries.Filter),
    Record.PROTOCOL: _of(protocols.in_scope, protocols.Filter),
    Record.PROJECT_CHANNEL: _of(partial(channels.in_scope, ChannelKind.PROJECT), channels.Filter),
    Record.USER_CHANNEL: _of(partial(channels.in_scope, ChannelKind.USER), channels.Filter),
    Record.QUOTA: _of(quotas.in_scope, quotas.Filter),
    Record.NOTIFICATION_USAGE: _of(usages.in_scope, usages.Filter),
}


async def _rows(session: AsyncSession, record: Record, scope: Scope, question: Question) -> Rows:
    """The records in scope that the question is about, the oldest first."""
    source = await _SOURCES[record](session, scope, question)
    asked, order = list(source.fields.fields.values()), source.order
    columns = [field.column.label(f"f{index}") for index, field in enumerate(asked)]
    columns += [column.label(f"o{index}") for index, column in enumerate(order)]
    table = source.statement.with_only_columns(*columns, maintain_column_froms=True).subquery()
    placed = {field.name: replace(field, column=table.c[f"f{index}"]) for index, field in enumerate(asked)}
    return Rows(
        statement=select().select_from(table),
        fields=replace(source.fields, fields=placed),
        order=[Ordering(table.c[f"o{index}"]) for index in range(len(order))],
        now=question.now,
        on_postgresql=session.get_bind().dialect.name == "postgresql",
    )
