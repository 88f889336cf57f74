"""graphql-transport-ws to the letter, and no message that ends in 1006."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from gql import Client as GqlClient
from gql import gql
from gql.transport.websockets import WebsocketsTransport
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus

from schema import limits, messages, websocket
from tests.protocol.conftest import AUTHORIZATION, SECRET, Client, Served, serve

INIT = {"type": "connection_init", "payload": {"Authorization": AUTHORIZATION}}


def _subscribe(**payload: object) -> dict[str, object]:
    return {"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", **payload}}


def _answer(client: Client, query: str, **more: Any) -> list[Any]:
    """All messages of one operation, without their id."""
    client.subscribe(query, **more)
    messages: list[Any] = []
    while not messages or messages[-1]["type"] == "next":
        message = client.receive()
        assert message.pop("id") == "1"
        messages.append(message)
    return messages


def _error(client: Client, query: str, **more: Any) -> Any:
    """The one error that an operation ends with."""
    (message,) = _answer(client, query, **more)
    assert message["type"] == "error"
    (error,) = message["payload"]
    return error["extensions"]


def _still_speaks(client: Client) -> bool:
    return _answer(client, "{ hello }") == [
        {"type": "next", "payload": {"data": {"hello": "world"}}},
        {"type": "complete"},
    ]


# Opening


def test_the_one_protocol_is_chosen_among_those_offered(server: Served) -> None:
    with server.open("graphql-ws", "graphql-transport-ws") as client:
        assert client.connection.subprotocol == "graphql-transport-ws"


@pytest.mark.parametrize("protocol", ["graphql-ws", "graphql-sse", "nonsense"])
def test_no_other_protocol_is_spoken(server: Served, protocol: str) -> None:
    with server.open(protocol) as client:
        assert client.connection.subprotocol is None
        assert client.closed() == (4406, "Subprotocol not acceptable")


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", "http://127.0.0.1:1"])
def test_pages_of_other_origins_are_refused(server: Served, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused, server.open(origin=origin):
        pass

    assert refused.value.response.status_code == 403


def test_pages_of_this_origin_are_not(server: Served) -> None:
    with server.open(origin=f"http://127.0.0.1:{server.port}") as client:
        client.send(INIT)
        assert client.receive() == {"type": "connection_ack"}


# connection_init


@pytest.mark.parametrize("key", ["Authorization", "authorization", "AUTHORIZATION"])
def test_the_token_comes_with_connection_init(server: Served, key: str) -> None:
    with server.open() as client:
        client.send({"type": "connection_init", "payload": {"other": 1, key: AUTHORIZATION}})

        assert client.receive() == {"type": "connection_ack"}
        assert _answer(client, "{ authorization via }")[0] == {
            "type": "next",
            "payload": {"data": {"authorization": AUTHORIZATION, "via": "WEBSOCKET"}},
        }


@pytest.mark.parametrize("init", [{}, {"payload": None}, {"payload": {}}, {"payload": {"other": 1}}])
def test_else_the_token_is_that_of_the_upgrade_request(server: Served, init: dict[str, object]) -> None:
    with server.open(additional_headers={"Authorization": AUTHORIZATION}) as client:
        client.send({"type": "connection_init"} | init)

        assert client.receive() == {"type": "connection_ack"}


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"Authorization": "Bearer bad"},
        {"Authorization": "Bearer ended"},
        {"Authorization": None},
        {"Authorization": [AUTHORIZATION]},
        {"Authorization": ""},
        {"token": AUTHORIZATION},
    ],
)
def test_without_a_valid_token_the_socket_is_closed(server: Served, payload: object) -> None:
    with server.open() as client:
        client.send({"type": "connection_init", "payload": payload})

        code, reason = client.closed()
        assert code == 4403
        assert reason.startswith("UNAUTHENTICATED")


def test_a_bad_token_in_the_payload_is_not_made_good_by_the_header(server: Served) -> None:
    with server.open(additional_headers={"Authorization": AUTHORIZATION}) as client:
        client.send({"type": "connection_init", "payload": {"Authorization": "Bearer bad"}})

        assert client.closed()[0] == 4403


def test_the_socket_is_closed_when_its_token_ends(server: Served) -> None:
    with server.open() as client:
        client.send({"type": "connection_init", "payload": {"Authorization": "Bearer short"}})
        client.subscribe('subscription { endless(name: "short") }')

        assert client.closed() == (4403, "UNAUTHENTICATED: the token has expired")
    server.seen.wait_for("short closed")


def test_an_operation_before_the_acknowledgement_closes_with_4401(server: Served) -> None:
    with server.open() as client:
        client.send(_subscribe())

        assert client.closed() == (4401, "Unauthorized")


@pytest.mark.parametrize("second", [INIT, {"type": "connection_init"}])
def test_a_second_connection_init_closes_with_4429(server: Served, second: object) -> None:
    with server.socket() as client:
        client.send(second)

        assert client.closed() == (4429, "Too many initialisation requests")


def test_who_never_introduces_himself_is_closed_with_4408(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server.app.connection_init_wait_timeout == timedelta(seconds=10)
    monkeypatch.setattr(server.app, "connection_init_wait_timeout", timedelta(seconds=0.1))

    with server.open() as client:
        assert client.closed() == (4408, "Connection initialisation timeout")


# Messages of the wrong shape

NONE_OF_THE_PROTOCOL: dict[str, object] = {
    "null": None,
    "a list": [INIT],
    "a string": "connection_init",
    "a number": 1,
    "true": True,
    "nothing": {},
    "no type": {"id": "1"},
    "an unknown type": {"type": "start", "id": "1"},
    "a server's type": {"type": "next", "id": "1", "payload": {}},
    "a type that is a list": {"type": ["ping"]},
    "a type that is null": {"type": None},
    "a type of 1,000 characters": {"type": "x" * 1000},
    "a ping with a list": {"type": "ping", "payload": []},
    "a pong with a string": {"type": "pong", "payload": "x"},
    "connection_init with a list": {"type": "connection_init", "payload": []},
    "connection_init with a string": {"type": "connection_init", "payload": "x"},
    "complete without an id": {"type": "complete"},
    "complete with a number": {"type": "complete", "id": 1},
    "no id": {"type": "subscribe", "payload": {"query": "{ hello }"}},
    "an empty id": _subscribe() | {"id": ""},
    "an id that is null": _subscribe() | {"id": None},
    "an id that is a number": _subscribe() | {"id": 1},
    "an id that is a list": _subscribe() | {"id": ["1"]},
    "an id that is an object": _subscribe() | {"id": {}},
    "an id with a lone surrogate": _subscribe() | {"id": "\ud800"},
    "an id of 257 characters": _subscribe() | {"id": "x" * 257},
    "no payload": {"type": "subscribe", "id": "1"},
    "a payload that is null": _subscribe() | {"payload": None},
    "a payload that is a list": _subscribe() | {"payload": []},
    "a payload that is a string": _subscribe() | {"payload": "{ hello }"},
    "no query": _subscribe() | {"payload": {}},
    "a query that is null": _subscribe(query=None),
    "a query that is a list": _subscribe(query=["{ hello }"]),
    "variables that are a list": _subscribe(variables=[]),
    "variables that are a string": _subscribe(variables="{}"),
    "an operationName that is a number": _subscribe(operationName=1),
    "extensions that are a list": _subscribe(extensions=[]),
    "a documentId that is a number": _subscribe(documentId=1),
    "no query, and a documentId that is empty": _subscribe(query=None, documentId=""),
}


@pytest.mark.parametrize("message", NONE_OF_THE_PROTOCOL.values(), ids=NONE_OF_THE_PROTOCOL)
def test_a_message_of_another_shape_closes_with_4400_and_why(server: Served, message: object) -> None:
    with server.socket() as client:
        client.send(message)

        code, reason = client.closed()
        assert code == 4400
        assert reason


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "NaN",
        '{"type": NaN}',
        "[" * 100_000,
        '{"a":' * 50_000,
        "9" * 5000,
        '{"type": "ping", "payload": ' + "[" * 500,
    ],
    ids=["nothing", "half an object", "NaN", "NaN inside", "deep", "deep objects", "a long integer", "not closed"],
)
def test_a_message_that_is_not_json_closes_with_4400(server: Served, text: str) -> None:
    with server.socket() as client:
        client.connection.send(text)

        assert client.closed() == (4400, "WebSocket message must be valid JSON")


def test_a_binary_message_closes_with_4400(server: Served) -> None:
    with server.socket() as client:
        client.connection.send(b'{"type": "ping"}')

        assert client.closed() == (4400, "WebSocket message type must be text")


@pytest.mark.parametrize("pieces", [[b'"\xff"'], [b'"\xc3', b'"'], [b'"\xed\xa0\x80"']])
def test_a_text_that_is_not_utf_8_closes_with_1007(server: Served, pieces: list[bytes]) -> None:
    """And is no error of the server's, which it would write into its log."""
    with server.socket() as client:
        client.connection.send(pieces, text=True)

        assert client.closed() == (1007, "a text message must be UTF-8")


