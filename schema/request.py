"""An HTTP request as GraphQL needs it: what its headers say, and its parameters.

It must not judge any of it, nor read the body.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope

_LISTS = frozenset({b"accept", b"if-none-match"})  # each of several such headers goes on where the last one ended


@dataclass(slots=True)
class Request:
    """Headers are as they were sent; where there was none, as if it had said nothing."""

    scope: Scope
    receive: Receive
    method: str
    authorization: str | None
    accept: bytes
    content_encoding: bytes
    content_type: bytes
    if_none_match: bytes

    @property
    def parameters(self) -> dict[str, str]:
        """Those of the address; of several with one name the last."""
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True))


def of(scope: Scope, receive: Receive) -> Request:
    headers = scope["headers"]
    given = dict(headers)
    if len(given) < len(headers):
        given = _with_repeated(headers)
    authorization = given.get(b"authorization")
    return Request(
        scope,
        receive,
        scope["method"],
        None if authorization is None else authorization.decode("latin-1"),
        given.get(b"accept", b""),
        given.get(b"content-encoding", b"identity"),
        given.get(b"content-type", b""),
        given.get(b"if-none-match", b""),
    )


def _with_repeated(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Of several headers with one name, the first, unless they are a list."""
    given: dict[bytes, bytes] = {}
    for name, value in headers:
        if name not in given:
            given[name] = value
        elif name in _LISTS:
            given[name] += b"," + value
    return given
