"""A small schema behind the real transport, served by a real uvicorn on a free port of this machine."""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import httpx
import pytest
import strawberry
import uvicorn
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from strawberry.schema.config import StrawberryConfig
from strawberry.types import Info
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from resolvers.access import User
from resolvers.errors import CursorExpired, InvalidArgument, NotFound
from schema import execution, http, scalars, websocket
from schema.bounded_http import BoundedHTTP
from schema.bounded_socket import BoundedSocket
from schema.sockets import Limits, Sockets

DEADLINE_S = 10
AUTHORIZATION = "Bearer good"
ANOTHER_AUTHORIZATION = "Bearer another's"
SECRET = "hunter2"
EVENT_BYTES = 50_000  # of a flood


@dataclass
class Seen:
    """What happened inside of the server, for a test to wait for."""

    events: queue.Queue[str] = field(default_factory=queue.Queue)

    def add(self, event: str) -> None:
        self.events.put(event)

    def wait_for(self, event: str) -> None:
        while self.events.get(timeout=DEADLINE_S) != event:
            pass


@dataclass
class Context:
    authorization: str | None
    via: http.Via
    expires_at: datetime | None
    seen: Seen
    marks = True

    @property
    def user(self) -> User | None:
        return ("home", str(self.authorization)) if self.expires_at else None

    async def answered(self) -> None:
        self.seen.add("answered")


def _lifetime(authorization: str | None) -> timedelta | None:
    return {
        AUTHORIZATION: timedelta(hours=1),
        ANOTHER_AUTHORIZATION: timedelta(hours=1),
        "Bearer short": timedelta(seconds=0.3),
        "Bearer ended": timedelta(seconds=-1),
    }.get(authorization or "")


@strawberry.enum
class Level(Enum):
    LOW = "low"
    HIGH = "high"


@strawberry.input
class Plugin:
    plugin_id: strawberry.ID
    options: scalars.JSON | None = None
    retries: int = 0


@strawberry.input
class Message:
    topic: str
    level: Level = Level.LOW
    plugin: Plugin | None = None
    at: datetime | None = None
    tags: list[str] | None = None


@strawberry.input(one_of=True)
class Target:
    user: strawberry.Maybe[str]
    project: strawberry.Maybe[str]


@strawberry.type
class Branch:
    name: str = "leaf"

    @strawberry.field
    def left(self) -> Branch:
        return Branch()

    @strawberry.field
    def right(self) -> Branch:
        return Branch()


@strawberry.type
class Query:
    @strawberry.field
    def hello(self) -> str:
        return "world"

    @strawberry.field
    def via(self, info: Info[Context, None]) -> str:
        return info.context.via

    @strawberry.field
    def authorization(self, info: Info[Context, None]) -> str | None:
        return info.context.authorization

    @strawberry.field
    def branch(self) -> Branch:
        return Branch()

    @strawberry.field
    def echo(self, value: scalars.JSON) -> scalars.JSON:
        return value

    @strawberry.field
    def moment(self, at: datetime) -> datetime:
        return at

    @strawberry.field
    def cursor(self, after: scalars.Cursor) -> scalars.Cursor:
        return after

    @strawberry.field
    def same_id(self, id: strawberry.ID) -> strawberry.ID:
        return id

    @strawberry.field
    def find(self, target: Target) -> str:
        return repr(target)

    @strawberry.field
    def counted(self, first: int = 20) -> int:
        return first

    @strawberry.field
    def broken(self) -> str | None:
        raise RuntimeError(f"the database said {SECRET}")

    @strawberry.field
    def broken_required(self) -> str:
        raise RuntimeError(SECRET)

    @strawberry.field
    def too_large(self) -> int | None:
        return 2**40

    @strawberry.field
    def missing(self) -> str | None:
        raise NotFound("There is no such thing.")

    @strawberry.field
    def wrong(self) -> str | None:
        raise InvalidArgument("The topic is too long.", field="message.topic")

    @strawberry.field
    def unwritable(self) -> scalars.JSON:
        return scalars.JSON(object())


@strawberry.type
class Mutation:
    @strawberry.mutation
    def create(self, input: Message) -> str:
        return input.topic

    @strawberry.mutation
    def create_many(self, inputs: list[Message]) -> int:
        return len(inputs)

    @strawberry.mutation
    def delete(self, notification_ids: list[strawberry.ID]) -> int:
        return len(notification_ids)


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncIterator[int]:
        for number in range(1, to + 1):
            yield number

    @strawberry.subscription
    async def endless(self, info: Info[Context, None], name: str = "endless") -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            info.context.seen.add(f"{name} closed")

    @strawberry.subscription
    async def flood(self, info: Info[Context, None], name: str = "flood") -> AsyncIterator[str]:
        """Events for as long as they are taken."""
        try:
            while True:
                yield "x" * EVENT_BYTES
                await asyncio.sleep(0)
        finally:
            info.context.seen.add(f"{name} closed")

    @strawberry.subscription
    async def expired_after(self, events: int) -> AsyncIterator[int]:
        for number in range(events):
            yield number
        raise CursorExpired("Read the inbox anew.", field="after")

    @strawberry.subscription
    async def broken_after(self, events: int) -> AsyncIterator[int]:
        for number in range(events):
            yield number
        raise RuntimeError(SECRET)

    @strawberry.subscription
    async def unwritable_after(self, events: int) -> AsyncIterator[scalars.JSON]:
        for number in range(events):
            yield scalars.JSON(number)
        yield scalars.JSON(object())

    @strawberry.subscription
    async def branches(self) -> AsyncIterator[BrokenBranch]:
        yield BrokenBranch()
        yield BrokenBranch()


