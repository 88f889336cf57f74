"""Speaks GraphQL over SSE (graphql-sse, distinct connections mode): an operation's results as server-sent events.

It must not look into an operation, nor decide who is answered this way: that is `schema.http`'s business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from resolvers.access import User
from resolvers.errors import Unauthenticated
from schema.answer import Answer
from schema.negotiation import EVENT_STREAM
from schema.sockets import Sockets

PING = b":\n\n"
STOPPING = b": The server stops: come back, and resume.\n\n"
COMPLETE = b"event: complete\ndata:\n\n"  # without a data field no browser would pass it on
HEADERS = (
    (b"content-type", f"{EVENT_STREAM}; charset=utf-8".encode()),
    (b"cache-control", b"no-store, no-transform"),  # a proxy that compresses collects events
    (b"x-accel-buffering", b"no"),  # and so does nginx
)

Results = AsyncGenerator[Any, None]
Write = Callable[[Any], bytes]  # a result as JSON


class Bearer(Protocol):
    """Whose token a stream lives by."""

    @property
    def expires_at(self) -> datetime | None: ...


def answer(*written: bytes) -> Answer:
    """The results of an operation that has come to its end."""
    content = b"".join(map(_next, written)) + COMPLETE
    return Answer(200, (*HEADERS, (b"content-length", b"%d" % len(content))), content)


def _next(written: bytes) -> bytes:
    return b"event: next\ndata: " + written + b"\n\n"  # JSON has no line breaks


class EventStream:
    """The answer to a subscription, as an ASGI application. It raises NoRoom before it sends anything.

    It ends when the subscription does, when its client leaves, when the token expires or is revoked, and when the
    server stops: then without `complete`, so that the client comes back.
    """

    def __init__(
        self,
        results: Results,
        bearer: Bearer,
        *,
        user: User,
        lifetime: float,
        ping_interval: float,
        write: Write,
        sockets: Sockets,
    ) -> None:
        """`lifetime` is the token's, `ping_interval` the longest silence; both in seconds."""
        self._results = results
        self._bearer = bearer
        self._user = user
        self._lifetime = lifetime
        self._ping_interval = ping_interval
        self._write = write
        self._sockets = sockets
        self._last: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        with self._sockets.streaming(self._user, self):
            listening = asyncio.create_task(self._listen(receive))
            expiry = asyncio.get_running_loop().call_later(self._lifetime, self._refuse, "The token has expired.")
            try:
                await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
                async with aclosing(self._events()) as events:
                    async for event in events:
                        await send({"type": "http.response.body", "body": event, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            finally:
                expiry.cancel()
                listening.cancel()

    def close_if_refused(self) -> None:
        if self._bearer.expires_at is None:
            self._refuse("The token was revoked.")

    async def _events(self) -> AsyncGenerator[bytes, None]:
        """What is to be sent, a comment where there was nothing for long."""
        async with aclosing(self._results):
            coming = asyncio.ensure_future(self._event())
            try:
                while True:
                    await asyncio.wait({coming, self._last}, timeout=self._ping_interval, return_when="FIRST_COMPLETED")
                    if self._last.done():
                        break
                    if coming.done():
                        yield coming.result()
                        coming = asyncio.ensure_future(self._event())
                    else:
                        yield PING
            finally:
                coming.cancel()
                await asyncio.wait([coming])
        yield self._last.result()

    async def _event(self) -> bytes:
        """The next result, as an event; after the last one, and after one that cannot be told, the end is set."""
        try:
            result = await anext(self._results, None)
            if result is not None:
                return _next(self._write(result))
            self._end(COMPLETE)
        except Exception as error:
            self._end(_next(self._write(error)) + COMPLETE)
        return b""

    async def _listen(self, receive: Receive) -> None:
        """The request was read: all that can come now is that its client left, or that the server stops."""
        message = await receive()
        self._end(b"" if message["type"] == "http.disconnect" else STOPPING)

    def _refuse(self, reason: str) -> None:
        self._end(_next(self._write(Unauthenticated(reason))) + COMPLETE)

    def _end(self, last: bytes) -> None:
        if not self._last.done():
            self._last.set_result(last)
