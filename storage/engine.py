"""The database: connections, transactions and their retries on SQLite and PostgreSQL. No tables and no queries."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

import aiosqlite
import asyncpg
import orjson
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import PoolResetState, QueuePool
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import drivers, planning, reading, time_limits
from storage.errors import DatabaseUnavailable, TooCostly
from storage.kept import Kind, Statement, Statements
from storage.pipelines import document_functions
from storage.queries import json_keys, texts
from storage.queries.search_samples import Examples

T = TypeVar("T")
Work = Callable[[AsyncSession], Awaitable[T]]

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
READERS = 4  # SQLite connections that read beside the writer; each is a thread
WRITE_ATTEMPTS = 5  # of one transaction that lost a deadlock, a serialisation or a draw of ids
CHECKPOINT_PAGES = 4_000  # of SQLite's log, 16 MB: pages that are written again and again go to the database once
BUSY_TIMEOUT_MS = 10_000  # another process (a migration, a backup) may hold SQLite's only write lock
# Of the connection to SQLite that writes, and over which most reads go round the inboxes of many users. To map the file
# takes longer, and an error in reading what is mapped ends the process.
CACHE_KIB = 64_000
POSTGRES_CONNECTIONS = 10
OPEN = "open"  # of a connection to SQLite: it was told to begin, and not yet to end
EXAMPLES = "examples"  # of a session: those of its database
SCAN_AT_MOST = timedelta(seconds=5)  # for a kept statement that may read any number of rows

# What SQLite is asked to do and cannot by itself: name, number of arguments.
SQLITE_FUNCTIONS: tuple[tuple[str, int, Callable[..., Any]], ...] = (
    ("casefold", 1, texts.sqlite_casefold),
    ("text_contains", 2, texts.sqlite_contains),
    ("json_keys", 2, json_keys.sqlite_keys),
    ("json_objects", 2, json_keys.sqlite_objects),
    ("json_sort_key", 2, json_keys.sqlite_sort_key),
    *((name, arguments, function) for name, (arguments, function) in document_functions.FUNCTIONS.items()),
)

# Serialisation failure, deadlock, lock not available: the transaction did nothing and may run again.
RETRYABLE_SQLSTATES = {"40001", "40P01", "55P03"}

# Query cancelled (by its time limit), invalid (too complex a) regular expression, statement too complex.
COSTLY_SQLSTATES = {"57014", "2201B", "54001"}


class Database:
    """Reads beside one writer on SQLite, a pool on PostgreSQL. `open` before use, `close` after.

    SQLite's driver serialises statements, not transactions, so its writer is one connection used by one transaction
    at a time, and readers are connections of their own.
    """

    def __init__(self, url: str) -> None:
        """`url` is `sqlite:///path` or `postgresql://...`. Raises ValueError for anything else."""
        given = _parsed(url)
        if given is None or given.get_backend_name() not in DRIVERS:
            raise ValueError("must be a sqlite:/// or a postgresql:// address")
        self.url = given.set(drivername=DRIVERS[given.get_backend_name()])
        self.is_sqlite = self.is_inline = given.get_backend_name() == "sqlite"
        self.examples = Examples()
        self._writes: set[asyncio.Future[Any]] = set()

    async def open(self) -> None:
        if self.is_sqlite:
            self._writer = _sqlite_engine(
                self.url, connections=1, begin="BEGIN IMMEDIATE", cached_statements=reading.CACHED_STATEMENTS
            )
            self._reader = _sqlite_engine(self.url, connections=READERS, begin="BEGIN", query_only=True)
        else:
            self._writer = _postgres_engine(self.url)
            self._reader = self._writer.execution_options(isolation_level="REPEATABLE READ")
        self._kept = Statements(self._reader.dialect)
        self._inline = reading.Inline(self._connect_inline, self._is_writer_idle)
        self._connections = reading.Connections(self._connect_beside)
        if self.is_sqlite:
            self._lend_writer()

    async def close(self) -> None:
        if self._writes:
            await asyncio.wait(self._writes)
        self._inline.close()
        await self._connections.close()
        await self._reader.dispose()
        await self._writer.dispose()

    @asynccontextmanager
    async def read(self, *, at_most: timedelta | None = None) -> AsyncIterator[AsyncSession]:
        """A session for queries, all of them on one snapshot. It never commits.

        A statement takes `at_most` so long, if that is given; on SQLite, all of them together. Raises
        DatabaseUnavailable, TooCostly.
        """
        try:
            async with (
                self._session(self._reader) as session,
                time_limits.limited(session, at_most),
            ):
                yield session
        except (DBAPIError, OSError) as error:
            if _sqlstate(error) in COSTLY_SQLSTATES:
                raise TooCostly("The question costs too much.") from error
            if isinstance(error, (OperationalError, InterfaceError, OSError)):
                raise DatabaseUnavailable("The database does not answer.") from error
            raise

    def rows(self, kind: Kind, given: Sequence[Any], fixed: Hashable = None) -> Coroutine[Any, Any, list[Any]]:
        """What a kept statement answers: a read of its own, without a session. Raises DatabaseUnavailable, TooCostly.

        Where an index bounds what is read, it is asked on this very thread on SQLite; else it takes SCAN_AT_MOST.
        """
        kept = self._kept.of(kind, given, fixed)
        parameters = kept.statement.parameters(given)
        at_most = SCAN_AT_MOST if kept.index is None else None
        if self.is_sqlite:
            return self._fetch_here(kept.statement, parameters, at_most=at_most)
        settings = planning.BY_VALUES if kept.is_planned_by_values else planning.ONCE
        return self._connections.fetch(kept.statement, parameters, at_most=at_most, settings=settings)

    async def _fetch_here(
        self, statement: Statement, parameters: Sequence[Any], *, at_most: timedelta | None
    ) -> list[Any]:
        if at_most is None:
            try:
                return self._inline.fetch(statement, parameters)
            except sqlite3.OperationalError:
                pass  # a reader waits for what is locked, or says what is wrong
        async with self.read(at_most=at_most) as session:
            connection = await session.connection()
            return statement.rows(await connection.exec_driver_sql(statement.text, parameters))

    async def write(self, work: Work[T]) -> T:
        """Run `work` in one transaction and commit it, again from its start where the database asks for that.

        It runs in a task of its own: a caller that is cancelled leaves a whole transaction behind, not half of one.
        `work` may therefore run several times and must do nothing but use its session. Raises DatabaseUnavailable.
        """
        transaction = asyncio.ensure_future(self._write(work))
        self._writes.add(transaction)
        transaction.add_done_callback(self._writes.discard)
        return await asyncio.shield(transaction)

    async def _write(self, work: Work[T]) -> T:
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            try:
                async with self._session(self._writer) as session, session.begin():
                    return await work(session)
            except (DBAPIError, OSError) as error:
                if attempt == WRITE_ATTEMPTS or not _may_run_again(error):
                    raise _translated(error) from error
                await asyncio.sleep(random.uniform(0, 0.02) * 2**attempt)
        raise AssertionError("unreachable")

    def _session(self, engine: AsyncEngine) -> AsyncSession:
        return AsyncSession(engine, expire_on_commit=False, info={EXAMPLES: self.examples})

    def _is_writer_idle(self) -> bool:
        return isinstance(self._writer.pool, QueuePool) and self._writer.pool.checkedin() > 0

    def _lend_writer(self) -> None:
        """Its connection, for as long as it is open, to the reads that may go over it."""

        @event.listens_for(self._writer.sync_engine, "connect")
        def lend(connection: Any, record: Any) -> None:
            self._inline.lend(connection.driver_connection._conn)  # whose thread has nothing to do while it is idle

        @event.listens_for(self._writer.sync_engine, "close")
        def take_back(connection: Any, record: Any) -> None:
            self._inline.lend(None)

    def _connect_inline(self) -> sqlite3.Connection:
        # It has none of SQLITE_FUNCTIONS: whatever calls one is no matter of an index.
        [path], options = self._reader.dialect.create_connect_args(self.url)
        options["cached_statements"] = reading.CACHED_STATEMENTS
        connection: sqlite3.Connection = sqlite3.connect(path, **options)
        connection.isolation_level = None  # each statement is a transaction of its own
        connection.execute("PRAGMA busy_timeout = 0")  # the whole process would wait
        connection.execute("PRAGMA query_only = ON")
        return connection

    async def _connect_beside(self) -> asyncpg.Connection:
        arguments, options = self._reader.dialect.create_connect_args(self.url)
        connection = await asyncpg.connect(*arguments, **options)
        try:
            await connection.set_type_codec("json", encoder=_dumps, decoder=orjson.loads, schema="pg_catalog")
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def run_sync(self, work: Callable[[Connection], T]) -> T:
        """Run synchronous `work` on the writer's connection in one transaction (migrations).

        Raises DatabaseUnavailable where there is nothing to connect to; what `work` raises is left as it is.
        """
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self._writer.begin())
            except (DBAPIError, OSError) as error:
                raise DatabaseUnavailable("The database cannot be opened.") from error
            return await connection.run_sync(work)


def _parsed(url: str) -> URL | None:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # which repeat a part of the address, and it may hold a password
        return None


def _may_run_again(error: Exception) -> bool:
    # An integrity error that no storage function expected is an id that was drawn twice: draw again.
    if isinstance(error, IntegrityError):
        return True
    return _sqlstate(error) in RETRYABLE_SQLSTATES


def _sqlstate(error: Exception) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def _translated(error: Exception) -> Exception:
    if isinstance(error, (OperationalError, InterfaceError, OSError)) or getattr(
        error, "connection_invalidated", False
    ):
        return DatabaseUnavailable("The database does not answer.")
    return error


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


async def _connected(path: str, **options: Any) -> aiosqlite.Connection:
    connection = aiosqlite.connect(path, **options)
    connection._thread.daemon = True  # as SQLAlchemy has it
    try:
        return await connection
    except sqlite3.Error:
        connection._thread.join()  # nobody waits for its last word, which needs this loop
        raise


def _sqlite_engine(
    url: URL, *, connections: int, begin: str, query_only: bool = False, **connecting: Any
) -> AsyncEngine:
    """`connecting`: what the driver is told of each connection."""
    engine = create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        connect_args={"async_creator_fn": _connected, **connecting},
        pool_reset_on_return=None,  # `end` below does, where there is something to roll back
        hide_parameters=True,  # errors are logged, and parameters may be secrets
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself: `begin` below does
        for name, arguments, function in SQLITE_FUNCTIONS:
            connection.create_function(name, arguments, function, deterministic=True)
        matches = time_limits.heeded(texts.sqlite_matches, record)
        connection.create_function("text_matches", 2, matches, deterministic=True)
        time_limits.prepare(connection, record)
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        if query_only:
            cursor.execute("PRAGMA query_only = ON")
        else:
            cursor.execute("PRAGMA journal_mode = WAL")  # readers do not wait for the writer
            cursor.execute("PRAGMA synchronous = FULL")  # what was acknowledged is on disk
            cursor.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            cursor.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Connection) -> None:
        time_limits.lift(connection)
        connection.info[OPEN] = True
        with drivers.as_of_session(begin):  # SQLAlchemy's way asks the connection's thread three times
            connection.connection.run_async(lambda driver: driver.execute_fetchall(begin))

    @event.listens_for(engine.sync_engine, "commit")
    @event.listens_for(engine.sync_engine, "rollback")
    def is_ending(connection: Connection) -> None:
        if not connection.invalidated:  # by a caller that left: then it is no more
            connection.info.pop(OPEN, None)

    @event.listens_for(engine.sync_engine, "reset")
    def end(connection: Any, record: Any, state: PoolResetState) -> None:
        # What a caller that left has asked for may still be on its way to the connection's thread: OPEN tells.
        if state.asyncio_safe and (record.info.pop(OPEN, False) or connection.driver_connection.in_transaction):
            connection.rollback()

    return engine


def _postgres_engine(url: URL) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=POSTGRES_CONNECTIONS,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,  # errors are logged, and parameters may be secrets
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
    )
