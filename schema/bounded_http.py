"""uvicorn's HTTP with an end for far sides that take or say nothing, and for what would come or go on for ever.

uvicorn itself waits for all of them without end. It must not know what is asked or answered.
"""

from __future__ import annotations

import socket
from asyncio import TimerHandle
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from schema.bounded_socket import LINGER_SECONDS, BoundedSocket

MAX_HEAD_BYTES = 64 * 1024  # that may come without completing anything: a head, or what follows a body
MAX_WAITING = 100  # requests behind the one that is being answered
HEAD_SECONDS = 30.0  # in which a request has to begin: its whole head, after what is left of the body before it
INVALID = "Invalid HTTP request received."

TCP_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it


class BoundedHTTP(HttpToolsProtocol):
    """uvicorn's `ws_ping_timeout` is how long what was sent may stay without being taken, or even acknowledged.

    What is `answering` may have others waiting behind it, which came before it was answered: the last is `cycle`.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.answering: RequestResponseCycle | None = None
        self.is_broken = False  # what comes now cannot be understood
        self.is_getting_on = False
        self.collected = 0  # bytes since it got on
        self.head_timer: TimerHandle | None = None  # the last one: it runs while it is `timeout_keep_alive_task`

    @property
    def is_busy(self) -> bool:
        return self.answering is not None and not self.answering.response_complete

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._drop_after(self.config.ws_ping_timeout or 0)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        if self.answering is not None and self.is_busy:
            self.answering.disconnected = True
            self.answering.message_event.set()

    # What comes

    def data_received(self, data: bytes) -> None:
        if self.is_broken:
            return
        self.is_getting_on = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._change_protocol(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._give_up()
        else:
            self.collected = 0 if self.is_getting_on else self.collected + len(data)
            if self.collected > MAX_HEAD_BYTES:
                self._give_up()
            else:
                self._wait_for_head()

    def on_headers_complete(self) -> None:
        self.is_getting_on = True
        if self.parser.should_upgrade():
            self.scope["method"] = self.parser.get_method().decode("ascii")
            return  # data_received sees to it
        if len(self.pipeline) >= MAX_WAITING:
            raise ValueError("too many requests at once")
        super().on_headers_complete()
        self.headers = []  # what would come into it after the body are no headers of the request

    def on_body(self, body: bytes) -> None:
        self.is_getting_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _wait_for_head(self) -> None:
        """While nothing is being answered. What has come of it before gives it no more time."""
        if self.is_busy:
            self._unset_keepalive_if_required()
        elif self.head_timer is None or self.timeout_keep_alive_task is not self.head_timer:
            self._unset_keepalive_if_required()
            self.head_timer = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)
            self.timeout_keep_alive_task = self.head_timer

    def _change_protocol(self, rest: bytes) -> None:
        """To websockets; whatever else a client would rather speak, it is answered as if it had not said so."""
        if self.is_busy or self.scope["method"] == "CONNECT":
            self._give_up()
        elif self._should_upgrade():
            self.handle_websocket_upgrade()
        else:
            head = self._head_without_upgrade()
            self.parser = httptools.HttpRequestParser(self)  # the last one takes a body for the other protocol
            self.data_received(head + rest)

    def _head_without_upgrade(self) -> bytes:
        first = f"{self.scope['method']} {self.url.decode()} HTTP/{self.parser.get_http_version()}".encode()
        headers = [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([first, *headers, b"", b""])

    def _give_up(self) -> None:
        """Nothing more is read; what came whole is still answered."""
        self.is_broken = True
        self._unset_keepalive_if_required()
        self.logger.warning(INVALID)
        if self.pipeline and self.cycle.more_body:
            self.pipeline.popleft()  # the one that came last
        last = self.pipeline[0][0] if self.pipeline else self.answering
        if last is not None and not last.response_complete and not last.more_body:
            last.keep_alive = False
        elif last is not None and not last.response_complete and last.response_started:
            self.transport.close()
        else:
            self.send_400_response(INVALID)

    # What goes

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.answering = cycle
        super()._start_asgi_task(cycle, app)

    def handle_websocket_upgrade(self) -> None:
        self._unset_keepalive_if_required()
        self._drop_after(0)  # schema.bounded_socket sees to that, and tells the far side why
        super().handle_websocket_upgrade()
        if not cast(BoundedSocket, self.transport.get_protocol()).handshake_initiated:
            self.send_400_response(INVALID)  # `websockets` takes smaller heads and no bodies, and says nothing then
        del self.parser  # they know each other: the two would wait for the garbage collector

    def shutdown(self) -> None:
        if self.answering is None or not self.is_busy:
            self.transport.close()
            return
        self.answering.keep_alive = False  # nor are those answered that wait
        self.answering.message_event.set()  # lets receive() return, by which an event stream knows
        self.loop.call_later(LINGER_SECONDS, self._abort_if_unread)

    def _abort_if_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _drop_after(self, seconds: float) -> None:
        """Leave it to the kernel to drop the connection after so many seconds; 0: when it usually does."""
        connection = self.transport.get_extra_info("socket")
        if TCP_USER_TIMEOUT is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, round(seconds * 1000))
