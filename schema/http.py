"""Answers GraphQL over HTTP as its specification says, and opens the websockets; extends Strawberry's view.

It must not know what a context holds beyond what is named here, nor who may ask for what.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

import orjson
from graphql import GraphQLError
from starlette import requests
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import MissingQueryError
from strawberry.http import GraphQLHTTPResponse, process_result
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types.execution import ExecutionResult, PreExecutionError
from strawberry.types.graphql import OperationType

from resolvers.access import User
from resolvers.errors import Unauthenticated
from schema import answer, body, conditional, errors, negotiation, request, sse, websocket
from schema.answer import Answer
from schema.asked import Asked
from schema.body import ClientLeft, Refusal
from schema.documents import PersistedQueryNotFound
from schema.execution import Schema
from schema.negotiation import EVENT_STREAM, GRAPHQL_RESPONSE, JSON
from schema.request import Request
from schema.sockets import NoRoom, Sockets
from schema.sse import EventStream

PING_INTERVAL_S = 12.0  # of event streams: what stands between takes a minute of silence for an end
COME_BACK_S = 5  # when there was no room


class Via(StrEnum):
    """How a request came."""

    GET = "GET"
    POST = "POST"
    WEBSOCKET = "WEBSOCKET"


class Context(Protocol):
    """What the transport needs to know of a request's or a socket's context."""

    @property
    def expires_at(self) -> datetime | None:
        """When the caller's token ends; None without a valid one, and once it was revoked."""

    @property
    def user(self) -> User | None:
        """Whose sockets it is counted with; None without a valid token."""

    @property
    def marks(self) -> bool:
        """Whether there is something to do once a request's answer is out."""

    async def answered(self) -> None:
        """Called once when a request's answer is out, if there is something to do; never on websockets."""


# From the value of Authorization. An invalid token is kept in the context, and told by what first asks for the caller.
OpenContext = Callable[[str | None, Via], Context]


