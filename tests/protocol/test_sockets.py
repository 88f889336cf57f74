"""Sockets are counted, bounded and ended for a reason, whatever the far side does."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from schema.bounded_socket import LINGER_SECONDS
from schema.sockets import Limits
from tests.protocol.conftest import (
    ANOTHER_AUTHORIZATION,
    AUTHORIZATION,
    DEADLINE_S,
    EVENT_BYTES,
    Client,
    Served,
    serve,
)
from tests.rude import rude

SOON_S = 0.4  # the socket timeout of these tests
FULL = 64 * 1024  # asyncio's mark, beyond which nobody may add to what waits
ENDLESS = "subscription { endless }"
HELLO = {"data": {"hello": "world"}}


def _base(server: Served) -> str:
    return server.url.removesuffix("/graphql")


def _hello(client: Client, id: str = "hello") -> Any:
    client.subscribe("{ hello }", id=id)
    message = client.receive()
    assert message["id"] == id
    if message["type"] == "next":
        assert client.receive() == {"id": id, "type": "complete"}
    return message["payload"]


def _eventually(attempt: Callable[[], bool]) -> None:
    """Something that a client cannot be told of: that the server has noticed its leaving."""
    deadline = time.monotonic() + DEADLINE_S
    while not attempt():
        assert time.monotonic() < deadline


def _is_taken(server: Served) -> bool:
    with server.open() as client:
        client.send({"type": "connection_init", "payload": {"Authorization": AUTHORIZATION}})
        try:
            return bool(client.receive() == {"type": "connection_ack"})
        except Exception:
            return False


# How many


def test_a_user_has_so_many_sockets_and_one_more_when_one_is_gone() -> None:
    with serve(Limits(sockets_per_user=2)) as server:
        with server.socket(), server.socket(), server.open() as third:
            third.send({"type": "connection_init", "payload": {"Authorization": AUTHORIZATION}})

            assert third.closed() == (1013, "RATE_LIMITED: A user has at most 2 sockets.")
            with server.socket(ANOTHER_AUTHORIZATION) as another:
                assert _hello(another) == HELLO
        _eventually(lambda: _is_taken(server))


def test_a_server_has_so_many_sockets_whoever_they_are_of() -> None:
    with serve(Limits(sockets=2)) as server:
        with server.socket(), server.open(), server.open() as third:
            assert third.closed() == (
                1013,
                "RATE_LIMITED: The server has as many sockets as it takes: try again later.",
            )
        _eventually(lambda: _is_taken(server))


def test_a_user_runs_so_many_operations_over_all_sockets_and_one_more_when_one_has_ended() -> None:
    with serve(Limits(subscriptions_per_user=2)) as server, server.socket() as one, server.socket() as other:
        one.subscribe('subscription { endless(name: "first") }', id="1")
        other.subscribe(ENDLESS, id="2")
        assert one.receive()["type"] == other.receive()["type"] == "next"

        [error] = _hello(one)
        assert error["extensions"] == {"code": "RATE_LIMITED"}
        assert error["message"] == "A user runs at most 2 operations at a time."

        one.send({"type": "complete", "id": "1"})
        server.seen.wait_for("first closed")
        _eventually(lambda: bool(_hello(other) == HELLO))


def test_a_server_runs_so_many_operations_whoever_they_are_of() -> None:
    limits = Limits(subscriptions=1)
    with serve(limits) as server, server.socket() as one, server.socket(ANOTHER_AUTHORIZATION) as other:
        one.subscribe(ENDLESS)
        assert one.receive()["type"] == "next"

        [error] = _hello(other)
        assert error["extensions"] == {"code": "RATE_LIMITED"}
        assert error["message"].startswith("The server")


def test_an_operation_that_is_refused_takes_no_room() -> None:
    with serve(Limits(subscriptions=1, subscriptions_per_user=1)) as server, server.socket() as client:
        for _ in range(3):
            client.subscribe("{ nothing }")
            assert client.receive()["type"] == "error"

        _eventually(lambda: bool(_hello(client) == HELLO))


def test_an_operation_that_is_completed_before_it_began_takes_no_room() -> None:
    limits = Limits(subscriptions=1, subscriptions_per_user=1)
    with serve(limits) as server, server.socket() as client, server.socket() as other:
        for _ in range(3):
            client.subscribe(ENDLESS)
            client.send({"type": "complete", "id": "1"})

        _eventually(lambda: bool(_hello(other) == HELLO))


# The dead and the slow


def test_who_answers_no_ping_is_gone_and_who_does_stays() -> None:
    quick = serve(ping_interval=SOON_S, socket_timeout=SOON_S)
    with quick as server, server.socket() as alive, rude(_base(server)) as dead:
        dead.introduce(AUTHORIZATION)
        dead.subscribe('subscription { endless(name: "dead") }')

        server.seen.wait_for("dead closed")

        assert dead.receive()["type"] == "next"
        assert dead.closed() == (1013, "no answer to a ping")
        assert _hello(alive) == HELLO
        assert server.complaints == []


def test_who_takes_nothing_is_closed_with_1013_and_others_are_not_slowed() -> None:
    with serve(socket_timeout=SOON_S) as server, server.socket() as other, rude(_base(server)) as slow:
        slow.introduce(AUTHORIZATION)
        for number in range(50):
            slow.subscribe(f'subscription {{ flood(name: "{number}") }}', id=str(number))
        for _ in range(200):  # it takes some, so that there is room for a while
            slow.receive()
        _eventually(lambda: server.unsent() > FULL)

        assert server.unsent() < FULL + 2 * EVENT_BYTES  # of all that wait for room, one is let in at a time
        assert _hello(other) == HELLO
        server.seen.wait_for("49 closed")

        assert slow.closed() == (1013, "too slow: what was sent was not taken")
        assert _hello(other) == HELLO
        assert server.complaints == []


# The end


def test_stopping_ends_every_stream_with_1012_and_waits_for_nobody() -> None:
    with serve(Limits(sockets_per_user=100)) as server, ExitStack() as sockets:
        clients = [sockets.enter_context(server.socket()) for _ in range(50)]
        for client in clients:
            client.subscribe(ENDLESS)
            assert client.receive()["type"] == "next"
        slow = sockets.enter_context(rude(_base(server)))
        slow.introduce(AUTHORIZATION)
        slow.subscribe('subscription { flood(name: "slow") }')
        _eventually(lambda: server.unsent() > FULL)
        began = time.monotonic()

        server.stop()

        assert time.monotonic() - began < LINGER_SECONDS + 3
        assert [client.closed()[0] for client in clients] == [1012] * 50
        server.seen.wait_for("slow closed")
        assert server.complaints == []
