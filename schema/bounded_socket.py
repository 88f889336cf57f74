"""uvicorn's websocket with an end for every far side: one that takes nothing, or does not answer, is dropped.

uvicorn itself waits without end for a client that has stopped reading, and lets what it cannot send grow by one message
for each operation of the socket. It must not know what is said over the socket.
"""

from __future__ import annotations

from asyncio import Future, TimerHandle, get_running_loop
from typing import Any

import structlog
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from schema.sockets import CloseCode

PUSH = "tocsin.push"  # in the scope's extensions: sends a text at once, or says that it has to wait its turn
LINGER_SECONDS = 4.0  # that a far side has to take the close frame, and to answer it

log = structlog.get_logger()


class Room:
    """Whether there is room to write: asyncio.Event without the deque that each one has, of which few are ever used."""

    __slots__ = ("_waiting", "is_there")

    def __init__(self) -> None:
        self.is_there = True
        self._waiting: list[Future[None]] | None = None

    def is_set(self) -> bool:
        return self.is_there

    def clear(self) -> None:
        self.is_there = False

    def set(self) -> None:
        self.is_there = True
        waiting, self._waiting = self._waiting, None
        for one in waiting or ():
            if not one.done():
                one.set_result(None)

    async def wait(self) -> None:
        if not self.is_there:
            self._waiting = self._waiting or []
            one = get_running_loop().create_future()
            self._waiting.append(one)
            await one


class Received:
    """What has come and was not taken yet: asyncio.Queue for a single taker, without its three deques."""

    __slots__ = ("_come", "_coming")

    def __init__(self) -> None:
        self._come: list[Any] = []
        self._coming: Future[None] | None = None

    def empty(self) -> bool:
        return not self._come

    def put_nowait(self, event: Any) -> None:
        self._come.append(event)
        if self._coming is not None and not self._coming.done():
            self._coming.set_result(None)

    async def get(self) -> Any:
        while not self._come:
            self._coming = get_running_loop().create_future()
            try:
                await self._coming
            finally:
                self._coming = None
        return self._come.pop(0)


class BoundedSocket(WebSocketsSansIOProtocol):
    """What waits to be sent is at most asyncio's high-water mark (64 KiB) and one message.

    uvicorn's `ws_ping_timeout` is also how long the far side may take none of it.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.queue: Any = Received()
        self.writable: Any = Room()
        self.close_timeout = LINGER_SECONDS
        self.slow_timer: TimerHandle | None = None
        self.abort_timer: TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_slow_timer()
        if self.abort_timer is not None:
            self.abort_timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.slow_timer is None and self.ping_timeout is not None:
            self.slow_timer = self.loop.call_later(self.ping_timeout, self._too_slow)

    def resume_writing(self) -> None:
        self._stop_slow_timer()
        super().resume_writing()

    async def send(self, message: Any) -> None:
        while not self.writable.is_set():  # again, when another operation's message was first
            await self.writable.wait()
        if self.close_sent:  # by itself: what came was too large, perhaps
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.accept":
            self.request.headers.clear()  # the parser keeps the request for as long as the socket lasts
            del self.request, self.response  # nobody asks for them again

    def push(self, text: bytes) -> bool:
        """Send a text at once, without a frame's way through `websockets`; False where something waits already."""
        if not self.writable.is_there or self.close_sent or self.disconnected or self.transport.is_closing():
            return False
        self.transport.write(_head(len(text)) + text)
        return True

    def handle_cont(self, event: Frame) -> None:
        """What has come of a message is one piece: many small ones take many times their bytes."""
        if not isinstance(self.frames[0], bytearray):
            self.frames = [bytearray(self.frames[0])]  # type: ignore[list-item]
        self.frames[0] += event.data
        if event.fin:
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        """A text that is none is the far side's mistake; uvicorn writes it into the log as one of the server's."""
        if self.curr_msg_data_type == "text" and not _is_text(self.frames[0]):
            self.frames = []
            self.conn.send_close(CloseCode.INVALID_TEXT, "a text message must be UTF-8")
            self.handle_parser_exception()
        else:
            super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # who pings and reads nothing gets no pong

    def keepalive_timeout(self) -> None:
        self.pong_timer = None
        self._drop("no answer to a ping")  # uvicorn says 1011, after which clients do not come back

    def shutdown(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()
        self._let_go()

    async def run_asgi(self) -> None:
        if not self.config.ws_per_message_deflate:  # which the far side may have asked for
            self.scope["extensions"] = {**(self.scope.get("extensions") or {}), PUSH: {PUSH: self.push}}
        try:
            await super().run_asgi()
        finally:
            self._abort_soon()

    def _too_slow(self) -> None:
        self.slow_timer = None
        self._drop("too slow: what was sent was not taken")

    def _drop(self, reason: str) -> None:
        """Close, whatever waits to be sent: the far side may come back for it."""
        log.info("socket_dropped", reason=reason)
        self.stop_keepalive()
        if not self.transport.is_closing():
            self.conn.fail(CloseCode.TRY_AGAIN_LATER, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.TRY_AGAIN_LATER, "reason": reason})
        self._let_go()

    def _let_go(self) -> None:
        """Nothing is sent any more: those who wait to send are told, and what the far side does not take is lost."""
        self._stop_slow_timer()
        self.close_sent = self.disconnected = True
        self.writable.set()
        self._abort_soon()

    def _abort_soon(self) -> None:
        if self.abort_timer is None and self in self.connections:
            self.abort_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _stop_slow_timer(self) -> None:
        if self.slow_timer is not None:
            self.slow_timer.cancel()
            self.slow_timer = None


def _is_text(content: bytes | bytearray) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _head(length: int) -> bytes:
    """Of a frame with a whole text, as servers send it: not masked (RFC 6455 5.2)."""
    if length < 126:
        return b"\x81%c" % length
    if length < 1 << 16:
        return b"\x81\x7e" + length.to_bytes(2)
    return b"\x81\x7f" + length.to_bytes(8)
