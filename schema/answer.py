"""A whole answer over HTTP: its status, its headers and its content, sent as two messages.

It must not know what is answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

Headers = tuple[tuple[bytes, bytes], ...]  # names in lower case


@dataclass(slots=True)
class Answer:
    """An ASGI application that answers always the same."""

    status: int
    headers: Headers
    content: bytes

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.content})


def of(content: bytes, content_type: bytes, status: int = 200, headers: Headers = ()) -> Answer:
    length = b"content-length", b"%d" % len(content)
    return Answer(status, (*headers, length, (b"content-type", content_type)), content)


def raw(headers: Mapping[str, str]) -> Headers:
    return tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items())
