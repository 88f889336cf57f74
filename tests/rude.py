"""A websocket client without manners: it reads only when it is told to, and answers no ping."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

DEADLINE_S = 20
SMALL_BUFFER = 4096  # of the kernel, so that what is not read is soon the server's


class RudeClient:
    def __init__(self, url: str) -> None:
        """`url` is the server's address, http://host:port. It returns once the websocket is open."""
        self.close: tuple[int, str] | None = None  # what the server closed with, once it was read
        self._events: list[object] = []
        address = urlsplit(url)
        self._socket = socket.socket()
        self._socket.settimeout(DEADLINE_S)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        self._socket.connect((address.hostname, address.port))
        uri = parse_uri(f"ws://{address.netloc}/graphql")
        self._protocol = ClientProtocol(uri, subprotocols=[Subprotocol("graphql-transport-ws")], max_size=None)
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        assert isinstance(self._next(), Response)

    def introduce(self, authorization: str) -> None:
        self.send({"type": "connection_init", "payload": {"Authorization": authorization}})
        assert self.receive() == {"type": "connection_ack"}

    def subscribe(self, query: str, id: str = "1", **variables: object) -> None:
        self.send({"type": "subscribe", "id": id, "payload": {"query": query, "variables": variables}})

    def send(self, message: object) -> None:
        self._protocol.send_text(json.dumps(message).encode())
        self._flush()

    def ping_to_the_end(self) -> int:
        """Send pings, each as large as a ping can be, until the server is gone; how many bytes of them."""
        self._protocol.send_ping(b"x" * 125)
        pings = b"".join(self._protocol.data_to_send()) * 1_000
        sent = 0
        with suppress(ConnectionError):
            while True:
                self._socket.sendall(pings)
                sent += len(pings)
        return sent

    def receive(self) -> Any:
        """The next message."""
        while True:
            event = self._next()
            assert isinstance(event, Frame)
            if event.opcode is Opcode.TEXT:
                return json.loads(bytes(event.data))

    def closed(self) -> tuple[int, str] | None:
        """Read to the end: the code and the reason of the close frame; None without one."""
        self.rest()
        return self.close

    def rest(self) -> list[Any]:
        """Read to the end: the messages, of which the last may be cut off."""
        messages = []
        with suppress(ConnectionError):
            while (event := self._next()) is not None:
                assert isinstance(event, Frame)
                if event.opcode is Opcode.TEXT:
                    messages.append(json.loads(bytes(event.data)))
                elif event.opcode is Opcode.CLOSE:
                    close = Close.parse(bytes(event.data))
                    self.close = close.code, close.reason
        return messages

    def leave(self) -> None:
        self._socket.close()

    def _next(self) -> object:
        """The next event of the connection; None at its end."""
        while not self._events:
            data = self._socket.recv(65536)
            if not data:
                return None
            self._protocol.receive_data(data)
            self._protocol.data_to_send()  # the pongs, which nobody gets
            self._events += self._protocol.events_received()
        return self._events.pop(0)

    def _flush(self) -> None:
        self._socket.sendall(b"".join(self._protocol.data_to_send()))


@contextmanager
def rude(url: str) -> Iterator[RudeClient]:
    client = RudeClient(url)
    try:
        yield client
    finally:
        client.leave()
