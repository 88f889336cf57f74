"""Where kept statements are executed: beside sessions, on connections that are for nothing else and never reset.

Each statement is a read of its own that sees the newest commit. It knows no table and builds no statement.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any
from weakref import WeakKeyDictionary

import asyncpg

from storage.errors import DatabaseUnavailable, TooCostly
from storage.kept import Statement

CACHED_STATEMENTS = 512  # of SQLite's driver, by their text
CONNECTIONS = 8  # to PostgreSQL, for reads alone

# The third is what asyncpg raises on a connection that its server has ended, until it has seen the end.
LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

# Classes of SQLSTATE that say something of the server, and nothing of what it was asked: no connection, no
# authorisation, no such database, no resources, an operator's doing, the system.
UNAVAILABLE = ("08", "28", "3D", "53", "57", "58")


class Inline:
    """One SQLite connection for reads so short that handing them to a thread takes longer."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._cursor: sqlite3.Cursor | None = None  # one for all statements: a new one costs a third of a short read

    def fetch(self, statement: Statement, parameters: Sequence[Any]) -> list[Any]:
        """Raises sqlite3.OperationalError where the database is not there, or would have to be waited for."""
        if self._cursor is None:
            self._cursor = self._connect().cursor()
        # Each is read to its end before anything is made of it: an open one would hold the log that others write.
        return statement.rows(self._cursor.execute(statement.text, parameters).fetchall())

    def close(self) -> None:
        if self._cursor is not None:
            self._cursor.connection.close()
            self._cursor = None


class Connection:
    """One to PostgreSQL, with what was prepared on it, for as long as the statements are kept."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._prepared: WeakKeyDictionary[Statement, Any] = WeakKeyDictionary()

    async def fetch(self, statement: Statement, parameters: Sequence[Any], seconds: float | None) -> list[Any]:
        """Raises TimeoutError after so many seconds, and PostgreSQL ends the statement."""
        prepared = self._prepared.get(statement)
        if prepared is None:
            made = statement.record_class(asyncpg.Record)
            prepared = await self._connection.prepare(statement.text, record_class=made, timeout=seconds)
            self._prepared[statement] = prepared
        records: list[Any] = await prepared.fetch(*parameters, timeout=seconds)
        return records if statement.is_raw else statement.rows(records)

    async def close(self) -> None:
        try:
            await self._connection.close()
        except LOST:
            self.drop()

    def drop(self) -> None:
        self._connection.terminate()


class Connections:
    """A fixed number to PostgreSQL, each opened when it is first needed, and opened anew when it was lost."""

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]]) -> None:
        self._connect = connect
        self._room = asyncio.Semaphore(CONNECTIONS)
        self._free: list[Connection] = []  # the one that was used last is used next
        self._is_closed = False

    async def fetch(
        self, statement: Statement, parameters: Sequence[Any], *, at_most: timedelta | None = None
    ) -> list[Any]:
        """Raises DatabaseUnavailable, TooCostly."""
        seconds = None if at_most is None else at_most.total_seconds()
        async with self._room:
            try:
                return await self._fetch(self._free.pop() if self._free else None, statement, parameters, seconds)
            except LOST:
                self._drop()  # what one connection has met, the others have met as well
            try:
                return await self._fetch(None, statement, parameters, seconds)
            except LOST as error:
                raise _translated(error) from error

    async def close(self) -> None:
        """Those in use are closed by their readers."""
        self._is_closed = True
        while self._free:
            await self._free.pop().close()

    async def _fetch(
        self, connection: Connection | None, statement: Statement, parameters: Sequence[Any], seconds: float | None
    ) -> list[Any]:
        if connection is None:
            connection = Connection(await self._connect())
        try:
            rows = await connection.fetch(statement, parameters, seconds)
        except BaseException as error:
            connection.drop()  # a cancelled read is still on its way
            if isinstance(error, TimeoutError):
                raise TooCostly("The question costs too much.") from error
            raise
        if self._is_closed:
            await connection.close()
        else:
            self._free.append(connection)
        return rows

    def _drop(self) -> None:
        while self._free:
            self._free.pop().drop()


def _translated(error: Exception) -> Exception:
    state = getattr(error, "sqlstate", None)
    if state is None or state.startswith(UNAVAILABLE):
        return DatabaseUnavailable("The database does not answer.")
    return error
