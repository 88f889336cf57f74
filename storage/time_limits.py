"""What reading may take: PostgreSQL ends a statement by itself; SQLite, whose statements look at the clock, is told to.

Every connection to SQLite looks from its beginning on, so that a limit is a number that is set, and costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from time import monotonic
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.errors import TooCostly

T = TypeVar("T")

STEPS = 10_000  # of SQLite's machine between two looks at the clock: about a millisecond
ENDS = "ends"  # of a connection to SQLite: when what it does has to be over, in monotonic seconds


def prepare(connection: Any, record: Any) -> None:
    """Let a new connection to SQLite look at the clock."""
    connection.run_async(lambda driver: driver.set_progress_handler(lambda: _is_over(record), STEPS))


def heeded(function: Callable[..., T], record: Any) -> Callable[..., T]:
    """The same for a new connection to SQLite, but that looks at the clock itself: its steps may take seconds each."""

    def heeding(*arguments: Any) -> T:
        if _is_over(record):
            raise TimeoutError
        return function(*arguments)

    return heeding


def _is_over(record: Any) -> bool:
    return monotonic() > record.info.get(ENDS, math.inf)  # type: ignore[no-any-return]


def lift(connection: Connection) -> None:
    """At the latest as a transaction begins: until then it ends as well what a caller that left has left running."""
    connection.info.pop(ENDS, None)


@asynccontextmanager
async def limited(session: AsyncSession, at_most: timedelta | None) -> AsyncIterator[None]:
    """Raises TooCostly on SQLite; of PostgreSQL's errors, the engine makes it."""
    if at_most is None:
        yield
    elif session.get_bind().dialect.name == "postgresql":
        limit = f"SET LOCAL statement_timeout = {round(at_most / timedelta(milliseconds=1))}"
        await (await session.connection()).exec_driver_sql(limit)
        yield
    else:
        async with _ended(session, at_most):
            yield


@asynccontextmanager
async def _ended(session: AsyncSession, at_most: timedelta) -> AsyncIterator[None]:
    connection = (await session.connection()).sync_connection
    assert connection is not None
    ends = connection.info[ENDS] = monotonic() + at_most.total_seconds()
    try:
        yield
    except DBAPIError as error:
        lift(connection)
        if monotonic() > ends:
            raise TooCostly("The question costs too much.") from error
        raise
    lift(connection)
