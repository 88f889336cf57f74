"""uvicorn's HTTP with an end for far sides that take nothing, and for answers that would go on for ever.

uvicorn itself waits for both without end. It must not know what is asked or answered.
"""

from __future__ import annotations

import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from schema.bounded_socket import LINGER_SECONDS

TCP_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it


class BoundedHTTP(H11Protocol):
    """uvicorn's `ws_ping_timeout` is how long what was sent may stay without being taken, or even acknowledged."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._drop_after(self.config.ws_ping_timeout or 0)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._drop_after(0)  # schema.bounded_socket sees to that, and tells the far side why
        super().handle_websocket_upgrade(event)

    def shutdown(self) -> None:
        super().shutdown()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.message_event.set()  # lets receive() return, by which an event stream knows
            self.loop.call_later(LINGER_SECONDS, self._abort_if_unread)

    def _abort_if_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _drop_after(self, seconds: float) -> None:
        """Leave it to the kernel to drop the connection after so many seconds; 0: when it usually does."""
        connection = self.transport.get_extra_info("socket")
        if TCP_USER_TIMEOUT is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, round(seconds * 1000))
