"""The driver under a session, for statements that SQLAlchemy is not to touch. It opens and ends no transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import asyncpg
from sqlalchemy import Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlmodel.ext.asyncio.session import AsyncSession

T = TypeVar("T")
Row = Sequence[Any]

# What a driver raises when it is the connection or the server that fails, not the statement.
UNANSWERED = (
    sqlite3.OperationalError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
)


class Driver:
    """The connection of a session's transaction, without what SQLAlchemy puts around each statement.

    It speaks the dialect's own SQL and the driver's own types; errors are those that a session raises.
    """

    def __init__(self, connection: Any, dialect: Dialect) -> None:
        self._connection = connection
        self.dialect = dialect
        self.is_sqlite = dialect.name == "sqlite"

    async def fetch(self, text: str, values: Row) -> list[Row]:
        """The rows of one statement."""
        with as_of_session(text):
            if self.is_sqlite:
                return list(await self._connection.execute_fetchall(text, values))
            return list(await self._connection.fetch(text, *values))

    async def fetch_each(self, text: str, rows: Sequence[Row]) -> list[Row]:
        """The rows of one statement for each row of values, in their order, on SQLite: its thread is asked once."""

        def run(connection: sqlite3.Connection) -> list[Row]:
            return [found for values in rows for found in connection.execute(text, values).fetchall()]

        with as_of_session(text):
            return await self._in_thread(run)

    async def run_each(self, statements: Sequence[tuple[str, Sequence[Row]]]) -> None:
        """Statements that return nothing, each for each of its rows of values, on SQLite: its thread is asked once."""

        def run(connection: sqlite3.Connection) -> None:
            for text, rows in statements:
                connection.executemany(text, rows)

        with as_of_session("; ".join(text for text, _ in statements)):
            await self._in_thread(run)

    async def _in_thread(self, run: Callable[[sqlite3.Connection], T]) -> T:
        # aiosqlite has no door to the thread for more than a statement.
        return cast(T, await self._connection._execute(run, self._connection._conn))


async def of(session: AsyncSession) -> Driver:
    """The driver of a session of `Database`, which has one transaction."""
    kept: Driver | None = session.info.get("driver")
    if kept is None:
        connection = await session.connection()
        if connection.dialect.name == "postgresql":
            # SQLAlchemy begins before the first statement that it sees. Left to itself, PostgreSQL plans one that takes
            # arrays anew each time, where it guesses that they have more elements than are given.
            await connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
        raw = await connection.get_raw_connection()
        kept = session.info["driver"] = Driver(raw.driver_connection, connection.dialect)
    return kept


@contextmanager
def as_of_session(text: str) -> Iterator[None]:
    """Raise the driver's errors as SQLAlchemy does."""
    try:
        yield
    except (sqlite3.IntegrityError, asyncpg.IntegrityConstraintViolationError) as error:
        raise IntegrityError(text, None, error) from error
    except UNANSWERED as error:
        raise OperationalError(text, None, error) from error
    except (sqlite3.Error, asyncpg.PostgresError) as error:
        raise DBAPIError(text, None, error) from error
