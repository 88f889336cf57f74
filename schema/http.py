"""Answers GraphQL over HTTP as its specification says, and opens the websockets; extends Strawberry's view.

It must not know what a context holds beyond what is named here, nor who may ask for what.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from datetime import UTC, datetime
from enum import StrEnum
from json import JSONDecodeError
from typing import Any, Protocol

import orjson
import strawberry
from graphql import GraphQLError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from strawberry.asgi import GraphQL
from strawberry.exceptions import MissingQueryError
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData, process_result
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types.execution import ExecutionResult, PreExecutionError
from strawberry.types.graphql import OperationType

from resolvers.access import User
from resolvers.errors import Unauthenticated
from schema import body, conditional, errors, limits, negotiation, sse, websocket
from schema.body import Refusal
from schema.negotiation import EVENT_STREAM, GRAPHQL_RESPONSE, JSON
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

    async def answered(self) -> None:
        """Called once when a request's answer is out; never on websockets."""


# From the value of Authorization. An invalid token is kept in the context, and told by what first asks for the caller.
OpenContext = Callable[[str | None, Via], Context]


class GraphQLApp(GraphQL[Context, None]):
    """The ASGI application at /graphql: queries by GET, queries and mutations by POST, everything by websocket.

    Subscriptions are event streams by GET and POST. uvicorn has to be given `websocket.MAX_MESSAGE_BYTES` as
    ws_max_size, and `schema.bounded_http`, which ends the streams when the server stops.
    """

    websocket_adapter_class = websocket.Socket
    graphql_transport_ws_handler_class = websocket.Handler

    def __init__(
        self,
        schema: strawberry.Schema,
        *,
        open_context: OpenContext,
        ide: Callable[[Request], Response],
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
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive)
        if negotiation.is_for_a_browser(request):
            await self.ide(request)(scope, receive, send)
            return
        context = self._open(request)
        try:
            response = await self._response(request, context)
        except ClientDisconnect:
            return
        try:
            await response(scope, receive, send)
        except NoRoom as refusal:  # for an event stream
            await self._no_room(request, refusal)(scope, receive, send)
        if context:
            await _answered(context)

    def _open(self, request: Request) -> Context | None:
        if request.method not in (Via.GET, Via.POST):
            return None
        return self.open_context(request.headers.get("authorization"), Via(request.method))

    def open_socket(self, authorization: str | None) -> Context:
        return self.open_context(authorization, Via.WEBSOCKET)

    async def _response(self, request: Request, context: Context | None) -> ASGIApp:
        try:
            if context is None:
                raise Refusal(405, "GraphQL is asked by GET or POST.", headers={"Allow": "GET, POST"})
            return await self._answer(request, context)
        except Refusal as refusal:
            error = errors.invalid(refusal.reason, refusal.field)
            return self._error(request, error, refusal.status_code, refusal.headers)
        except ClientDisconnect:
            raise
        except Exception as exception:
            return self._error(request, errors.of(exception), 500, {})

    async def _answer(self, request: Request, context: Context) -> ASGIApp:
        media_type = negotiation.media_type(request)
        if media_type is None:
            raise Refusal(406, f"Answers are {GRAPHQL_RESPONSE}, {JSON} or {EVENT_STREAM}.")
        asked = await _asked(request)
        try:
            result = await _run(self.schema.execute, asked, context, _ALLOWED[Via(request.method)])
        except InvalidOperationTypeError as error:
            if error.operation_type is OperationType.SUBSCRIPTION and negotiation.takes_events(request):
                return await self._stream(request, asked, context)
            result = PreExecutionError(None, [_not_here(error.operation_type)])
        except (CannotGetOperationTypeError, MissingQueryError) as error:
            result = PreExecutionError(None, [errors.of(error)])
        return self._result(request, media_type, result)

    async def _stream(self, request: Request, asked: GraphQLRequestData, context: Context) -> ASGIApp:
        expires_at, now = context.expires_at, self.clock()
        if context.user is None or expires_at is None or expires_at <= now:
            return sse.response(self._written(Unauthenticated("A subscription needs a valid bearer token.")))
        if request.method == Via.GET:
            await body.read(request)  # so that what is received next is the end
        return EventStream(
            await _run(self.schema.stream, asked, context, {OperationType.SUBSCRIPTION}),
            context,
            user=context.user,
            lifetime=(expires_at - now).total_seconds(),
            ping_interval=self.ping_interval,
            write=self._written,
            sockets=self.sockets,
        )

    def _result(self, request: Request, media_type: str, result: ExecutionResult) -> Response:
        content = self._written(result)
        if media_type == EVENT_STREAM:
            return sse.response(content)
        status = 200
        if media_type == GRAPHQL_RESPONSE and _was_not_run(result):
            codes = {(error.extensions or {})["code"] for error in result.errors or ()}
            status = 500 if "INTERNAL" in codes else 400
        response = Response(content, status, media_type=f"{media_type}; charset=utf-8")
        if request.method == Via.GET:
            return conditional.answer(request, response, is_whole=not result.errors)
        return response

    def _written(self, outcome: ExecutionResult | Exception) -> bytes:
        if isinstance(outcome, Exception):
            return self.encode_json({"errors": [errors.of(outcome).formatted]})
        return self.encode_json(_response_to(outcome))

    def _no_room(self, request: Request, refusal: NoRoom) -> Response:
        error = errors.coded(str(refusal), websocket.LIMITED)
        return self._error(request, error, 429, {"Retry-After": str(COME_BACK_S)})

    def _error(self, request: Request, error: GraphQLError, status: int, headers: Mapping[str, str]) -> Response:
        accepted = negotiation.media_type(request)
        media_type = GRAPHQL_RESPONSE if accepted == GRAPHQL_RESPONSE else JSON
        content = self.encode_json({"errors": [error.formatted]})
        return Response(content, status, dict(headers), f"{media_type}; charset=utf-8")

    async def get_context(self, request: Any, response: Any) -> Context | None:  # type: ignore[override]
        """None for a socket: its token comes with connection_init."""
        return None

    def decode_json(self, data: str | bytes) -> object:
        """A websocket's message. Raises JSONDecodeError, which closes the socket."""
        try:
            return limits.json_value(data if isinstance(data, str) else data.decode())
        except ValueError as error:
            raise JSONDecodeError(str(error), "", 0) from None

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