def test_a_message_may_come_in_any_number_of_pieces(server: Served) -> None:
    with server.socket() as client:
        message = json.dumps(_subscribe(query='{ echo(value: "\u00e9\U0001f514") }'), ensure_ascii=False).encode()
        client.connection.send((bytes([byte]) for byte in message), text=True)

        assert client.receive()["payload"] == {"data": {"echo": "\u00e9\U0001f514"}}


def test_a_message_that_is_too_large_closes_with_1009(server: Served) -> None:
    with server.socket() as client:
        client.send(_subscribe(variables={"v": "x" * websocket.MAX_MESSAGE_BYTES}))

        assert client.closed()[0] == 1009


def test_a_message_may_be_large(server: Served) -> None:
    with server.socket() as client:
        value = "x" * (websocket.MAX_MESSAGE_BYTES - 500)

        answer = _answer(client, "query ($v: JSON!) { echo(value: $v) }", variables={"v": value})

        assert answer[0]["payload"] == {"data": {"echo": value}}


def test_a_reason_is_cut_to_what_a_close_frame_holds(server: Served) -> None:
    id = "ü" * messages.MAX_ID_CHARACTERS
    with server.socket() as client:
        for _ in range(2):
            client.subscribe("subscription { endless }", id)

        code, reason = client.closed()
        assert code == 4409
        assert reason.startswith("Subscriber for üü")
        assert 120 < len(reason.encode()) <= 123


