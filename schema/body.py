"""Reads the one GraphQL operation that an HTTP request holds, within bounds; refuses everything else by its status.

It must not look into the operation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from cross_web import HTTPException
from starlette.requests import Request
from strawberry.http import GraphQLRequestData
from strawberry.http.parse_content_type import parse_content_type

from schema import limits
from schema.negotiation import JSON

READ_TIMEOUT_S = 30  # a megabyte takes that long at 280 kbit/s
# A client that is still sending when it is answered sees a reset instead of the answer: so much is read and dropped.
MAX_DRAINED_BYTES = 16 * limits.MAX_BODY_BYTES


class Refusal(HTTPException):
    """A request that is answered before it comes to GraphQL. The message repeats nothing of the request."""

    def __init__(
        self, status: int, message: str, *, field: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message)
        self.field = field
        self.headers = headers or {}


_LEFT_UNREAD = {"Connection": "close"}  # else the server goes on reading what nobody wants


async def read(request: Request) -> bytes:
    """The body. Raises Refusal, and starlette's ClientDisconnect."""
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            return await _read(request)
    except TimeoutError:
        raise Refusal(408, f"The body took more than {READ_TIMEOUT_S} seconds.", headers=_LEFT_UNREAD) from None


async def _read(request: Request) -> bytes:
    content, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limits.MAX_BODY_BYTES:
            content += chunk
        elif size > MAX_DRAINED_BYTES:
            break
    if size > limits.MAX_BODY_BYTES:
        raise Refusal(413, f"The body is larger than {limits.MAX_BODY_BYTES} bytes.", headers=_LEFT_UNREAD)
    return bytes(content)


def check_type(headers: Mapping[str, str]) -> None:
    """Only application/json: no page can make a browser send that to another host without asking it first."""
    media_type, parameters = parse_content_type(headers.get("content-type") or "")
    charset = next((value for key, value in parameters.items() if key.lower() == "charset"), "utf-8")
    if media_type.strip().lower() != JSON or charset.strip().lower() not in ("utf-8", "utf8"):
        raise Refusal(415, f"The body must be {JSON} in UTF-8.", headers={"Accept-Post": JSON})
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refusal(415, "The body must not be compressed.", headers={"Accept-Encoding": "identity"})


def parsed(content: bytes | str, what: str, *, field: str | None = None) -> object:
    try:
        return limits.json_value(content if isinstance(content, str) else content.decode("utf-8"))
    except UnicodeDecodeError:
        raise Refusal(400, f"{what} is not UTF-8.") from None
    except ValueError as error:
        raise Refusal(400, f"{what} is not JSON that can be read: {error}.", field=field) from None


def parameters(given: Mapping[str, Any]) -> dict[str, object]:
    values = {key: parsed(given[key], key, field=key) for key in ("variables", "extensions") if given.get(key)}
    return {"query": given.get("query"), "operationName": given.get("operationName"), **values}


def operation(data: object) -> GraphQLRequestData:
    if not isinstance(data, dict):
        raise Refusal(400, "A request is one JSON object; batches are not answered.")
    for field, kind, is_required in _PARAMETERS:
        value = data.get(field)
        if not isinstance(value, kind) and (is_required or value is not None):
            raise Refusal(400, f"{field} must be {_KINDS[kind]}.", field=field)
    return GraphQLRequestData(
        query=data["query"],
        variables=data.get("variables"),
        operation_name=data.get("operationName") or None,  # the specification: empty is as good as none
        extensions=data.get("extensions"),
    )


_KINDS: dict[type, str] = {str: "a string", dict: "an object"}
_PARAMETERS: tuple[tuple[str, type, bool], ...] = (
    ("query", str, True),
    ("operationName", str, False),
    ("variables", dict, False),
    ("extensions", dict, False),
)