async def _asked(request: Request) -> GraphQLRequestData:
    if request.method == Via.GET:
        return body.operation(body.parameters(request.query_params))
    body.check_type(request.headers)
    return body.operation(body.parsed(await body.read(request), "The body"))


async def _run(
    how: Callable[..., Awaitable[Any]], asked: GraphQLRequestData, context: Context, allowed: Set[OperationType]
) -> Any:
    """Raises CannotGetOperationTypeError, InvalidOperationTypeError, MissingQueryError."""
    return await how(
        asked.query,
        variable_values=asked.variables,
        context_value=context,
        operation_name=asked.operation_name,
        allowed_operation_types=allowed,
        operation_extensions=asked.extensions,
    )


def _response_to(result: ExecutionResult) -> GraphQLHTTPResponse:
    response = process_result(result)
    if _was_not_run(result):
        del response["data"]  # the specification wants none then, not even null
    return response


def _was_not_run(result: ExecutionResult) -> bool:
    return bool(result.errors) and result.data is None and all(error.path is None for error in result.errors or ())


_ALLOWED = {Via.GET: {OperationType.QUERY}, Via.POST: {OperationType.QUERY, OperationType.MUTATION}}


def _not_here(operation_type: OperationType) -> GraphQLError:
    """Raises Refusal for a mutation: it can only have come by GET."""
    if operation_type is OperationType.MUTATION:
        raise Refusal(405, "GET runs queries only: send mutations by POST.", field="query", headers={"Allow": "POST"})
    message = f"Subscriptions run over a websocket ({GRAPHQL_TRANSPORT_WS_PROTOCOL}), or with Accept: {EVENT_STREAM}."
    return errors.invalid(message, "query")