# Operations


def test_queries_mutations_and_subscriptions_run(server: Served) -> None:
    with server.socket() as client:
        assert _still_speaks(client)
        assert _answer(client, 'mutation { create(input: {topic: "a"}) }')[0]["payload"] == {"data": {"create": "a"}}
        assert _answer(client, "subscription { count(to: 3) }") == [
            *({"type": "next", "payload": {"data": {"count": number}}} for number in (1, 2, 3)),
            {"type": "complete"},
        ]


def test_the_named_operation_is_run(server: Served) -> None:
    with server.socket() as client:
        answer = _answer(
            client, "query A { via } query B { hello }", operationName="B", variables=None, extensions=None
        )

        assert answer[0]["payload"] == {"data": {"hello": "world"}}


@pytest.mark.parametrize("payload", [{}, {"payload": None}, {"payload": {"any": 1}}])
def test_a_ping_is_answered_by_a_pong_even_before_connection_init(server: Served, payload: dict[str, object]) -> None:
    with server.open() as client:
        client.send({"type": "ping"} | payload)

        assert client.receive() == {"type": "pong"}


def test_a_pong_needs_no_ping(server: Served) -> None:
    with server.socket() as client:
        client.send({"type": "pong", "payload": None})

        assert _still_speaks(client)


def test_an_id_in_use_closes_with_4409(server: Served) -> None:
    with server.socket() as client:
        client.subscribe("subscription { endless }")
        client.subscribe("{ hello }")

        assert client.closed() == (4409, "Subscriber for 1 already exists")


def test_an_id_can_be_used_again_once_it_is_completed(server: Served) -> None:
    with server.socket() as client:
        for _ in range(3):
            client.subscribe('subscription { endless(name: "again") }')
            assert client.receive()["type"] == "next"
            client.send({"type": "complete", "id": "1"})
            server.seen.wait_for("again closed")

        assert _still_speaks(client)


