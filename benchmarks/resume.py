"""How long a client that missed 10,000 changes waits for the last of them, over a real socket.

    .venv/bin/python -m benchmarks.resume

Beside it, in the same rounds: the same rows read straight out of the database file, by one statement of the driver.
And what it costs the server's process, which does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, insert
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from benchmarks import stand
from resolvers import cursors
from resolvers.access import Role
from resolvers.cursors import StreamCursor
from storage.engine import Database
from storage.models import Change, ChangeKind, Content, Inbox, InboxKind, Notification
from tests.server import ServerProcess

USER = "alice"
GENERATION = 1
CHANGED = """
    subscription ($after: Cursor) {
      inboxChanged(after: $after) {
        __typename cursor unreadCount
        ... on NotificationAdded {
          notification { notificationId topic message notificationType notificationLevel isRead createdAt }
        }
      }
    }
"""
CREATED = """
    subscription ($after: Cursor) {
      notificationCreated(after: $after) {
        notificationId topic message notificationType notificationLevel isRead createdAt cursor
      }
    }
"""
ROWS = """
    SELECT change.seq, change.unread_count, notification.notification_id, topic, message, notification_type,
           notification_level, notification.is_read, created_at
    FROM change JOIN notification USING (notification_id) JOIN content USING (content_id)
    ORDER BY change.seq
"""


@dataclass(frozen=True)
class Taken:
    """Seconds."""

    elapsed: float
    cpu: float  # of who answers


@dataclass(frozen=True)
class Stand:
    """A server whose database has one inbox."""

    server: ServerProcess
    after: str  # the cursor before the first change
    count: int

    async def resume(self, document: str) -> Taken:
        """From the question to the last event, all having come in order."""
        address = f"{self.server.url.replace('http', 'ws', 1)}/graphql"
        async with connect(address, subprotocols=[Subprotocol("graphql-transport-ws")], proxy=None) as socket:
            user = self.server.client(USER, Role.USER, stand.DOMAIN)
            await _say(socket, type="connection_init", payload=user.headers)
            await socket.recv()
            payload = {"query": document, "variables": {"after": self.after}}
            started, cpu = time.perf_counter(), self._cpu_seconds
            await _say(socket, type="subscribe", id="1", payload=payload)
            texts = [await socket.recv() for _ in range(self.count)]
            taken = Taken(time.perf_counter() - started, self._cpu_seconds - cpu)
        [events] = zip(*(orjson.loads(text)["payload"]["data"].values() for text in texts), strict=True)
        seqs = [cursors.stream_position(event["cursor"], field="cursor").seq for event in events]
        assert seqs == list(range(1, self.count + 1)), "not complete, or not in order"
        return taken

    async def read(self) -> Taken:
        """The rows themselves."""
        started, cpu = time.perf_counter(), time.process_time()
        with closing(sqlite3.connect(self.server.folder / "tocsin.db")) as connection:
            rows = connection.execute(ROWS).fetchall()
        assert len(rows) == self.count
        return Taken(time.perf_counter() - started, time.process_time() - cpu)

    @property
    def _cpu_seconds(self) -> float:
        """Of all the server's threads, to the nanosecond: the clock that clock_getcpuclockid(3) names."""
        return time.clock_gettime(~self.server.pid << 3 | 2)


async def _say(socket: ClientConnection, **message: object) -> None:
    await socket.send(orjson.dumps(message).decode())


def fill(connection: Connection, count: int) -> StreamCursor:
    """One inbox with so many notifications, as creates leave it; the cursor before them."""
    now = datetime.now(UTC) - timedelta(days=1)
    inbox = {"domain_id": stand.DOMAIN, "kind": InboxKind.USER, "owner_id": USER, "generation": GENERATION}
    counts = {"last_seq": count, "unread_count": count, "unseen_count": count, "total_count": count, "seen_seq": 0}
    rows = insert(_table(Inbox)).values(inbox | counts).returning(_table(Inbox).c.inbox_id)
    inbox_id = connection.execute(rows).scalar_one()
    numbers = range(1, count + 1)
    connection.execute(insert(_table(Content)), [stand.content(number) for number in numbers])
    connection.execute(
        insert(_table(Notification)),
        [stand.record(number, now) | {"user_id": USER, "inbox_id": inbox_id, "seq": number} for number in numbers],
    )
    connection.execute(insert(_table(Change)), [_change(number, inbox_id, now) for number in numbers])
    return StreamCursor(inbox_id, GENERATION, 0)


def _table(model: Any) -> Any:
    return model.__table__


def _change(number: int, inbox_id: int, now: datetime) -> dict[str, object]:
    return {
        "inbox_id": inbox_id,
        "seq": number,
        "kind": ChangeKind.ADDED,
        "notification_id": f"notification-{number}",
        "unread_count": number,
        "unseen_count": number,
        "changed_at": now,
    }


async def main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="tocsin-benchmark-") as folder:
        server = ServerProcess(Path(folder) / "data", dispatch_worker="false")
        server.start()
        try:
            database = Database(server.database_url)
            await database.open()
            beginning = await database.run_sync(lambda connection: fill(connection, options.count))
            await database.close()
            await compare(Stand(server, cursors.for_stream(beginning), options.count), options.rounds)
        finally:
            server.terminate()


async def compare(stand: Stand, rounds: int) -> None:
    ways: dict[str, Callable[[], Awaitable[Taken]]] = {
        "rows, read directly": stand.read,
        "inboxChanged": lambda: stand.resume(CHANGED),
        "notificationCreated": lambda: stand.resume(CREATED),
    }
    taken: dict[str, list[Taken]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            once = await way()
            if number:  # the first round warms
                taken[name].append(once)
    _tell(stand.count, taken)


def _tell(count: int, taken: dict[str, list[Taken]]) -> None:
    medians = {
        name: (statistics.median(once.elapsed for once in each), statistics.median(once.cpu for once in each))
        for name, each in taken.items()
    }
    _, rows_alone = next(iter(medians.values()))
    lines = [f"| {count:,} missed changes | seconds | of CPU | times the rows alone |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {elapsed:.2f} | {cpu:.2f} | {cpu / rows_alone:.1f} |" for name, (elapsed, cpu) in medians.items()
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Resuming a stream after many missed changes.")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(_options()))
