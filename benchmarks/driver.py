"""Contents as a database's own driver reads them, with nothing else around it: what a database grows by itself.

On SQLite it is a connection like the one for reads on the event loop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any

import asyncpg
import orjson

from storage.engine import CACHE_KIB, Database

Contents = Callable[[Sequence[int]], Awaitable[Sequence[Any]]]  # read by their ids

SQLITE = "SELECT topic, message FROM content WHERE content_id IN (SELECT value FROM json_each(?))"
POSTGRES = "SELECT topic, message FROM content WHERE content_id = ANY($1::bigint[])"


@asynccontextmanager
async def contents(database: Database) -> AsyncIterator[Contents]:
    opened = _sqlite(str(database.url.database)) if database.is_sqlite else _postgres(database)
    async with opened as read:
        yield read


@asynccontextmanager
async def _sqlite(path: str) -> AsyncIterator[Contents]:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")

        async def read(content_ids: Sequence[int]) -> Sequence[Any]:
            return connection.execute(SQLITE, [orjson.dumps(content_ids).decode()]).fetchall()

        yield read


@asynccontextmanager
async def _postgres(database: Database) -> AsyncIterator[Contents]:
    connection = await asyncpg.connect(database.url.set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        prepared = await connection.prepare(POSTGRES)
        yield prepared.fetch
    finally:
        await connection.close()
