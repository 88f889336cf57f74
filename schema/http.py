"""Answers GraphQL over HTTP as its specification says, and opens the websockets; extends Strawberry's view.

It must not know what a context holds beyond what is named here, nor who may ask for what.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from json import JSONDecodeError
from typing import Any, Protocol

import orjson
import strawberry
from cross_web import AsyncHTTPRequestAdapter, StarletteRequestAdapter
from graphql import GraphQLError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from strawberry.asgi import GraphQL
from strawberry.exceptions import MissingQueryError
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types.execution import ExecutionResult, PreExecutionError
from strawberry.types.graphql import OperationType

from schema import body, errors, limits, negotiation, websocket
from schema.body import Refusal
from schema.negotiation import GRAPHQL_RESPONSE, JSON


class Via(StrEnum):
    """How a request came."""

    GET = "GET"
    POST = "POST"
    WEBSOCKET = "WEBSOCKET"


class Context(Protocol):
    """What the transport needs to know of a request's or a socket's context."""

    @property
    def expires_at(self) -> datetime | None:
        """When the caller's token ends; None without a valid one."""

    async def answered(self) -> None:
        """Called once when a request's answer is out; never on websockets."""


# From the value of Authorization. An invalid token is kept in the context, and told by what first asks for the caller.
OpenContext = Callable[[str | None, Via], Context]


class _BoundedRequest(StarletteRequestAdapter):
    async def get_body(self) -> bytes:
        return await body.read(self._request)


class GraphQLApp(GraphQL[Context, None]):
    """The ASGI application at /graphql: queries by GET, queries and mutations by POST, everything by websocket.

    uvicorn has to be given `websocket.MAX_MESSAGE_BYTES` as ws_max_size.
    """

    request_adapter_class = _BoundedRequest
    websocket_adapter_class = websocket.Socket
    graphql_transport_ws_handler_class = websocket.Handler

    def __init__(
        self,
        schema: strawberry.Schema,
        *,
        open_context: OpenContext,
        ide: Callable[[Request], Response],
        allowed_origins: Sequence[str] = (),
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
        await response(scope, receive, send)
        if context:
            await _answered(context)

    def _open(self, request: Request) -> Context | None:
        if request.method not in (Via.GET, Via.POST):
            return None
        return self.open_context(request.headers.get("authorization"), Via(request.method))

    def open_socket(self, authorization: str | None) -> Context:
        return self.open_context(authorization, Via.WEBSOCKET)

    async def _response(self, request: Request, context: Context | None) -> Response:
        try:
            if context is None:
                raise Refusal(405, "GraphQL is asked by GET or POST.", headers={"Allow": "GET, POST"})
            return await self.run(request, context)
        except Refusal as refusal:
            error = errors.invalid(refusal.reason, refusal.field)
            return self._error(request, error, refusal.status_code, refusal.headers)
        except ClientDisconnect:
            raise
        except Exception as exception:
            return self._error(request, errors.of(exception), 500, {})

    def _error(self, request: Request, error: GraphQLError, status: int, headers: Mapping[str, str]) -> Response:
        media_type = negotiation.media_type(request) or JSON
        content = self.encode_json({"errors": [error.formatted]})
        return Response(content, status, dict(headers), f"{media_type}; charset=utf-8")

    async def get_context(self, request: Any, response: Any) -> Context | None:  # type: ignore[override]
        """None for a socket: its token comes with connection_init."""
        return None

    async def get_sub_response(self, request: Any) -> Response:
        """Carries the media type to `create_response`, which does not see the request."""
        media_type = negotiation.media_type(request)
        if media_type is None:
            raise Refusal(406, f"Answers are {GRAPHQL_RESPONSE} or {JSON}.")
        return Response(media_type=media_type)

    def should_render_graphql_ide(self, request: Any) -> bool:
        return False  # it is served before a context is opened

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData:
        if request.method == "GET":
            return body.operation(body.parameters(request.query_params))
        body.check_type(request.headers)
        return body.operation(body.parsed(await request.get_body(), "The body"))

    async def execute_single(self, request: Any, *_args: Any, **given: Any) -> ExecutionResult:
        asked: GraphQLRequestData = given["request_data"]
        try:
            return await self.schema.execute(
                asked.query,
                variable_values=asked.variables,
                context_value=given["context"],
                operation_name=asked.operation_name,
                allowed_operation_types=_ALLOWED[request.method],
                operation_extensions=asked.extensions,
            )
        except InvalidOperationTypeError as error:
            return PreExecutionError(None, [_not_here(error.operation_type)])
        except (CannotGetOperationTypeError, MissingQueryError) as error:
            return PreExecutionError(None, [errors.of(error)])

    async def process_result(self, request: Any, result: ExecutionResult) -> GraphQLHTTPResponse:
        response = await super().process_result(request, result)
        if result.errors and result.data is None and all(error.path is None for error in result.errors):
            del response["data"]  # nothing was run: the specification wants no data then, not even null
        return response

    def create_response(self, response_data: Any, sub_response: Response) -> Response:
        media_type = sub_response.media_type
        status = 200
        if media_type == GRAPHQL_RESPONSE and "data" not in response_data:
            codes = {error["extensions"]["code"] for error in response_data["errors"]}
            status = 500 if "INTERNAL" in codes else 400
        return Response(self.encode_json(response_data), status, media_type=f"{media_type}; charset=utf-8")

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


_ALLOWED = {Via.GET: {OperationType.QUERY}, Via.POST: {OperationType.QUERY, OperationType.MUTATION}}


def _not_here(operation_type: OperationType) -> GraphQLError:
    """Raises Refusal for a mutation: it can only have come by GET."""
    if operation_type is OperationType.MUTATION:
        raise Refusal(405, "GET runs queries only: send mutations by POST.", field="query", headers={"Allow": "POST"})
    message = f"Subscriptions run over a websocket ({GRAPHQL_TRANSPORT_WS_PROTOCOL})."
    return errors.invalid(message, "query")
