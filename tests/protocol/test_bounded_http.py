"""However a client frames its requests: each is answered once and in order, or its connection ends."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from schema import bounded_http
from tests.event_stream import EVENT_STREAM
from tests.protocol.conftest import AUTHORIZATION, DEADLINE_S, Served, serve

DROP_EVERY_S = 0.05
HEAD_SECONDS = 0.3  # of the tests that wait for it
HELLO = {"data": {"hello": "world"}}
ENDLESS = 'subscription { endless(name: "piped") }'


class Connection:
    """One connection, answer by answer."""

    def __init__(self, plug: socket.socket) -> None:
        self._plug = plug
        self._reader = plug.makefile("rb")

    def send(self, *parts: bytes) -> None:
        self._plug.sendall(b"".join(parts))

    def answer(self) -> tuple[int, bytes]:
        """The status and the content of the next answer."""
        status = int(self._reader.readline().split()[1])
        headers = dict(line.lower().rstrip().split(b": ", 1) for line in iter(self._reader.readline, b"\r\n"))
        return status, self._reader.read(int(headers[b"content-length"]))

    def data(self) -> Any:
        status, content = self.answer()
        assert status == 200, content
        return json.loads(content)

    def line(self) -> bytes:
        return self._reader.readline()

    def is_ended(self) -> bool:
        """Whether nothing more comes before the end."""
        return self._reader.read() == b""

    def is_ended_beside(self, drop: bytes) -> bool:
        """Whether the server ends it though something comes again and again."""
        deadline = time.monotonic() + DEADLINE_S
        with suppress(ConnectionError):
            while time.monotonic() < deadline:
                if select.select([self._plug], [], [], DROP_EVERY_S)[0]:
                    return self._plug.recv(1) == b""
                self.send(drop)
            return False
        return True

    def close(self) -> None:
        self._reader.close()
        self._plug.close()


@contextmanager
def _connected(server: Served) -> Iterator[Connection]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S) as plug:
        connection = Connection(plug)
        try:
            yield connection
        finally:
            connection.close()


def _head(*headers: str, method: str = "POST", version: str = "1.1") -> bytes:
    given = ("Host: x", "Content-Type: application/json", *headers)
    return "\r\n".join([f"{method} /graphql HTTP/{version}", *given, "", ""]).encode()


def _post(query: str = "{ hello }", *headers: str, **more: str) -> bytes:
    content = json.dumps({"query": query}).encode()
    return _head(*headers, f"Content-Length: {len(content)}", **more) + content


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


# In order


def test_requests_that_come_at_once_are_answered_one_after_the_other(server: Served) -> None:
    with _connected(server) as connection:
        connection.send(*(_post(f"{{ counted(first: {number}) }}") for number in range(50)))

        assert [connection.data()["data"]["counted"] for _ in range(50)] == list(range(50))


def test_of_more_requests_at_once_than_may_wait_the_first_are_answered(server: Served) -> None:
    """The rest is as good as lost with the connection: its client sends it again."""
    with _connected(server) as connection:
        connection.send(_post() * (bounded_http.MAX_WAITING + 10))

        assert [connection.data() for _ in range(bounded_http.MAX_WAITING + 1)] == [HELLO] * (
            bounded_http.MAX_WAITING + 1
        )
        assert connection.is_ended()


def test_a_request_in_the_smallest_parts_is_one_request(server: Served) -> None:
    with _connected(server) as connection:
        for byte in _post():
            connection.send(bytes([byte]))

        assert connection.data() == HELLO


def test_a_body_in_chunks_is_one_body(server: Served) -> None:
    with _connected(server) as connection:
        content = json.dumps({"query": "{ hello }"}).encode()
        chunks = [_chunk(content[start : start + 2]) for start in range(0, len(content), 2)]
        connection.send(_head("Transfer-Encoding: chunked"), *chunks, b"0\r\n\r\n", _post())

        assert [connection.data(), connection.data()] == [HELLO, HELLO]


def test_what_follows_a_body_is_no_header(server: Served) -> None:
    """A proxy that judges headers has not judged this one."""
    with _connected(server) as connection:
        body = _chunk(b'{"query": "{ authorization }"}')
        connection.send(_head("Transfer-Encoding: chunked"), body, b"0\r\nAuthorization: Bearer good\r\n\r\n")

        assert connection.data() == {"data": {"authorization": None}}


def test_who_waits_to_be_told_to_go_on_is_told(server: Served) -> None:
    with _connected(server) as connection:
        content = b'{"query": "{ hello }"}'
        connection.send(_head("Expect: 100-continue", f"Content-Length: {len(content)}"))

        assert connection.line() == b"HTTP/1.1 100 Continue\r\n"
        assert connection.line() == b"\r\n"
        connection.send(content)
        assert connection.data() == HELLO


@pytest.mark.parametrize(("header", "version"), [("Connection: close", "1.1"), ("Accept: */*", "1.0")])
def test_the_answer_is_the_last_where_the_client_wants_no_other(server: Served, header: str, version: str) -> None:
    with _connected(server) as connection:
        connection.send(_post("{ hello }", header, version=version))

        assert connection.data() == HELLO
        assert connection.is_ended()


# Other protocols


def test_who_would_rather_speak_another_protocol_is_answered_in_this_one(server: Served) -> None:
    """As Java's client does with its first request."""
    upgrade = "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"
    with _connected(server) as connection:
        connection.send(_post("{ hello }", *upgrade))
        assert connection.data() == HELLO
        connection.send(_post("{ hello }", *upgrade), _post("{ via }"))

        assert [connection.data(), connection.data()] == [HELLO, {"data": {"via": "POST"}}]


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
def test_the_protocol_does_not_change_before_the_last_answer(server: Served, protocol: str) -> None:
    upgrade = "Connection: Upgrade", f"Upgrade: {protocol}", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: a2V5"
    with _connected(server) as connection:
        connection.send(_post(), _head(*upgrade, method="GET"))

        assert connection.data() == HELLO
        assert connection.is_ended()


