"""Speaks graphql-transport-ws to the letter, within bounds; extends Strawberry's handler where that falls short.

It must not look into an operation: what a query may ask for is `schema.limits`' business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import orjson
from graphql import GraphQLError
from starlette.websockets import WebSocketDisconnect, WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler, Operation
from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
    ConnectionInitMessage,
    SubscribeMessage,
)
from strawberry.types.execution import ExecutionResult, PreExecutionError
from strawberry.utils.aio import aclosing

from resolvers.access import User
from schema import errors
from schema.asked import Asked
from schema.bounded_socket import PUSH
from schema.sockets import CloseCode, NoRoom

MAX_MESSAGE_BYTES = 1024 * 1024  # as a request's body; uvicorn's ws_max_size closes with 1009 above it
MAX_ID_CHARACTERS = 256  # it is repeated in every event
MAX_OPERATIONS = 100  # at a time on one socket; a page has a handful
LIMITED = "RATE_LIMITED"
CONNECTION_INIT_TIMEOUT = timedelta(seconds=10)
MAX_REASON_BYTES = 123  # RFC 6455 5.5: a close frame has 125, two of them for the code


class Socket(ASGIWebSocketAdapter):
    """Strawberry's websocket, sending text only and closing once."""

    @property
    def is_open(self) -> bool:
        """Whether nobody has begun to close it."""
        return self.ws.application_state is WebSocketState.CONNECTED

    async def send_json(self, message: Mapping[str, object]) -> None:
        if not self.is_open:
            raise WebSocketDisconnected
        try:
            await self.ws.send_text(self.view.encode_json_string(message))
        except WebSocketDisconnect as error:
            raise WebSocketDisconnected from error

    async def close(self, code: int, reason: str) -> None:
        if not self.is_open:
            return
        with suppress(WebSocketDisconnect):
            await self.ws.close(code, _cut(reason))


def _cut(reason: str) -> str:
    return reason.encode(errors="replace")[:MAX_REASON_BYTES].decode(errors="ignore")


class Handler(BaseGraphQLTransportWSHandler[Any, None]):
    """One socket. Its context is opened by connection_init and serves all of its operations."""

    view: Any  # schema.http.GraphQLApp, which imports this module
    websocket: Socket
    expiry: asyncio.Task[None] | None = None

    async def handle(self) -> None:
        try:
            with self.view.sockets.opened():
                await super().handle()
        except NoRoom as refusal:
            await self.websocket.close(CloseCode.TRY_AGAIN_LATER, f"{LIMITED}: {refusal}")

    async def handle_message(self, message: object) -> None:
        if fault := _fault(message):
            await self.handle_invalid_message(fault)
        else:
            await super().handle_message(message)  # type: ignore[arg-type]

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        if self.connection_timed_out:
            return
        if self.connection_init_received:
            await self.websocket.close(CloseCode.INITIALISED_TWICE, "Too many initialisation requests")
            return
        self.connection_init_received = True
        assert self.connection_init_timeout_task
        self.connection_init_timeout_task.cancel()
        self.connection_init_timeout_task = None  # its end would be kept with all that led to it
        self.context = self.view.open_socket(self._authorization(message.get("payload") or {}))
        expires_at = self.context.expires_at
        if expires_at is None or expires_at <= self.view.clock():
            await self.websocket.close(
                CloseCode.FORBIDDEN, "UNAUTHENTICATED: connection_init needs a valid bearer token"
            )
            return
        try:
            self.view.sockets.join(self.context.user, self)
        except NoRoom as refusal:
            await self.websocket.close(CloseCode.TRY_AGAIN_LATER, f"{LIMITED}: {refusal}")
            return
        self.expiry = asyncio.create_task(self._close_at(expires_at))
        await self.send_message({"type": "connection_ack"})
        self.connection_acknowledged = True

    def _authorization(self, payload: Mapping[str, object]) -> str | None:
        """The payload's, whatever its case; else that of the upgrade request, which browsers cannot set."""
        for key, value in payload.items():
            if key.lower() == "authorization":
                return value if isinstance(value, str) else None
        header: str | None = self.websocket.ws.headers.get("authorization")
        return header

    async def _close_at(self, expires_at: datetime) -> None:
        await asyncio.sleep((expires_at - self.view.clock()).total_seconds())
        await self.websocket.close(CloseCode.FORBIDDEN, "UNAUTHENTICATED: the token has expired")

    def close_if_refused(self) -> None:
        if self.expiry and self.websocket.is_open and self.context.expires_at is None:
            self.expiry.cancel()
            reason = "UNAUTHENTICATED: the token was revoked"
            self.expiry = asyncio.create_task(self.websocket.close(CloseCode.FORBIDDEN, reason))

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        id, user = message["id"], self.context.user if self.connection_acknowledged else None
        if user is None or id in self.operations:
            await super().handle_subscribe(message)  # which closes the socket
            return
        document = self.view.schema.documents.of(_asked(message["payload"]))
        if isinstance(document, PreExecutionError):
            await self._refuse(id, document.errors or [])
            return
        message["payload"]["query"] = document.text
        try:
            self._make_room(user)
        except NoRoom as refusal:
            await self._refuse(id, [errors.coded(str(refusal), LIMITED)])
            return
        await super().handle_subscribe(message)
        # Its place is free when it has ended, which may be some time after it was told to.
        task = self.operations[id].task
        assert task
        task.add_done_callback(lambda _: self.view.sockets.stop(user))

    async def _refuse(self, id: str, found: Sequence[GraphQLError]) -> None:
        await self.send_message({"id": id, "type": "error", "payload": [error.formatted for error in found]})

    def _make_room(self, user: User) -> None:
        if len(self.operations) >= MAX_OPERATIONS:
            raise NoRoom(f"A socket runs at most {MAX_OPERATIONS} operations at a time.")
        self.view.sockets.start(user)

    async def run_operation(self, operation: Operation[Any, None]) -> None:
        try:
            await self._send_results(operation)
            await operation.send_operation_message({"id": operation.id, "type": "complete"})
        except WebSocketDisconnected:
            pass
        except Exception as error:
            with suppress(WebSocketDisconnected):
                await operation.send_initial_errors([errors.of(error)])

    async def _send_results(self, operation: Operation[Any, None]) -> None:
        results = await self.schema.stream(
            operation.query,
            variable_values=operation.variables,
            context_value=self.context,
            root_value=_outlet(self.websocket, operation),
            operation_name=operation.operation_name or None,
        )
        async with aclosing(results):
            async for result in results:
                assert isinstance(result, ExecutionResult)  # @defer and @stream are not switched on
                if result.errors and _is_the_end(result):
                    await operation.send_initial_errors(result.errors)
                    return
                await operation.send_next(result)

    async def shutdown(self) -> None:
        if self.expiry:
            self.expiry.cancel()
            self.view.sockets.leave(self.context.user, self)
        await super().shutdown()


