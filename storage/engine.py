"""The database: connections, transactions and their retries on SQLite and PostgreSQL. No tables and no queries."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import orjson
from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Float,
    String,
    bindparam,
    event,
    func,
    literal,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import document_functions, json_keys, texts
from storage.columns import UtcDateTime
from storage.errors import DatabaseUnavailable, TooCostly

T = TypeVar("T")
Work = Callable[[AsyncSession], Awaitable[T]]

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
READERS = 4  # SQLite connections that read beside the writer; each is a thread
WRITE_ATTEMPTS = 5  # of one transaction that lost a deadlock, a serialisation or a draw of ids
BUSY_TIMEOUT_MS = 10_000  # another process (a migration, a backup) may hold SQLite's only write lock
POSTGRES_CONNECTIONS = 10

# What SQLite is asked to do and cannot by itself: name, number of arguments.
SQLITE_FUNCTIONS: tuple[tuple[str, int, Callable[..., Any]], ...] = (
    ("casefold", 1, texts.sqlite_casefold),
    ("text_contains", 2, texts.sqlite_contains),
    ("text_matches", 2, texts.sqlite_matches),
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
        self.is_sqlite = given.get_backend_name() == "sqlite"
        self._writes: set[asyncio.Future[Any]] = set()

    async def open(self) -> None:
        if self.is_sqlite:
            self._writer = _sqlite_engine(self.url, connections=1, begin="BEGIN IMMEDIATE")
            self._reader = _sqlite_engine(self.url, connections=READERS, begin="BEGIN", query_only=True)
        else:
            self._writer = self._reader = _postgres_engine(self.url)

    async def close(self) -> None:
        if self._writes:
            await asyncio.wait(self._writes)
        await self._reader.dispose()
        await self._writer.dispose()

    @asynccontextmanager
    async def read(self, *, at_most: timedelta | None = None) -> AsyncIterator[AsyncSession]:
        """A session for queries, on one snapshot of SQLite. It never commits.

        On PostgreSQL a query takes `at_most` so long, if that is given. Raises DatabaseUnavailable, TooCostly.
        """
        try:
            async with AsyncSession(self._reader, expire_on_commit=False) as session:
                if at_most is not None and not self.is_sqlite:
                    limit = f"SET LOCAL statement_timeout = {round(at_most / timedelta(milliseconds=1))}"
                    await (await session.connection()).exec_driver_sql(limit)
                yield session
        except (DBAPIError, OSError) as error:
            if _sqlstate(error) in COSTLY_SQLSTATES:
                raise TooCostly("The question costs too much.") from error
            if isinstance(error, (OperationalError, InterfaceError, OSError)):
                raise DatabaseUnavailable("The database does not answer.") from error
            raise

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
                async with AsyncSession(self._writer, expire_on_commit=False) as session, session.begin():
                    return await work(session)
            except (DBAPIError, OSError) as error:
                if attempt == WRITE_ATTEMPTS or not _may_run_again(error):
                    raise _translated(error) from error
                await asyncio.sleep(random.uniform(0, 0.02) * 2**attempt)
        raise AssertionError("unreachable")

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


def _sqlite_engine(url: URL, *, connections: int, begin: str, query_only: bool = False) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,  # errors are logged, and parameters may be secrets
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself: `begin` below does
        for name, arguments, function in SQLITE_FUNCTIONS:
            connection.create_function(name, arguments, function, deterministic=True)
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        if query_only:
            cursor.execute("PRAGMA query_only = ON")
        else:
            cursor.execute("PRAGMA journal_mode = WAL")  # readers do not wait for the writer
            cursor.execute("PRAGMA synchronous = FULL")  # what was acknowledged is on disk
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

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


def insert(session: AsyncSession, model: type[SQLModel]) -> postgresql.Insert | sqlite.Insert:
    """INSERT in the session's dialect, which both spell `ON CONFLICT` alike but share no construct for it."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(model)
    return sqlite.insert(model)


def among(session: AsyncSession, column: Any, values: Collection[Any]) -> ColumnElement[bool]:
    """Whether the column is one of these values, as a statement that is the same text for any number of them.

    `IN` is another text for each number: it would be prepared anew for nearly every batch.
    """
    if session.get_bind().dialect.name == "postgresql":
        array = bindparam(None, list(values), postgresql.ARRAY(column.type), unique=True)
        return cast(ColumnElement[bool], column == func.any(array))
    each = func.json_each(bindparam(None, _dumps(list(values)), String, unique=True)).table_valued("value")
    return cast(ColumnElement[bool], column.in_(select(each.c.value)))


class checked(FunctionElement[Any]):
    """A column whose condition is checked of rows that others lead to: SQLite, which counts no rows, asks no index."""

    inherit_cache = True

    def __init__(self, column: Any) -> None:
        super().__init__(column)
        self.type = column.type


@compiles(checked, "sqlite")
def _sqlite_checked(element: checked, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


@compiles(checked, "postgresql")
def _postgresql_checked(element: checked, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


class database_time(FunctionElement[Any]):
    """The database's clock, `offset` from now: leases and due times compare with no other clock."""

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, offset: timedelta = timedelta()) -> None:
        super().__init__(literal(round(offset.total_seconds(), 3), Float))


@compiles(database_time, "sqlite")
def _sqlite_time(element: database_time, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', 'now', {seconds} || ' seconds')"


@compiles(database_time, "postgresql")
def _postgres_time(element: database_time, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"(clock_timestamp() + {seconds} * interval '1 second')"