# Nonsense

NONSENSE = {
    "no request": b"nonsense\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a tunnel": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes in the path": b"GET /gr\xc3\xa4phql HTTP/1.1\r\nHost: x\r\n\r\n",
    "a folded header": b"GET /graphql HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "a header without a name": b"GET /graphql HTTP/1.1\r\n: x\r\n\r\n",
    "bare line feeds": b"GET /graphql HTTP/1.1\nHost: x\n\n",
    "two lengths": _head("Content-Length: 1", "Content-Length: 2"),
    "a length and chunks": _head("Content-Length: 1", "Transfer-Encoding: chunked"),
    "a length below nothing": _head("Content-Length: -1"),
    "a chunk of no length": _head("Transfer-Encoding: chunked") + b"x\r\n",
    "a chunk that is longer than it says": _head("Transfer-Encoding: chunked") + b"1\r\nabc\r\n",
}
ENDLESS_HEADS = {
    "a header": b"GET /graphql HTTP/1.1\r\nA: " + b"a" * 1_000_000,
    "the name of a header": b"GET /graphql HTTP/1.1\r\n" + b"a" * 1_000_000,
    "headers": b"GET /graphql HTTP/1.1\r\n" + b"A: b\r\n" * 200_000,
    "an address": b"GET /graphql?query=" + b"a" * 1_000_000,
    "what follows a body": _head("Transfer-Encoding: chunked") + b"0\r\n" + b"A: b\r\n" * 200_000,
    "what a chunk is said to be": _head("Transfer-Encoding: chunked") + b"1;" + b"a" * 1_000_000,
}


@pytest.mark.parametrize("sent", NONSENSE.values(), ids=NONSENSE)
def test_what_is_no_request_is_told_so_once(server: Served, sent: bytes) -> None:
    with _connected(server) as connection:
        connection.send(sent)

        status, content = connection.answer()
        assert (status, content.decode()) == (400, bounded_http.INVALID)
        assert connection.is_ended()


