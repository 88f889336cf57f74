"""Reads the one GraphQL operation that an HTTP request holds, within bounds; refuses everything else by its status.

It must not look into the operation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import product

from cross_web import HTTPException
from starlette.types import Message, Receive
from strawberry.http.parse_content_type import parse_content_type

from schema import limits
from schema.asked import Asked
from schema.negotiation import JSON

READ_TIMEOUT_S = 30  # a megabyte takes that long at 280 kbit/s
# A client that is still sending when it is answered sees a reset instead of the answer: so much is read and dropped.
MAX_DRAINED_BYTES = 16 * limits.MAX_BODY_BYTES
KEPT = 64  # different content types: there is little to say besides application/json
MAX_KEPT_BYTES = 256  # of one


class Refusal(HTTPException):
    """A request that is answered before it comes to GraphQL. The message repeats nothing of the request."""

    def __init__(
        self, status: int, message: str, *, field: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message)
        self.field = field
        self.headers = headers or {}


_LEFT_UNREAD = {"Connection": "close"}  # else the server goes on reading what nobody wants


class ClientLeft(Exception):
    """There is nobody to answer."""


async def read(receive: Receive) -> bytes:
    """The body. Raises Refusal, ClientLeft."""
    message = _come(receive)
    if message is not None and _is_whole(message):
        content: bytes = message.get("body", b"")
        return content
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            return await _collected(message or await receive(), receive)
    except TimeoutError:
        raise Refusal(408, f"The body took more than {READ_TIMEOUT_S} seconds.", headers=_LEFT_UNREAD) from None


def _come(receive: Receive) -> Message | None:
    """What has come already; None if it has to be waited for. A time limit costs more than reading a body."""
    receiving = receive().__await__()
    try:
        next(receiving)
    except StopIteration as come:
        message: Message = come.value
        return message
    receiving.close()
    return None


def _is_whole(message: Message) -> bool:
    is_last = message["type"] == "http.request" and not message.get("more_body")
    return is_last and len(message.get("body", b"")) <= limits.MAX_BODY_BYTES


async def _collected(message: Message, receive: Receive) -> bytes:
    content, size = bytearray(), 0
    while message["type"] == "http.request":
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limits.MAX_BODY_BYTES:
            content += chunk
        if size > MAX_DRAINED_BYTES or not message.get("more_body"):
            break
        message = await receive()
    else:
        raise ClientLeft
    if size > limits.MAX_BODY_BYTES:
        raise Refusal(413, f"The body is larger than {limits.MAX_BODY_BYTES} bytes.", headers=_LEFT_UNREAD)
    return bytes(content)


def check_type(content_type: bytes, content_encoding: bytes) -> None:
    """Only application/json: no page can make a browser send that to another host without asking it first."""
    is_json = _is_json if len(content_type) <= MAX_KEPT_BYTES else _is_json.__wrapped__
    if not is_json(content_type):
        raise Refusal(415, f"The body must be {JSON} in UTF-8.", headers={"Accept-Post": JSON})
    if content_encoding.strip().lower() != b"identity":
        raise Refusal(415, "The body must not be compressed.", headers={"Accept-Encoding": "identity"})


@lru_cache(KEPT)
def _is_json(content_type: bytes) -> bool:
    media_type, parameters = parse_content_type(content_type.decode("latin-1"))
    charset = next((value for key, value in parameters.items() if key.lower() == "charset"), "utf-8")
    return media_type.strip().lower() == JSON and charset.strip().lower() in ("utf-8", "utf8")


def parsed(content: bytes | str, what: str, *, field: str | None = None) -> object:
    try:
        return limits.json_value(content if isinstance(content, str) else content.decode("utf-8"))
    except UnicodeDecodeError:
        raise Refusal(400, f"{what} is not UTF-8.") from None
    except ValueError as error:
        raise Refusal(400, f"{what} is not JSON that can be read: {error}.", field=field) from None


def parameters(given: Mapping[str, str]) -> dict[str, object]:
    """Those of an address, as a body would hold them."""
    values = {key: parsed(given[key], key, field=key) for key in ("variables", "extensions") if given.get(key)}
    return {**{key: given[key] for key in ("query", "operationName", "documentId") if key in given}, **values}


def operation(data: object) -> Asked:
    if not isinstance(data, dict):
        raise Refusal(400, "A request is one JSON object; batches are not answered.")
    given = tuple(map(data.get, _KINDS))
    if tuple(map(type, given)) not in _WELL_FORMED:
        raise _ill_formed(given)
    query, variables, operation_name, extensions, document_id = given
    # The specification: empty is as good as none.
    asked = Asked(query, variables, operation_name or None, extensions, document_id or None)
    if asked.query is None and not asked.document_id and "persistedQuery" not in (asked.extensions or ()):
        raise Refusal(400, "query must be a string.", field="query")
    return asked


def _ill_formed(given: Iterable[object]) -> Refusal:
    wrong = (field for field, value in zip(_KINDS, given, strict=True) if not isinstance(value, _KINDS[field] | None))
    field = next(wrong)
    return Refusal(400, f"{field} must be {'a string' if _KINDS[field] is str else 'an object'}.", field=field)


# In the order of Asked; and all that a well-formed request may have in their places.
_KINDS = {"query": str, "variables": dict, "operationName": str, "extensions": dict, "documentId": str}
_WELL_FORMED = frozenset(product(*((kind, type(None)) for kind in _KINDS.values())))