def test_completing_what_is_not_running_is_nothing(server: Served) -> None:
    with server.socket() as client:
        client.send({"type": "complete", "id": "nobody's"})

        assert _still_speaks(client)


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "a syntax error": ({"query": "{"}, "query"),
    "an empty document": ({"query": ""}, "query"),
    "a validation error": ({"query": "{ nothing }"}, "query"),
    "an unknown operation": ({"query": "query A { hello }", "operationName": "B"}, "operationName"),
    "an unknown operation with a lone surrogate": ({"query": "{ hello }", "operationName": "\ud800"}, "operationName"),
    "no operation": ({"query": "fragment A on Query { hello }"}, "operationName"),
    "several operations, none named": ({"query": "query A { hello } query B { hello }"}, "operationName"),
    "a wrong variable": ({"query": "query ($a: ID!) { sameId(id: $a) }", "variables": {"a": []}}, "id"),
    "a missing variable": ({"query": "subscription ($n: Int!) { count(to: $n) }"}, "to"),
    "a lone surrogate in the document": ({"query": "{ \ud800 }"}, "query"),
    "too deep": ({"query": "{ branch " + "{ left " * 20 + "{ name }" + " }" * 21}, "query"),
    "two fields to subscribe to": ({"query": "subscription { count(to: 1) endless }"}, "query"),
    "several mistakes": ({"query": "{ " + "nothing " * limits.MAX_ERRORS * 2 + "}"}, "query"),
}


@pytest.mark.parametrize(("payload", "field"), INVALID.values(), ids=INVALID)
def test_an_operation_that_cannot_be_run_ends_alone(server: Served, payload: dict[str, Any], field: str) -> None:
    with server.socket() as client:
        client.send({"type": "subscribe", "id": "1", "payload": payload})
        message = client.receive()

        assert (message["type"], message["id"]) == ("error", "1")
        assert message["payload"][0]["extensions"] == {"code": "INVALID_ARGUMENT", "field": field}
        assert _still_speaks(client)


def test_an_error_of_a_field_is_part_of_its_event(server: Served) -> None:
    with server.socket() as client:
        first, second, end = _answer(client, "subscription { branches { name broken } }")

        assert first == second
        assert end == {"type": "complete"}
        assert first["payload"]["data"] == {"branches": {"name": "leaf", "broken": None}}
        assert first["payload"]["errors"][0]["extensions"] == {"code": "NOT_FOUND"}


@pytest.mark.parametrize("events", [0, 2])
def test_a_subscription_that_is_refused_ends_with_its_code(server: Served, events: int) -> None:
    with server.socket() as client:
        *before, last = _answer(client, f"subscription {{ expiredAfter(events: {events}) }}")

        assert len(before) == events
        assert last["type"] == "error"
        assert last["payload"][0]["extensions"] == {"code": "CURSOR_EXPIRED", "field": "after"}
        assert _still_speaks(client)


@pytest.mark.parametrize("events", [0, 2])
def test_a_subscription_that_breaks_tells_nothing(server: Served, events: int) -> None:
    with server.socket() as client:
        *before, last = _answer(client, f"subscription {{ brokenAfter(events: {events}) }}")

        assert len(before) == events
        assert last["payload"][0]["extensions"].keys() == {"code", "requestId"}
        assert SECRET not in json.dumps(last)
        assert _still_speaks(client)


def test_an_answer_that_cannot_be_written_ends_its_operation(server: Served) -> None:
    with server.socket() as client:
        assert _error(client, "{ unwritable }")["code"] == "INTERNAL"
        assert _still_speaks(client)


@pytest.mark.parametrize("value", ["\ud800", 2**70, "🎉"])
def test_what_orjson_cannot_write_is_written_all_the_same(server: Served, value: object) -> None:
    with server.socket() as client:
        answer = _answer(client, "query ($v: JSON!) { echo(value: $v) }", variables={"v": value})

        assert answer[0]["payload"] == {"data": {"echo": value}}


# Ends