class Events:
    """Where the live events of an operation go: as they are, between two messages of the socket."""

    __slots__ = ("_head", "_operation", "_push", "_socket")

    def __init__(self, socket: Socket, operation: Operation[Any, None], push: Callable[[bytes], bool]) -> None:
        self._socket = socket
        self._operation = operation
        self._push = push
        self._head = b'{"id":%b,"type":"next","payload":' % orjson.dumps(operation.id)

    def push(self, payload: bytes) -> bool:
        is_over = self._operation.completed or not self._socket.is_open
        return not is_over and self._push(b"%b%b}" % (self._head, payload))


def _outlet(socket: Socket, operation: Operation[Any, None]) -> Events | None:
    """None where uvicorn's socket is none of ours."""
    push = socket.ws.scope.get("extensions", {}).get(PUSH)
    return None if push is None else Events(socket, operation, push[PUSH])


def _is_the_end(result: ExecutionResult) -> bool:
    """Whether no operation was run, or its stream broke; an error with a path belongs to one event."""
    return isinstance(result, PreExecutionError) or all(error.path is None for error in result.errors or ())


def _fault(message: object) -> str | None:
    """Why a message is none of the protocol's; it closes the socket with 4400."""
    if not isinstance(message, dict):
        return "A message must be a JSON object"
    match message.get("type"):
        case "connection_init" | "ping" | "pong":
            return None if _is_object(message.get("payload")) else "payload must be an object"
        case "subscribe":
            return _id_fault(message.get("id")) or _payload_fault(message.get("payload"))
        case "complete":
            return _id_fault(message.get("id"))
    return "type must be that of a client's message"


def _id_fault(id: object) -> str | None:
    if not isinstance(id, str) or not 0 < len(id) <= MAX_ID_CHARACTERS:
        return f"id must be a string of 1 to {MAX_ID_CHARACTERS} characters"
    if any("\ud800" <= character <= "\udfff" for character in id):
        return "id must not have a lone surrogate: it could not be sent back"
    return None


def _payload_fault(payload: object) -> str | None:
    if not isinstance(payload, dict):
        return "payload must be an object"
    if not isinstance(payload.get("documentId"), str | None):
        return "payload.documentId must be a string or null"
    if not isinstance(payload.get("operationName"), str | None):
        return "payload.operationName must be a string or null"
    if not _is_object(payload.get("variables")) or not _is_object(payload.get("extensions")):
        return "payload.variables and payload.extensions must be objects or null"
    is_named = payload.get("documentId") or "persistedQuery" in (payload.get("extensions") or ())
    if not isinstance(payload.get("query"), str | None if is_named else str):
        return "payload.query must be a string"
    return None


def _asked(payload: Mapping[str, Any]) -> Asked:
    names = ("query", "variables", "operationName", "extensions", "documentId")
    query, variables, operation_name, extensions, document_id = map(payload.get, names)
    return Asked(query, variables, operation_name or None, extensions, document_id or None)


def _is_object(value: object) -> bool:
    return value is None or isinstance(value, dict)