@pytest.mark.parametrize("sent", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_takes_no_answer_away_from_what_was_asked_before(server: Served, sent: bytes) -> None:
    with _connected(server) as connection:
        connection.send(_post(), _post(), sent)

        assert [connection.data(), connection.data()] == [HELLO, HELLO]


@pytest.mark.parametrize("sent", ENDLESS_HEADS.values(), ids=ENDLESS_HEADS)
def test_what_is_not_complete_for_long_is_not_collected_for_ever(server: Served, sent: bytes) -> None:
    with _connected(server) as connection, pytest.raises(ConnectionError):
        connection.send(sent, b"a" * 100_000_000)


def test_a_long_head_is_no_endless_one(server: Served) -> None:
    with _connected(server) as connection:
        connection.send(_post("{ hello }", f"Cookie: {'a' * (bounded_http.MAX_HEAD_BYTES // 2)}"))

        assert connection.data() == HELLO


# Of those who are slow


DRIPPING = {  # what is sent first, the answers to it, and what is sent then again and again
    "nothing": (b"", 0, b""),
    "a head": (b"POST /graphql HTTP/1.1\r\nCookie: ", 0, b"a"),
    "lines before a head": (b"", 0, b"\r\n"),
    "lines after an answer": (_post(), 1, b"\r\n"),
    "a head behind another request": (_post() + b"POST /a", 1, b"a"),
    "the head of a websocket": (b"GET /graphql HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: ", 0, b"a"),
    "a body that nobody waits for": (_head("Content-Length: 100000", method="PUT"), 1, b"a"),
    "a body without an end": (_head("Transfer-Encoding: chunked", method="PUT"), 1, b"1\r\na\r\n"),
}


@pytest.mark.parametrize(("before", "answers", "drop"), DRIPPING.values(), ids=DRIPPING)
def test_a_connection_on_which_no_request_begins_ends_whatever_comes(
    server: Served, monkeypatch: pytest.MonkeyPatch, before: bytes, answers: int, drop: bytes
) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_SECONDS", HEAD_SECONDS)
    with _connected(server) as connection:
        connection.send(before)
        for _ in range(answers):
            connection.answer()

        assert connection.is_ended_beside(drop)


@pytest.mark.parametrize(
    "behind",
    [b"", b"POST /gra", b"nonsense\r\n\r\n", _head("Connection: Upgrade", "Upgrade: websocket", method="GET")],
    ids=["nothing", "half a head", "nonsense", "another protocol"],
)
def test_what_is_answered_for_long_is_not_ended_whatever_is_behind_it(
    monkeypatch: pytest.MonkeyPatch, behind: bytes
) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_SECONDS", HEAD_SECONDS)
    with serve(ping_interval=HEAD_SECONDS) as server, _connected(server) as connection:
        stream = _post(ENDLESS, f"Accept: {EVENT_STREAM}", f"Authorization: {AUTHORIZATION}")
        connection.send(stream, behind)

        signs_of_life = 0
        while signs_of_life < 3:
            line = connection.line()
            assert line, "the connection has ended"
            signs_of_life += line.startswith(b":")


def test_a_websocket_outlasts_the_wait_for_its_head(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_SECONDS", HEAD_SECONDS)
    with server.socket() as client:
        with pytest.raises(TimeoutError):
            client.connection.recv(timeout=2 * HEAD_SECONDS)

        client.send({"type": "ping"})
        assert client.receive() == {"type": "pong"}


UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol: graphql-transport-ws",
)
NO_HANDSHAKES = {
    "more headers than it takes": [f"A-{number}: b" for number in range(200)],
    "a longer header than it takes": [f"Cookie: {'a' * 10_000}"],
    "a body": ["Content-Length: 5"],
    "a body in chunks": ["Transfer-Encoding: chunked"],
}


@pytest.mark.parametrize("headers", NO_HANDSHAKES.values(), ids=NO_HANDSHAKES)
def test_a_handshake_that_no_websocket_takes_is_told_so(server: Served, headers: list[str]) -> None:
    with _connected(server) as connection:
        connection.send(_head(*UPGRADE, *headers, method="GET"), b"hello" if "body" in headers[0] else b"")

        assert connection.answer() == (400, bounded_http.INVALID.encode())
        assert connection.is_ended()


# Ends


def _piped(connection: Connection) -> None:
    """An event stream with a request behind it, and its first event."""
    connection.send(_post(ENDLESS, f"Accept: {EVENT_STREAM}", f"Authorization: {AUTHORIZATION}"), _post())
    while not connection.line().startswith(b"data: "):
        pass


def test_an_answer_ends_with_its_client_though_another_request_waits(server: Served) -> None:
    with _connected(server) as connection:
        _piped(connection)

    server.seen.wait_for("piped closed")


def test_an_answer_hears_that_the_server_stops_though_another_request_waits() -> None:
    with serve() as server, _connected(server) as connection:
        _piped(connection)

        server.stop()

        server.seen.wait_for("piped closed")
        assert server.complaints == []
