"""Speaks graphql-transport-ws to the letter, within bounds, and with little kept for a socket on which nothing happens.

It must not look into an operation: what a query may ask for is `schema.limits`' business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Protocol

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types.execution import PreExecutionError

from resolvers.access import User
from schema import errors, limits, messages
from schema.asked import Asked
from schema.bounded_socket import PUSH
from schema.documents import Documents
from schema.operation import Closed, Operation, Stream
from schema.sockets import CloseCode, NoRoom, Sockets

MAX_MESSAGE_BYTES = 1024 * 1024  # as a request's body; uvicorn's ws_max_size closes with 1009 above it
MAX_OPERATIONS = 100  # at a time on one socket; a page has a handful
LIMITED = "RATE_LIMITED"
CONNECTION_INIT_TIMEOUT = timedelta(seconds=10)
MAX_REASON_BYTES = 123  # RFC 6455 5.5: a close frame has 125, two of them for the code


class Context(Protocol):
    """What a socket needs to know of its context."""

    @property
    def expires_at(self) -> datetime | None: ...

    @property
    def user(self) -> User | None: ...


class Schema(Protocol):
    """What runs the operations."""

    @property
    def documents(self) -> Documents: ...

    @property
    def stream(self) -> Stream: ...


class App(Protocol):
    """What all sockets have in common."""

    @property
    def schema(self) -> Schema: ...

    @property
    def sockets(self) -> Sockets: ...

    @property
    def connection_init_wait_timeout(self) -> timedelta: ...

    def clock(self) -> datetime: ...

    def open_socket(self, authorization: str | None) -> Context: ...

    def encode_json(self, data: object) -> bytes: ...


class Socket:
    """One socket. Its context is opened by connection_init and serves all of its operations."""

    __slots__ = (
        "_app",
        "_authorization",
        "_context",
        "_end",
        "_operations",
        "_receive",
        "_send",
        "_user",
        "is_open",
        "push",
    )

    def __init__(self, app: App, receive: Receive, send: Send) -> None:
        self._app = app
        self._receive = receive
        self._send = send
        self.is_open = True  # nobody has begun to close it
        self._authorization: str | None = None  # of the upgrade
        self.push: Callable[[bytes], bool] | None = None  # where uvicorn's socket is one of ours
        self._context: Context | None = None  # since connection_init
        self._user: User | None = None  # who is counted
        self._operations: dict[str, Operation] = {}
        self._end: asyncio.TimerHandle | asyncio.Task[None] | None = None  # what will close it

    async def accept(self, scope: Scope) -> None:
        """Answer the upgrade, and take from it what will be needed."""
        self._authorization = Headers(scope=scope).get("authorization")
        self.push = scope.get("extensions", {}).get(PUSH, {}).get(PUSH)
        is_spoken = GRAPHQL_TRANSPORT_WS_PROTOCOL in scope["subprotocols"]
        protocol = GRAPHQL_TRANSPORT_WS_PROTOCOL if is_spoken else None
        await self._receive()  # that somebody is there
        await self._send({"type": "websocket.accept", "subprotocol": protocol, "headers": []})
        scope.clear()  # it lasts as long as the socket, and would be a tenth of what that takes
        if not is_spoken:
            await self.close(CloseCode.BAD_SUBPROTOCOL, "Subprotocol not acceptable")

    async def run(self) -> None:
        """Until it is closed."""
        try:
            self._app.sockets.enter()
        except NoRoom as refusal:
            await self._close_for(refusal)
            return
        self._close_in(
            self._app.connection_init_wait_timeout,
            CloseCode.INITIALISED_TOO_LATE,
            "Connection initialisation timeout",
        )
        try:
            while self.is_open:
                await self._take(await self._receive())
        except Closed:
            pass
        finally:
            await self._leave()

    async def close(self, code: int, reason: str) -> None:
        if self.is_open:
            self.is_open = False
            with suppress(OSError):  # it is gone already
                await self._send({"type": "websocket.close", "code": code, "reason": _cut(reason)})

    def close_if_refused(self) -> None:
        assert self._context
        if self.is_open and self._context.expires_at is None:
            self._close_soon(CloseCode.FORBIDDEN, "UNAUTHENTICATED: the token was revoked")

    # What its operations ask of it.

    async def send(self, message: bytes) -> None:
        """Raises Closed."""
        if not self.is_open:
            raise Closed
        try:
            await self._send({"type": "websocket.send", "text": message.decode()})
        except OSError as error:
            raise Closed from error

    def written(self, value: object) -> bytes:
        """It as JSON. Raises TypeError."""
        return self._app.encode_json(value)

    def release(self, operation: Operation) -> None:
        if self._operations.get(operation.id) is operation:
            del self._operations[operation.id]

    def ended(self, _operation: Operation) -> None:
        assert self._user
        self._app.sockets.stop(self._user)

    # What the client says.

    async def _take(self, received: Mapping[str, Any]) -> None:
        if received["type"] == "websocket.disconnect":
            self.is_open = False
            return
        text = received.get("text")
        if text is None:
            await self.close(CloseCode.BAD_MESSAGE, "WebSocket message type must be text")
            return
        try:
            message: Any = limits.json_value(text)
        except ValueError:
            await self.close(CloseCode.BAD_MESSAGE, "WebSocket message must be valid JSON")
            return
        if fault := messages.fault(message):
            await self.close(CloseCode.BAD_MESSAGE, fault)
        else:
            await self._obey(message)

    async def _obey(self, message: Mapping[str, Any]) -> None:
        match message["type"]:
            case "connection_init":
                await self._initialise(message.get("payload") or {})
            case "ping":
                await self.send(self.written({"type": "pong"}))
            case "subscribe":
                await self._subscribe(message["id"], messages.asked(message["payload"]))
            case "complete":
                if operation := self._operations.pop(message["id"], None):
                    operation.stop()

    async def _initialise(self, payload: Mapping[str, object]) -> None:
        if self._context is not None:
            await self.close(CloseCode.INITIALISED_TWICE, "Too many initialisation requests")
            return
        context = self._context = self._app.open_socket(messages.authorization(payload, self._authorization))
        now, expires_at, user = self._app.clock(), context.expires_at, context.user
        if user is None or expires_at is None or expires_at <= now:
            reason = "UNAUTHENTICATED: connection_init needs a valid bearer token"
            await self.close(CloseCode.FORBIDDEN, reason)
            return
        try:
            self._app.sockets.join(user, self)
        except NoRoom as refusal:
            await self._close_for(refusal)
            return
        self._user = user
        self._close_in(expires_at - now, CloseCode.FORBIDDEN, "UNAUTHENTICATED: the token has expired")
        await self.send(self.written({"type": "connection_ack"}))

    async def _subscribe(self, id: str, asked: Asked) -> None:
        if self._user is None:
            await self.close(CloseCode.NOT_INITIALISED, "Unauthorized")
        elif id in self._operations:
            await self.close(CloseCode.ID_IN_USE, f"Subscriber for {id} already exists")
        else:
            await self._begin(Operation(self, id), asked, self._user)

    async def _begin(self, operation: Operation, asked: Asked, user: User) -> None:
        document = self._app.schema.documents.of(asked)
        if isinstance(document, PreExecutionError):
            await operation.refuse(document.errors or [])
            return
        try:
            self._make_room(user)
        except NoRoom as refusal:
            await operation.refuse([errors.coded(str(refusal), LIMITED)])
            return
        self._operations[operation.id] = operation
        operation.start(self._app.schema.stream, document, asked, self._context)

    def _make_room(self, user: User) -> None:
        """For an operation. Raises NoRoom."""
        if len(self._operations) >= MAX_OPERATIONS:
            raise NoRoom(f"A socket runs at most {MAX_OPERATIONS} operations at a time.")
        self._app.sockets.start(user)

    # Its end.

    async def _close_for(self, refusal: NoRoom) -> None:
        await self.close(CloseCode.TRY_AGAIN_LATER, f"{LIMITED}: {refusal}")

    def _close_in(self, time: timedelta, code: CloseCode, reason: str) -> None:
        if self._end is not None:
            self._end.cancel()
        self._end = asyncio.get_running_loop().call_later(time.total_seconds(), self._close_soon, code, reason)

    def _close_soon(self, code: CloseCode, reason: str) -> None:
        if self._end is not None:
            self._end.cancel()
        self._end = asyncio.create_task(self.close(code, reason))

    async def _leave(self) -> None:
        """End all that it runs, and wait for that."""
        self.is_open = False
        if self._end is not None:
            self._end.cancel()
        if self._user is not None:
            self._app.sockets.leave(self._user, self)
        try:
            running = [*self._operations.values()]
            for operation in running:
                operation.stop()
            for operation in running:
                await operation.stopped()
        finally:
            self._app.sockets.exit()


def _cut(reason: str) -> str:
    return reason.encode(errors="replace")[:MAX_REASON_BYTES].decode(errors="ignore")
