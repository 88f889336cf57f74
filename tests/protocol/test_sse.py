"""GraphQL over SSE as its protocol says (distinct connections), and no stream that outlives what it is for."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
import pytest

from schema.bounded_socket import LINGER_SECONDS
from schema.sockets import Limits
from tests import event_stream
from tests.event_stream import EVENT_STREAM, EventStream
from tests.protocol.conftest import ANOTHER_AUTHORIZATION, AUTHORIZATION, DEADLINE_S, EVENT_BYTES, SECRET, Served, serve
from tests.protocol.test_http import GRAPHQL, JSON, REQUEST_ERRORS, _refused

SOON_S = 0.3
FULL = 64 * 1024  # asyncio's mark, beyond which nobody may add to what waits
URQL = f"{EVENT_STREAM}, multipart/mixed"
APOLLO = f"{GRAPHQL}, {JSON}, {EVENT_STREAM}, multipart/mixed"
COUNT = "subscription { count(to: 2) }"
ENDLESS = "subscription { endless }"
HELLO = "{ hello }"
CREATE = 'mutation { create(input: {topic: "a"}) }'
COMPLETE = ("complete", None)
SUBSCRIPTION_ERRORS = {
    name: request for name, request in REQUEST_ERRORS.items() if name not in ("a subscription", "no operation")
}


def _open(
    server: Served, query: str, *, token: str = AUTHORIZATION, method: str = "POST"
) -> AbstractContextManager[EventStream]:
    return event_stream.opened(server.url.removesuffix("/graphql"), query, token=token, method=method)


def _send(server: Served, request: dict[str, Any], *, accept: str = EVENT_STREAM) -> httpx.Response:
    return server.send(json.dumps(request).encode(), Accept=accept, Authorization=AUTHORIZATION)


def _only_errors(answer: httpx.Response) -> Any:
    """The extensions of the one error in the one event."""
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"{EVENT_STREAM}; charset=utf-8")
    first, rest = answer.text.removeprefix("event: next\ndata: ").split("\n\n", 1)
    assert rest == "event: complete\ndata:\n\n"
    result = json.loads(first)
    assert result.keys() == {"errors"}
    [error] = result["errors"]
    return error["extensions"]


@contextmanager
def _silent(server: Served, query: str) -> Iterator[None]:
    """A client that asks and reads nothing."""
    content = json.dumps({"query": query})
    lines = ["POST /graphql HTTP/1.1", "Host: x", f"Accept: {EVENT_STREAM}", f"Authorization: {AUTHORIZATION}"]
    lines += [f"Content-Type: {JSON}", f"Content-Length: {len(content)}", "", content]
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall("\r\n".join(lines).encode())
        yield


# Events


@pytest.mark.parametrize("accept", [EVENT_STREAM, URQL, APOLLO, f"{EVENT_STREAM};q=0.1, {JSON}"])
def test_a_subscription_is_its_results_and_then_complete_byte_by_byte(server: Served, accept: str) -> None:
    answer = _send(server, {"query": COUNT}, accept=accept)

    assert (answer.status_code, answer.headers["content-type"]) == (200, f"{EVENT_STREAM}; charset=utf-8")
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store, no-transform", "no")
    assert answer.content == (
        b'event: next\ndata: {"data":{"count":1}}\n\n'
        b'event: next\ndata: {"data":{"count":2}}\n\n'
        b"event: complete\ndata:\n\n"
    )


def test_a_subscription_by_get_is_the_same(server: Served) -> None:
    query = "subscription ($to: Int!) { count(to: $to) }"
    with event_stream.opened(
        server.url.removesuffix("/graphql"), query, token=AUTHORIZATION, method="GET", to=2
    ) as stream:
        assert stream.rest() == [("next", {"data": {"count": 1}}), ("next", {"data": {"count": 2}}), COMPLETE]


def test_events_come_one_by_one_and_not_at_the_end(server: Served) -> None:
    with _open(server, ENDLESS) as stream:
        assert stream.result() == {"data": {"endless": 1}}


@pytest.mark.parametrize(("query", "data"), [(HELLO, {"hello": "world"}), (CREATE, {"create": "a"})])
def test_queries_and_mutations_are_one_result_and_then_complete(
    server: Served, query: str, data: dict[str, str]
) -> None:
    with _open(server, query) as stream:
        assert stream.rest() == [("next", {"data": data}), COMPLETE]


def test_a_query_that_was_streamed_was_answered(server: Served) -> None:
    with _open(server, HELLO) as stream:
        stream.rest()

    server.seen.wait_for("answered")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (f"{JSON};q=0.5, {EVENT_STREAM}", EVENT_STREAM),
        (f"{JSON};q=0, {EVENT_STREAM};q=0.1", EVENT_STREAM),
        (APOLLO, GRAPHQL),
        (f"{EVENT_STREAM}, */*", JSON),
        (f"{EVENT_STREAM};q=0, {JSON}", JSON),
    ],
)
def test_who_takes_json_as_well_gets_it_for_a_query(server: Served, accept: str, expected: str) -> None:
    answer = _send(server, {"query": HELLO}, accept=accept)

    assert answer.headers["content-type"] == f"{expected}; charset=utf-8"


@pytest.mark.parametrize("accept", [JSON, "*/*", f"{EVENT_STREAM};q=0, {JSON}"])
def test_who_does_not_name_event_streams_gets_none(server: Served, accept: str) -> None:
    answer = _send(server, {"query": COUNT}, accept=accept)

    [error] = answer.json()["errors"]
    assert "text/event-stream" in error["message"]


# Errors


@pytest.mark.parametrize("request_", SUBSCRIPTION_ERRORS.values(), ids=SUBSCRIPTION_ERRORS)
def test_what_cannot_be_run_is_an_event_and_not_a_status(server: Served, request_: dict[str, Any]) -> None:
    """The protocol: what validation finds must be told through an accepted stream."""
    extensions = _only_errors(_send(server, request_))

    assert extensions["code"] == "INVALID_ARGUMENT"
    assert "field" in extensions


@pytest.mark.parametrize(
    "query",
    [
        "subscription { nothing }",
        "subscription ($to: Int!) { count(to: $to) }",
        "subscription { one: count(to: 1) two: count(to: 1) }",
    ],
)
def test_neither_is_a_subscription_that_cannot_be_run(server: Served, query: str) -> None:
    assert _only_errors(_send(server, {"query": query}))["code"] == "INVALID_ARGUMENT"


def test_a_mutation_by_get_is_405(server: Served) -> None:
    answer = httpx.get(server.url, params={"query": CREATE}, headers={"Accept": EVENT_STREAM})

    _refused(answer, 405, "query")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [(b"{", {}, 400), (b"{}", {}, 400), (b"[]", {}, 400), (b"{}", {"Content_Type": "text/plain"}, 415)],
)
def test_what_is_no_request_is_refused_by_its_status(
    server: Served, content: bytes, headers: dict[str, str], status: int
) -> None:
    """So no form of another site can start a stream."""
    _refused(
        server.send(content, Accept=EVENT_STREAM, **headers),
        status,
        "query" if content == b"{}" and not headers else None,
    )


def test_a_stream_that_breaks_tells_why_and_completes(server: Served) -> None:
    with _open(server, "subscription { expiredAfter(events: 2) }") as stream:
        *first, (name, last), complete = stream.rest()

    assert [result["data"] for _, result in first] == [{"expiredAfter": 0}, {"expiredAfter": 1}]
    assert (name, complete) == ("next", COMPLETE)
    assert last.keys() == {"errors"}
    assert last["errors"][0]["extensions"] == {"code": "CURSOR_EXPIRED", "field": "after"}


@pytest.mark.parametrize("name", ["brokenAfter", "unwritableAfter"])
def test_errors_of_the_servers_own_are_masked_and_end_the_stream(server: Served, name: str) -> None:
    with _open(server, f"subscription {{ {name}(events: 1) }}") as stream:
        first, (_, last), complete = stream.rest()

    assert first == ("next", {"data": {name: 0}})
    assert last["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert SECRET not in json.dumps(last)
    assert complete == COMPLETE


def test_an_error_in_an_event_ends_nothing(server: Served) -> None:
    with _open(server, "subscription { branches { name broken } }") as stream:
        *events, complete = stream.rest()

    assert [result["data"] for _, result in events] == [{"branches": {"name": "leaf", "broken": None}}] * 2
    assert complete == COMPLETE


# Tokens


@pytest.mark.parametrize("token", ["", "Bearer bad", "Bearer ended"])
def test_without_a_good_token_there_is_one_error(server: Served, token: str) -> None:
    with _open(server, COUNT, token=token) as stream:
        (_, result), complete = stream.rest()

    assert (result["errors"][0]["extensions"], complete) == ({"code": "UNAUTHENTICATED"}, COMPLETE)


def test_a_token_that_ends_ends_the_stream(server: Served) -> None:
    with _open(server, ENDLESS, token="Bearer short") as stream:
        stream.result()
        (_, result), complete = stream.rest()

    [error] = result["errors"]
    assert (error["message"], error["extensions"]) == ("The token has expired.", {"code": "UNAUTHENTICATED"})
    assert complete == COMPLETE
    server.seen.wait_for("endless closed")


# Silence, and ends


def test_a_comment_comes_where_nothing_else_does() -> None:
    with serve(ping_interval=SOON_S) as server, _open(server, ENDLESS, token="Bearer short") as stream:
        stream.rest()
    with serve(ping_interval=SOON_S / 6) as server, _open(server, ENDLESS, token="Bearer short") as quick:
        quick.rest()

    assert stream.comments == [] or stream.comments == [""]
    assert len(quick.comments) > 2
    assert set(quick.comments) == {""}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_client_that_leaves_ends_its_stream(server: Served, method: str) -> None:
    with _open(server, 'subscription { endless(name: "left") }', method=method) as stream:
        stream.result()

    server.seen.wait_for("left closed")


def test_who_takes_nothing_is_dropped_and_others_are_not_slowed() -> None:
    with serve(socket_timeout=2 * SOON_S) as server, _silent(server, "subscription { flood }"):
        with _open(server, ENDLESS) as other:
            assert other.result() == {"data": {"endless": 1}}
        server.seen.wait_for("flood closed")

        assert server.complaints == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_stopping_ends_every_stream_without_complete(method: str) -> None:
    """So a client comes back, where after `complete` it would not."""
    with serve() as server, _open(server, ENDLESS, method=method) as stream:
        stream.result()

        server.stop()

        assert stream.rest() == []
        assert stream.comments == ["The server stops: come back, and resume."]
        assert server.complaints == []


def test_stopping_waits_for_nobody_who_does_not_read() -> None:
    with serve() as server, _silent(server, "subscription { flood }"):
        deadline = time.monotonic() + DEADLINE_S
        while server.unsent() == 0:
            assert time.monotonic() < deadline
        assert server.unsent() < FULL + 2 * EVENT_BYTES  # the subscription waits
        began = time.monotonic()

        server.stop()

        assert time.monotonic() - began < LINGER_SECONDS + 3
        server.seen.wait_for("flood closed")
        assert server.complaints == []


# How many


def _is_refused(answer: httpx.Response, reason: str) -> bool:
    if answer.status_code == 200:
        return False
    [error] = answer.json()["errors"]
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert (error["message"], error["extensions"]) == (reason, {"code": "RATE_LIMITED"})
    return True


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(sockets=1), "The server has as many sockets as it takes: try again later."),
        (Limits(sockets_per_user=1), "A user has at most 1 sockets."),
        (Limits(subscriptions_per_user=1), "A user runs at most 1 operations at a time."),
        (Limits(subscriptions=1), "The server runs as many operations as it takes: try again later."),
    ],
)
def test_a_stream_counts_as_a_socket_with_one_operation(limits: Limits, reason: str) -> None:
    with serve(limits) as server:
        with _open(server, ENDLESS) as stream:
            stream.result()
            assert _is_refused(_send(server, {"query": COUNT}), reason)
            assert _send(server, {"query": HELLO}).status_code == 200  # which is over at once
        server.seen.wait_for("endless closed")
        deadline = time.monotonic() + DEADLINE_S
        while _is_refused(_send(server, {"query": COUNT}), reason):
            assert time.monotonic() < deadline


def test_sockets_and_streams_share_the_room_of_a_user() -> None:
    with serve(Limits(sockets_per_user=1)) as server, server.socket():
        assert _is_refused(_send(server, {"query": COUNT}), "A user has at most 1 sockets.")
        with _open(server, COUNT, token=ANOTHER_AUTHORIZATION) as stream:
            assert stream.rest()[-1] == COMPLETE