@strawberry.type
class BrokenBranch:
    name: str = "leaf"

    @strawberry.field
    def broken(self) -> str | None:
        raise NotFound("There is no such thing.")


def build() -> execution.Schema:
    config = StrawberryConfig(scalar_map=scalars.MAP)
    return execution.Schema(query=Query, mutation=Mutation, subscription=Subscription, config=config)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


@dataclass
class Served:
    """The transport, running."""

    app: http.GraphQLApp
    port: int
    seen: Seen
    complaints: list[logging.LogRecord]
    unsent: Callable[[], int]  # bytes that wait to be sent to the connection that has most of them
    stop: Callable[[], None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/graphql"

    def post(self, query: str, **more: Any) -> httpx.Response:
        content = json.dumps({"query": query, **more}).encode()  # lone surrogates stay escaped
        return self.send(content, Accept="application/graphql-response+json")

    def send(self, content: bytes, **headers: str) -> httpx.Response:
        given = {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return httpx.post(self.url, content=content, headers=given, timeout=DEADLINE_S)

    def is_well(self) -> bool:
        """Whether the next request is answered."""
        answer: object = self.post("{ hello }").json()
        return answer == {"data": {"hello": "world"}}

    @contextmanager
    def open(self, *protocols: str, **options: Any) -> Iterator[Client]:
        offered = [Subprotocol(protocol) for protocol in protocols or ("graphql-transport-ws",)]
        with connect(
            self.url.replace("http", "ws"), subprotocols=offered, open_timeout=DEADLINE_S, proxy=None, **options
        ) as connection:
            yield Client(connection)

    @contextmanager
    def socket(self, authorization: str = AUTHORIZATION) -> Iterator[Client]:
        """A websocket that is acknowledged already."""
        with self.open() as client:
            client.send({"type": "connection_init", "payload": {"Authorization": authorization}})
            assert client.receive() == {"type": "connection_ack"}
            yield client


@dataclass
class Client:
    """A websocket seen frame by frame."""

    connection: ClientConnection

    def send(self, message: object) -> None:
        self.connection.send(json.dumps(message))

    def receive(self) -> Any:
        frame = self.connection.recv(timeout=DEADLINE_S)
        assert isinstance(frame, str), "the protocol is spoken in text frames"
        return json.loads(frame)

    def subscribe(self, query: str, id: str = "1", **more: Any) -> None:
        self.send({"type": "subscribe", "id": id, "payload": {"query": query, **more}})

    def closed(self) -> tuple[int, str]:
        """The code and the reason that the server closes with, whatever it sends before."""
        try:
            while True:
                self.connection.recv(timeout=DEADLINE_S)
        except ConnectionClosed as closed:
            frame = closed.rcvd
        assert frame, "the connection was lost without a close frame: 1006"
        return frame.code, frame.reason


class _Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def _page(_request: Request) -> Response:
    return HTMLResponse("<h1>GraphiQL</h1>")


@contextmanager
def serve(
    limits: Limits | None = None, *, ping_interval: float = DEADLINE_S, socket_timeout: float = DEADLINE_S
) -> Iterator[Served]:
    """A server of its own for as long as the block runs, with every error it logs."""
    seen, complaints = Seen(), _Complaints()

    def open_context(authorization: str | None, via: http.Via) -> Context:
        lifetime = _lifetime(authorization)
        return Context(authorization, via, datetime.now(UTC) + lifetime if lifetime else None, seen)

    app = http.GraphQLApp(
        build(), open_context=open_context, ide=_page, sockets=Sockets(limits), ping_interval=ping_interval
    )
    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        lifespan="off",
        http=BoundedHTTP,
        ws=BoundedSocket,
        ws_max_size=websocket.MAX_MESSAGE_BYTES,
        ws_ping_interval=ping_interval,
        ws_ping_timeout=socket_timeout,
        access_log=False,
    )
    logging.getLogger().addHandler(complaints)
    server = _Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()

    def unsent() -> int:
        transports = [connection.transport for connection in list(server.server_state.connections)]
        return max((transport.get_write_buffer_size() for transport in transports), default=0)

    def stop() -> None:
        server.should_exit = True
        thread.join(DEADLINE_S)

    try:
        assert server.is_up.wait(DEADLINE_S)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(app, port, seen, complaints.records, unsent, stop)
    finally:
        stop()
        logging.getLogger().removeHandler(complaints)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def _served() -> Iterator[Served]:
    with serve() as served:
        yield served


@pytest.fixture
def server(_served: Served) -> Iterator[Served]:
    """The server. After each test it must be well, and must not have complained."""
    _served.complaints.clear()
    yield _served
    assert _served.is_well()
    assert [record.getMessage() for record in _served.complaints] == []
