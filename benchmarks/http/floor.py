"""The floor: what a bare uvicorn application costs that answers the same from the same rows with one statement each.

No GraphQL, no authentication, no rule: prepared statements on connections that are never reset, and orjson. SQLite is
asked inline, which nothing else waits for here; a create is one row, inserted durably. Its paths are its API:
/notification/<id>, /notifications/<user>/<first>, /unread/<user>, and POST /create with the message.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import asyncpg
import orjson
import uvicorn

from benchmarks.http import sample

CONNECTIONS = 8  # to PostgreSQL

ROWS = """
    SELECT n.notification_id, c.topic, c.message, c.notification_type, c.notification_level, n.is_read, {created_at}
    FROM notification n JOIN content c ON c.content_id = n.content_id
"""
STATEMENTS = {
    "notification": ROWS + "WHERE n.notification_id = $1",
    "notifications": ROWS
    + f"WHERE n.domain_id = '{sample.DOMAIN}' AND n.user_id = $1 "
    + "ORDER BY n.created_at DESC, n.notification_id DESC LIMIT $2",
    "unread": f"SELECT unread_count FROM inbox WHERE domain_id = '{sample.DOMAIN}' AND kind = 'USER' AND owner_id = $1",
    "create": "INSERT INTO content (domain_id, topic, message, notification_type, notification_level, resource_id) "
    + f"VALUES ('{sample.DOMAIN}', $1, $2, 'INFO', 'ALL', $3) RETURNING content_id",
}
CREATED_AT = {
    "sqlite": "n.created_at",
    "postgresql": """to_char(n.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""",
}

Row = Sequence[Any]
Answer = Callable[[Sequence[str], bytes], Awaitable[Any]]  # to the parts of the path, and the body


class Store(Protocol):
    async def fetch(self, name: str, *values: Any) -> Sequence[Row]:
        """The rows that a statement of these gives."""


class Sqlite:
    def __init__(self, path: str) -> None:
        self._reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        self._writer = sqlite3.connect(path, isolation_level=None)
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = FULL")
        # The driver keeps what it has prepared by its text.
        self._statements = {
            name: statement.format(created_at=CREATED_AT["sqlite"]).replace("$", "?")
            for name, statement in STATEMENTS.items()
        }

    async def fetch(self, name: str, *values: Any) -> Sequence[Row]:
        connection = self._writer if name == "create" else self._reader
        return connection.execute(self._statements[name], values).fetchall()


class Postgres:
    def __init__(self, connections: Sequence[dict[str, Any]]) -> None:
        self._free = deque(connections)
        self._waiting: deque[asyncio.Future[None]] = deque()

    @classmethod
    async def connect(cls, url: str) -> Postgres:
        return cls([await cls._prepared(url) for _ in range(CONNECTIONS)])

    @staticmethod
    async def _prepared(url: str) -> dict[str, Any]:
        connection = await asyncpg.connect(url)
        return {
            name: await connection.prepare(statement.format(created_at=CREATED_AT["postgresql"]))
            for name, statement in STATEMENTS.items()
        }

    async def fetch(self, name: str, *values: Any) -> Sequence[Row]:
        while not self._free:
            freed = asyncio.get_running_loop().create_future()
            self._waiting.append(freed)
            await freed
        statements = self._free.popleft()
        try:
            rows: Sequence[Row] = await statements[name].fetch(*values)
            return rows
        finally:
            self._free.append(statements)
            if self._waiting:
                self._waiting.popleft().set_result(None)


class Floor:
    """The ASGI application."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._answers: dict[str, Answer] = {
            "notification": self._notification,
            "notifications": self._notifications,
            "unread": self._unread,
            "create": self._create,
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = (await receive())["body"] if scope["method"] == "POST" else b""
        _, name, *rest = scope["path"].split("/")
        answer = self._answers.get(name)
        content = b"" if answer is None else orjson.dumps({"data": await answer(rest, body)})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 404 if answer is None else 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        self._store = await _open(self._url)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _notification(self, path: Sequence[str], _body: bytes) -> Any:
        rows = await self._store.fetch("notification", path[0])
        return {"notification": _node(rows[0])}

    async def _notifications(self, path: Sequence[str], _body: bytes) -> Any:
        user_id, first = path[0], int(path[1])
        rows = await self._store.fetch("notifications", user_id, first + 1)
        nodes = [_node(row) for row in rows[:first]]
        page_info = {"hasNextPage": len(rows) > first, "endCursor": nodes[-1]["notificationId"]}
        return {"notifications": {"nodes": nodes, "pageInfo": page_info}}

    async def _unread(self, path: Sequence[str], _body: bytes) -> Any:
        rows = await self._store.fetch("unread", path[0])
        return {"inbox": {"unreadCount": rows[0][0]}}

    async def _create(self, _path: Sequence[str], body: bytes) -> Any:
        asked = orjson.loads(body)
        message = orjson.dumps(asked["message"]).decode()
        rows = await self._store.fetch("create", asked["topic"], message, asked["resourceId"])
        return {"createNotification": {"notification": {"notificationId": rows[0][0], "topic": asked["topic"]}}}


async def _open(url: str) -> Store:
    if url.startswith("sqlite:///"):
        return Sqlite(url.removeprefix("sqlite:///"))
    return await Postgres.connect(url)


def _node(row: Row) -> dict[str, Any]:
    notification_id, topic, message, kind, level, is_read, created_at = row
    return {
        "notificationId": notification_id,
        "topic": topic,
        "message": orjson.Fragment(message),
        "notificationType": kind,
        "notificationLevel": level,
        "isRead": bool(is_read),
        "createdAt": created_at,
    }


if __name__ == "__main__":
    application = Floor(os.environ["DATABASE_URL"])
    uvicorn.run(application, port=int(os.environ["PORT"]), log_level="warning", access_log=False)