class GraphQLApp(GraphQL[Context, None]):
    """The ASGI application at /graphql: queries by GET, queries and mutations by POST, everything by websocket.

    Subscriptions are event streams by GET and POST. uvicorn has to run it as `schema.serving` says: what bounds
    messages, and ends the streams when the server stops, is there.
    """

    schema: Schema

    def __init__(
        self,
        schema: Schema,
        *,
        open_context: OpenContext,
        ide: Callable[[requests.Request], Response],
        allowed_origins: Sequence[str] = (),
        sockets: Sockets | None = None,
        ping_interval: float = PING_INTERVAL_S,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(
            schema,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=websocket.CONNECTION_INIT_TIMEOUT,
            allowed_origins=allowed_origins,
        )
        self.open_context = open_context
        self.ide = ide
        self.sockets = sockets or Sockets()
        self.ping_interval = ping_interval
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._socket(scope, receive, send)
            return
        asking = request.of(scope, receive)
        if asking.method == Via.GET and _is_for_a_browser(asking):
            await self.ide(requests.Request(scope, receive))(scope, receive, send)
            return
        context = self._open(asking)
        try:
            response = await self._answer(asking, context)
        except ClientLeft:
            return
        except Exception as error:
            response = self._refusal(asking, error)
        try:
            await response(scope, receive, send)
        except NoRoom as refusal:  # for an event stream
            await self._no_room(asking, refusal)(scope, receive, send)
        if context is not None and context.marks:
            await _answered(context)

    def _open(self, asking: Request) -> Context | None:
        via = _METHODS.get(asking.method)
        return None if via is None else self.open_context(asking.authorization, via)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        handshake = WebSocket(scope, receive, send)
        if not self._check_websocket_origin(handshake):
            await self.reject_websocket(handshake)
            return
        del handshake
        socket = websocket.Socket(self, receive, send)
        await socket.accept(scope)
        await socket.run()

    def open_socket(self, authorization: str | None) -> Context:
        return self.open_context(authorization, Via.WEBSOCKET)

    async def _answer(self, asking: Request, context: Context | None) -> ASGIApp:
        """Raises Refusal, ClientLeft, and what nobody expects."""
        if context is None:
            raise Refusal(405, "GraphQL is asked by GET or POST.", headers={"Allow": "GET, POST"})
        media_type = negotiation.accepted(asking.accept).media_type
        if media_type is None:
            raise Refusal(406, f"Answers are {GRAPHQL_RESPONSE}, {JSON} or {EVENT_STREAM}.")
        asked = await _asked(asking)
        document = self.schema.documents.of(asked)
        if isinstance(document, PreExecutionError):
            return self._result(asking, media_type, document)
        content = await document.planned(asked, context)
        if content is not None:
            return _whole(asking, media_type, content)
        return await self._executed(asking, media_type, asked._replace(query=document.text), context)

    async def _executed(self, asking: Request, media_type: str, asked: Asked, context: Context) -> ASGIApp:
        try:
            result = await _run(self.schema.execute, asked, context, _ALLOWED[asking.method])
        except InvalidOperationTypeError as error:
            takes_events = negotiation.accepted(asking.accept).takes_events
            if error.operation_type is OperationType.SUBSCRIPTION and takes_events:
                return await self._stream(asking, asked, context)
            result = PreExecutionError(None, [_not_here(error.operation_type)])
        except (CannotGetOperationTypeError, MissingQueryError) as error:
            result = PreExecutionError(None, [errors.of(error)])
        return self._result(asking, media_type, result)

    async def _stream(self, asking: Request, asked: Asked, context: Context) -> ASGIApp:
        expires_at, now = context.expires_at, self.clock()
        if context.user is None or expires_at is None or expires_at <= now:
            return sse.answer(self._written(Unauthenticated("A subscription needs a valid bearer token.")))
        if asking.method == Via.GET:
            await body.read(asking.receive)  # so that what is received next is the end
        return EventStream(
            await _run(self.schema.stream, asked, context, {OperationType.SUBSCRIPTION}),
            context,
            user=context.user,
            lifetime=(expires_at - now).total_seconds(),
            ping_interval=self.ping_interval,
            write=self._written,
            sockets=self.sockets,
        )

    def _result(self, asking: Request, media_type: str, result: ExecutionResult) -> Answer:
        status = 200
        if media_type == GRAPHQL_RESPONSE and _was_not_run(result):
            status = _status({(error.extensions or {})["code"] for error in result.errors or ()})
        return _whole(asking, media_type, self._written(result), status, went_well=not result.errors)

    def _written(self, outcome: ExecutionResult | Exception) -> bytes:
        if isinstance(outcome, Exception):
            return self.encode_json({"errors": [errors.of(outcome).formatted]})
        return self.encode_json(_response_to(outcome))

    def _no_room(self, asking: Request, refusal: NoRoom) -> Answer:
        error = errors.coded(str(refusal), websocket.LIMITED)
        return self._error(asking, error, 429, {"Retry-After": str(COME_BACK_S)})

    def _refusal(self, asking: Request, error: Exception) -> Answer:
        if isinstance(error, Refusal):
            told = errors.invalid(error.reason, error.field)
            return self._error(asking, told, error.status_code, error.headers)
        return self._error(asking, errors.of(error), 500, {})

    def _error(self, asking: Request, error: GraphQLError, status: int, headers: Mapping[str, str]) -> Answer:
        accepted = negotiation.accepted(asking.accept).media_type
        media_type = GRAPHQL_RESPONSE if accepted == GRAPHQL_RESPONSE else JSON
        content = self.encode_json({"errors": [error.formatted]})
        return answer.of(content, _CONTENT_TYPES[media_type], status, answer.raw(headers))

    def encode_json(self, data: object) -> bytes:
        try:
            return orjson.dumps(data)
        except TypeError:  # an integer over 64 bits, or a lone surrogate
            return json.dumps(data, separators=(",", ":")).encode()


async def _answered(context: Context) -> None:
    try:
        await context.answered()
    except Exception as error:  # the caller has its answer
        errors.record("after_answer_failed", error)


def _is_for_a_browser(asking: Request) -> bool:
    return negotiation.accepted(asking.accept).prefers_pages and not _NAMING_A_DOCUMENT & asking.parameters.keys()


async def _asked(asking: Request) -> Asked:
    if asking.method == Via.GET:
        return body.operation(body.parameters(asking.parameters))
    body.check_type(asking.content_type, asking.content_encoding)
    return body.operation(body.parsed(await body.read(asking.receive), "The body"))


async def _run(how: Callable[..., Awaitable[Any]], asked: Asked, context: Context, allowed: Set[OperationType]) -> Any:
    """Raises CannotGetOperationTypeError, InvalidOperationTypeError, MissingQueryError."""
    return await how(
        asked.query,
        variable_values=asked.variables,
        context_value=context,
        operation_name=asked.operation_name,
        allowed_operation_types=allowed,
        operation_extensions=asked.extensions,
    )


def _whole(asking: Request, media_type: str, content: bytes, status: int = 200, *, went_well: bool = True) -> Answer:
    if media_type == EVENT_STREAM:
        return sse.answer(content)
    given = answer.of(content, _CONTENT_TYPES[media_type], status)
    if asking.method == Via.GET:
        return conditional.answer(asking.if_none_match, given, is_whole=went_well)
    return given


def _response_to(result: ExecutionResult) -> GraphQLHTTPResponse:
    response = process_result(result)
    if _was_not_run(result):
        del response["data"]  # the specification wants none then, not even null
    return response


def _was_not_run(result: ExecutionResult) -> bool:
    return bool(result.errors) and result.data is None and all(error.path is None for error in result.errors or ())


def _status(codes: Set[str]) -> int:
    """Of what was not run."""
    if "INTERNAL" in codes:
        return 500
    return 200 if codes == {PersistedQueryNotFound.code} else 400  # its clients look into no other answer


_METHODS: Mapping[str, Via] = {"GET": Via.GET, "POST": Via.POST}
_ALLOWED: Mapping[str, Set[OperationType]] = {
    Via.GET: {OperationType.QUERY},
    Via.POST: {OperationType.QUERY, OperationType.MUTATION},
}
_CONTENT_TYPES = {media_type: f"{media_type}; charset=utf-8".encode() for media_type in (JSON, GRAPHQL_RESPONSE)}
_NAMING_A_DOCUMENT = frozenset({"query", "documentId", "extensions"})


def _not_here(operation_type: OperationType) -> GraphQLError:
    """Raises Refusal for a mutation: it can only have come by GET."""
    if operation_type is OperationType.MUTATION:
        raise Refusal(405, "GET runs queries only: send mutations by POST.", field="query", headers={"Allow": "POST"})
    message = f"Subscriptions run over a websocket ({GRAPHQL_TRANSPORT_WS_PROTOCOL}), or with Accept: {EVENT_STREAM}."
    return errors.invalid(message, "query")
