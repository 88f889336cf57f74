"""Where kept statements are executed: beside sessions, on connections that are for nothing else and never reset.

Each statement is a read of its own that sees the newest commit. It knows no table and builds no statement.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
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
    """For reads of SQLite so short that handing them to a thread takes longer.

    They go over the connection that writes, where it was lent and is idle: it keeps the pages that it has read beyond
    its own commits. Their own one, which is for all others, forgets all of them with each commit.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], is_lent_idle: Callable[[], bool]) -> None:
        self._connect = connect
        self._is_lent_idle = is_lent_idle
        # One cursor for all statements: a new one costs a third of a short read.
        self._own: sqlite3.Cursor | None = None
        self._lent: sqlite3.Cursor | None = None

    def lend(self, connection: sqlite3.Connection | None) -> None:
        """Until it is closed; None takes it back. While it is idle, nothing but this thread may begin to use it."""
        self._lent = None if connection is None else connection.cursor()

    def fetch(self, statement: Statement, parameters: Sequence[Any]) -> list[Any]:
        """Raises sqlite3.OperationalError where the database is not there, or would have to be waited for."""
        cursor = self._lent if self._lent is not None and self._is_lent_idle() else self._own_cursor()
        # Each is read to its end before anything is made of it: an open one would hold the log that others write.
        return statement.rows(cursor.execute(statement.text, parameters).fetchall())

    def close(self) -> None:
        if self._own is not None:
            self._own.connection.close()
            self._own = None

    def _own_cursor(self) -> sqlite3.Cursor:
        if self._own is None:
            self._own = self._connect().cursor()
        return self._own


class Connection:
    """One to PostgreSQL, with what was prepared on it, for as long as the statements are kept.

    It is opened when it is first needed, and opened anew when it was lost.
    """

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]]) -> None:
        self._connect = connect
        self._connection: asyncpg.Connection | None = None
        self.settings: str | None = None  # that it has
        self._prepared: WeakKeyDictionary[Statement, Any] = WeakKeyDictionary()

    async def fetch(
        self, statement: Statement, parameters: Sequence[Any], seconds: float | None, settings: str
    ) -> list[Any]:
        """Raises TooCostly after so many seconds, and PostgreSQL ends the statement; raises what is LOST."""
        if self._connection is None:
            self._connection = await self._connect()
        try:
            if settings != self.settings:
                await self._connection.execute(settings)
                self.settings = settings
            prepared = self._prepared.get(statement) or await self._prepare(self._connection, statement, seconds)
            records: list[Any] = await prepared.fetch(*parameters, timeout=seconds)
        except BaseException as error:
            self.drop()  # a cancelled read is still on its way
            if isinstance(error, TimeoutError):
                raise TooCostly("The question costs too much.") from error
            raise
        return records if statement.is_raw else statement.rows(records)

    async def close(self) -> None:
        try:
            if self._connection is not None:
                await self._connection.close()
        except LOST:
            pass
        self.drop()

    def drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection, self.settings, self._prepared = None, None, WeakKeyDictionary()

    async def _prepare(self, connection: asyncpg.Connection, statement: Statement, seconds: float | None) -> Any:
        made = statement.record_class(asyncpg.Record)
        prepared = await connection.prepare(statement.text, record_class=made, timeout=seconds)
        self._prepared[statement] = prepared
        return prepared


class Connections:
    """A fixed number to PostgreSQL. Who has to wait for one is handed it in the order of asking."""

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]]) -> None:
        self._free = [Connection(connect) for _ in range(CONNECTIONS)]  # the one that was used last is used next
        self._waiting: deque[asyncio.Future[Connection]] = deque()
        self._is_closed = False

    async def fetch(
        self,
        statement: Statement,
        parameters: Sequence[Any],
        *,
        at_most: timedelta | None,
        settings: str,
    ) -> list[Any]:
        """On a connection that has these settings: statements that set them. Raises DatabaseUnavailable, TooCostly."""
        seconds = None if at_most is None else at_most.total_seconds()
        connection = self._taken(settings) if self._free else await self._handed()
        fetch = partial(connection.fetch, statement, parameters, seconds, settings)
        try:
            return await fetch()
        except LOST:
            self._drop()  # what one connection has met, the others have met as well
            return await _anew(fetch)
        finally:
            if self._is_closed:
                await connection.close()
            self._hand_on(connection)

    async def close(self) -> None:
        """Those in use are closed by their readers."""
        self._is_closed = True
        for connection in self._free:
            await connection.close()

    def _taken(self, settings: str) -> Connection:
        """The one that was used last; where that has other settings, one that has these, or else none yet."""
        if self._free[-1].settings != settings:
            for wanted in (settings, None):
                for number, connection in enumerate(self._free):
                    if connection.settings == wanted:
                        return self._free.pop(number)
        return self._free.pop()

    async def _handed(self) -> Connection:
        waiting: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            return await waiting
        except asyncio.CancelledError:
            if not waiting.cancelled():  # it had been handed one
                self._hand_on(waiting.result())
            raise

    def _hand_on(self, connection: Connection) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(connection)
                return
        self._free.append(connection)

    def _drop(self) -> None:
        for connection in self._free:
            connection.drop()


async def _anew(fetch: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
    try:
        return await fetch()
    except LOST as error:
        raise _translated(error) from error


def _translated(error: Exception) -> Exception:
    state = getattr(error, "sqlstate", None)
    if state is None or state.startswith(UNAVAILABLE):
        return DatabaseUnavailable("The database does not answer.")
    return error