def test_completing_a_subscription_closes_its_generator(server: Served) -> None:
    with server.socket() as client:
        client.subscribe('subscription { endless(name: "completed") }')
        assert client.receive()["type"] == "next"

        client.send({"type": "complete", "id": "1"})

        server.seen.wait_for("completed closed")
        assert _still_speaks(client)


def test_leaving_closes_every_generator(server: Served) -> None:
    with server.socket() as client:
        for name in ("first", "second"):
            client.subscribe(f'subscription {{ endless(name: "{name}") }}', id=name)
            assert client.receive()["type"] == "next"

    server.seen.wait_for("first closed")


def test_a_lost_connection_closes_every_generator(server: Served) -> None:
    with server.socket() as client:
        client.subscribe('subscription { endless(name: "lost") }')
        assert client.receive()["type"] == "next"
        client.connection.socket.close()

        server.seen.wait_for("lost closed")


def test_stopping_the_server_closes_with_1012_and_every_generator() -> None:
    with serve() as server, server.socket() as client:
        client.subscribe('subscription { endless(name: "stopped") }')
        assert client.receive()["type"] == "next"

        server.stop()

        assert client.closed()[0] == 1012
        server.seen.wait_for("stopped closed")
        assert server.complaints == []


def test_a_socket_runs_so_many_operations_and_no_more(server: Served) -> None:
    with server.socket() as client:
        for number in range(websocket.MAX_OPERATIONS):
            client.subscribe("subscription { endless }", id=str(number))
        for _ in range(websocket.MAX_OPERATIONS):
            assert client.receive()["type"] == "next"

        client.subscribe("{ hello }", id="one more")
        refused = client.receive()
        assert (refused["id"], refused["type"]) == ("one more", "error")
        assert refused["payload"][0]["extensions"] == {"code": "RATE_LIMITED"}

        client.send({"type": "complete", "id": "0"})
        client.subscribe("{ hello }", id="one more")
        assert client.receive()["type"] == "next"


# Any message at all

_SCRAP = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=200), st.just("{ hello }"))
_VALUE = st.recursive(
    _SCRAP, lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3)
)
_TYPES = st.sampled_from(["connection_init", "subscribe", "complete", "ping", "pong", "next", "error"]) | _VALUE
_PAYLOAD = (
    st.fixed_dictionaries(
        {},
        optional={
            "query": st.sampled_from(["{ hello }", "{", "subscription { count(to: 2) }", "{ broken }"]) | _VALUE,
            "variables": _VALUE,
            "operationName": _VALUE,
            "extensions": _VALUE,
        },
    )
    | _VALUE
)
_MESSAGE = (
    st.fixed_dictionaries(
        {}, optional={"type": _TYPES, "id": st.sampled_from(["1", "2"]) | _VALUE, "payload": _PAYLOAD}
    )
    | _VALUE
)
_ROUGH = st.binary(max_size=50) | st.text(max_size=50)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(_MESSAGE, max_size=5), rough=_ROUGH | st.none(), acknowledged=st.booleans())
def test_no_message_ends_the_socket_without_a_reason(
    server: Served, messages: list[object], rough: str | bytes | None, acknowledged: bool
) -> None:
    """Either the socket answers the ping at the end, or it was closed with a code of the protocol."""
    with server.open() as client:
        with suppress(ConnectionClosed):
            if acknowledged:
                client.send(INIT)
            for message in messages:
                client.send(message)
            if rough is not None:
                client.connection.send(rough)
            client.send({"type": "ping"})
            while client.receive() != {"type": "pong"}:
                pass
            return
        code, reason = client.closed()
        assert code in (4400, 4401, 4403, 4409, 4429)
        assert reason


# A client of others


async def test_the_gql_client_gets_along(server: Served) -> None:
    transport = WebsocketsTransport(url=server.url.replace("http", "ws"), init_payload={"Authorization": AUTHORIZATION})
    async with asyncio.timeout(10), GqlClient(transport=transport, fetch_schema_from_transport=True) as session:
        assert await session.execute(gql("{ hello }")) == {"hello": "world"}
        numbers = [event["count"] async for event in session.subscribe(gql("subscription { count(to: 3) }"))]

    assert numbers == [1, 2, 3]
