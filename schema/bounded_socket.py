"""uvicorn's websocket with an end for every far side: one that takes nothing, or does not answer, is dropped.

uvicorn itself waits without end for a client that has stopped reading, and lets what it cannot send grow by one message
for each operation of the socket. It must not know what is said over the socket.
"""

from __future__ import annotations

from asyncio import TimerHandle
from typing import Any

import structlog
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from schema.sockets import CloseCode

LINGER_SECONDS = 4.0  # that a far side has to take the close frame, and to answer it

log = structlog.get_logger()


class BoundedSocket(WebSocketsSansIOProtocol):
    """What waits to be sent is at most asyncio's high-water mark (64 KiB) and one message.

    uvicorn's `ws_ping_timeout` is also how long the far side may take none of it.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
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
        await super().send(message)

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
