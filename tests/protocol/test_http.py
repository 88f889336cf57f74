"""GraphQL over HTTP as its specification says, and no request that ends in a crash."""

from __future__ import annotations

import gzip
import json
import socket
from typing import Any, NoReturn

import httpx
import pytest

from schema import body, execution, limits, negotiation
from tests.protocol.conftest import DEADLINE_S, SECRET, Served

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
HELLO = b'{"query": "{ hello }"}'


def _media_type(answer: httpx.Response) -> str:
    media_type, _, parameter = answer.headers["content-type"].partition("; ")
    assert parameter == "charset=utf-8"
    return media_type


def _refused(answer: httpx.Response, status: int, field: str | None = None) -> None:
    """Every refusal is one GraphQL error with a code, never text and never with data."""
    assert answer.status_code == status
    assert _media_type(answer) in (JSON, GRAPHQL)
    assert answer.json().keys() == {"errors"}
    (error,) = answer.json()["errors"]
    expected = {"code": "INVALID_ARGUMENT"} | ({"field": field} if field else {})
    assert error["extensions"] == expected
    assert error["message"]


# What is accepted


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (GRAPHQL, GRAPHQL),
        (JSON, JSON),
        (f"{GRAPHQL}; charset=utf-8, {JSON}; charset=utf-8", GRAPHQL),
        (f"{GRAPHQL}, {JSON};q=0.9", GRAPHQL),
        (f"{JSON}, {GRAPHQL}", GRAPHQL),
        (f"{JSON}, {GRAPHQL};q=0.5", JSON),
        (f"{GRAPHQL};q=0, */*", JSON),
        (f"{JSON};q=0, */*", GRAPHQL),
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/html, */*;q=0.1", JSON),
        ("Application/GraphQL-Response+JSON", GRAPHQL),
        (f"text/event-stream, {GRAPHQL}", GRAPHQL),
        ("", JSON),
        (", ,", JSON),
        (f"{GRAPHQL};q=nonsense", GRAPHQL),
    ],
)
def test_the_answer_has_the_media_type_the_client_prefers(server: Served, accept: str, expected: str) -> None:
    answer = server.send(HELLO, Accept=accept)

    assert (answer.status_code, _media_type(answer)) == (200, expected)
    assert answer.json() == {"data": {"hello": "world"}}


def test_a_client_that_says_nothing_gets_json(server: Served) -> None:
    request = httpx.Request("POST", server.url, content=HELLO, headers={"Content-Type": JSON})
    with httpx.Client() as client:
        answer = client.send(request)

    assert "accept" not in request.headers
    assert _media_type(answer) == JSON


@pytest.mark.parametrize("accept", ["text/html", "text/*", "application/xml", "image/*", f"{JSON};q=0"])
def test_a_client_that_accepts_no_json_gets_406(server: Served, accept: str) -> None:
    _refused(server.send(HELLO, Accept=accept), 406)


def test_of_all_that_clients_accept_only_so_much_is_kept() -> None:
    for number in range(2 * negotiation.KEPT):
        negotiation.accepted(f"{JSON}, text/{number}".encode())
        body.check_type(f"{JSON}; profile={number}".encode(), b"identity")
    before = negotiation._kept.cache_info().misses

    assert negotiation.accepted(f"{JSON}, {'text/x, ' * 1_000}".encode()).media_type == JSON
    assert negotiation._kept.cache_info().misses == before
    assert negotiation._kept.cache_info().currsize <= negotiation.KEPT
    assert body._is_json.cache_info().currsize <= body.KEPT


def test_switching_to_event_streams_does_not_take_a_query_away(server: Served) -> None:
    """urql's header: ordinary queries are answered as JSON."""
    answer = server.send(HELLO, Accept=f"{GRAPHQL}, {JSON}, text/event-stream, multipart/mixed")

    assert answer.json() == {"data": {"hello": "world"}}


# Status codes

REQUEST_ERRORS: dict[str, dict[str, Any]] = {
    "parsing": {"query": "{"},
    "validation": {"query": "{ nothing }"},
    "a variable's value": {"query": "query ($id: ID!) { sameId(id: $id) }", "variables": {"id": None}},
    "no such operation": {"query": "query A { hello }", "operationName": "B"},
    "several operations, none named": {"query": "query A { hello } query B { hello }"},
    "a mutation first, none named": {"query": "mutation A { delete(notificationIds: []) } query B { hello }"},
    "no operation": {"query": "fragment A on Query { hello }"},
    "an empty document": {"query": ""},
    "a subscription": {"query": "subscription { count(to: 1) }"},
    "a lone surrogate in the document": {"query": "{ hello \ud800 }"},
    "a lone surrogate in operationName": {"query": "{ hello }", "operationName": "\ud800"},
    "limits": {"query": "{ branch " + "{ left " * 20 + "{ name }" + " }" * 21},
}


@pytest.mark.parametrize("request_", REQUEST_ERRORS.values(), ids=REQUEST_ERRORS)
@pytest.mark.parametrize(("accept", "status"), [(GRAPHQL, 400), (JSON, 200)])
def test_what_cannot_be_run_is_400_or_with_plain_json_200(
    server: Served, request_: dict[str, Any], accept: str, status: int
) -> None:
    """The specification: without an execution there is no data, not even null."""
    answer = server.send(json.dumps(request_).encode(), Accept=accept)

    assert (answer.status_code, _media_type(answer)) == (status, accept)
    assert answer.json().keys() == {"errors"}
    assert all(error["extensions"]["code"] == "INVALID_ARGUMENT" for error in answer.json()["errors"])
    assert all("field" in error["extensions"] for error in answer.json()["errors"])


@pytest.mark.parametrize("accept", [GRAPHQL, JSON])
@pytest.mark.parametrize(
    ("query", "data"), [("{ missing hello }", {"missing": None, "hello": "world"}), ("{ brokenRequired }", None)]
)
def test_what_was_run_is_200_whatever_became_of_it(server: Served, accept: str, query: str, data: object) -> None:
    answer = server.send(json.dumps({"query": query}).encode(), Accept=accept)

    assert answer.status_code == 200
    assert answer.json()["data"] == data
    assert len(answer.json()["errors"]) == 1


def test_an_answer_that_cannot_be_written_is_a_masked_500(server: Served) -> None:
    answer = server.post("{ unwritable }")

    assert answer.status_code == 500
    assert answer.json()["errors"][0]["extensions"]["code"] == "INTERNAL"


def test_what_breaks_before_anything_is_run_is_a_masked_500(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_given: object) -> NoReturn:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(execution, "validated", broken)

    answer = server.post("query NeverKept { hello }")

    assert (answer.status_code, SECRET in answer.text) == (500, False)
    assert answer.json()["errors"][0]["extensions"]["code"] == "INTERNAL"


# Methods


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_other_methods_are_told_the_two_there_are(server: Served, method: str) -> None:
    answer = httpx.request(method, server.url)

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    if method != "HEAD":
        _refused(answer, 405)


def _get(server: Served, **parameters: str) -> httpx.Response:
    return httpx.get(server.url, params=parameters, headers={"Accept": GRAPHQL}, timeout=DEADLINE_S)


def test_get_runs_queries(server: Served) -> None:
    query = "query A($v: JSON!) { echo(value: $v) via } query B { hello }"

    answer = _get(server, query=query, operationName="A", variables='{"v": [1]}', extensions='{"any": 1}')

    assert answer.json() == {"data": {"echo": [1], "via": "GET"}}


@pytest.mark.parametrize(
    "parameters",
    [
        {"query": "mutation { delete(notificationIds: []) }"},
        {"query": "query A { hello } mutation B { delete(notificationIds: []) }", "operationName": "B"},
    ],
)
def test_get_runs_no_mutation(server: Served, parameters: dict[str, str]) -> None:
    answer = _get(server, **parameters)

    _refused(answer, 405, "query")
    assert answer.headers["allow"] == "POST"


def test_get_runs_no_subscription(server: Served) -> None:
    answer = _get(server, query="subscription { count(to: 3) }")

    _refused_in_graphql(answer, "websocket")


def test_post_runs_no_subscription(server: Served) -> None:
    _refused_in_graphql(server.post("subscription { count(to: 3) }"), "websocket")


def _refused_in_graphql(answer: httpx.Response, word: str) -> None:
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert word in error["message"]


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({}, "query"),
        ({"query": "{ hello }", "variables": "{"}, "variables"),
        ({"query": "{ hello }", "variables": "[1]"}, "variables"),
        ({"query": "{ hello }", "variables": "NaN"}, "variables"),
        ({"query": "{ hello }", "extensions": "1"}, "extensions"),
    ],
)
def test_get_parameters_are_checked(server: Served, parameters: dict[str, str], field: str) -> None:
    _refused(_get(server, **parameters), 400, field)


def test_empty_get_parameters_are_none(server: Served) -> None:
    answer = _get(server, query="query A { hello }", operationName="", variables="", extensions="")

    assert answer.json() == {"data": {"hello": "world"}}


# Browsers

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


def test_a_browser_gets_the_page(server: Served) -> None:
    answer = httpx.get(server.url, headers={"Accept": BROWSER})

    assert answer.headers["content-type"].startswith("text/html")


def test_a_browser_that_follows_a_link_with_a_query_gets_the_answer(server: Served) -> None:
    answer = httpx.get(server.url, params={"query": "{ hello }"}, headers={"Accept": BROWSER})

    assert answer.json() == {"data": {"hello": "world"}}


@pytest.mark.parametrize("accept", ["*/*", JSON, f"{JSON}, text/html;q=0.5", "text/plain"])
def test_only_who_prefers_pages_gets_one(server: Served, accept: str) -> None:
    answer = httpx.get(server.url, headers={"Accept": accept})

    _refused(answer, 406 if accept == "text/plain" else 400, None if accept == "text/plain" else "query")


def test_a_post_gets_no_page(server: Served) -> None:
    assert server.send(HELLO, Accept=BROWSER).json() == {"data": {"hello": "world"}}


# Content types


@pytest.mark.parametrize(
    "content_type",
    [
        JSON,
        "Application/JSON",
        f"{JSON}; charset=utf-8",
        f"{JSON};charset=UTF-8",
        f'{JSON}; charset="utf-8"',
        f"{JSON}; Charset=utf8",
        f"{JSON}; profile=x",
    ],
)
def test_json_is_json_however_it_is_spelled(server: Served, content_type: str) -> None:
    assert server.send(HELLO, Content_Type=content_type).json() == {"data": {"hello": "world"}}


@pytest.mark.parametrize(
    "content_type",
    [
        "application/jsonp",
        "application/json-seq",
        "text/json",
        "text/plain",
        "application/graphql",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        f"{JSON}; charset=utf-16",
        f"{JSON}; charset=iso-8859-1",
        f"text/plain; {JSON}",
        f"text/plain, {JSON}",
        "",
        ";;;",
        "application",
    ],
)
def test_no_other_body_is_read(server: Served, content_type: str) -> None:
    """Forms of other sites cannot send JSON, so they cannot run mutations in a visitor's name."""
    _refused(server.send(HELLO, Content_Type=content_type), 415)


def test_a_body_without_a_type_is_not_read(server: Served) -> None:
    _refused(httpx.post(server.url, content=HELLO), 415)


def test_a_plain_form_runs_no_mutation(server: Served) -> None:
    operations = json.dumps({"query": "mutation { delete(notificationIds: []) }"})

    _refused(httpx.post(server.url, files={"operations": (None, operations), "map": (None, "{}")}), 415)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, identity"])
def test_compressed_bodies_are_not_read(server: Served, encoding: str) -> None:
    _refused(server.send(gzip.compress(HELLO), Content_Encoding=encoding), 415)


# Bodies

BODIES = {
    "nothing": b"",
    "null": b"null",
    "true": b"true",
    "a number": b"1",
    "a string": b'"{ hello }"',
    "NaN": b"NaN",
    "NaN inside": b'{"query": "{ hello }", "variables": {"v": NaN}}',
    "Infinity": b'{"query": "{ hello }", "variables": {"v": -Infinity}}',
    "a double that overflows": b'{"query": "{ hello }", "variables": {"v": 1e999}}',
    "invalid UTF-8": b'{"query": "{ hello \xff }"}',
    "UTF-16": '{"query": "{ hello }"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + HELLO,
    "gzip": gzip.compress(HELLO),
    "lists 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "objects 100,000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "lists 100,000 deep and never closed": b"[" * 100_000,
    "lists 500 deep": b'{"query": "{ hello }", "variables": {"v": ' + b"[" * 500 + b"]" * 500 + b"}}",
    "an integer of 1,001 digits": b'{"query": "{ hello }", "variables": {"v": ' + b"9" * 1001 + b"}}",
    "an integer of 5,000 digits": b'{"query": "{ hello }", "variables": {"v": ' + b"9" * 5000 + b"}}",
    "half of it": HELLO[:-1],
    "two of them": HELLO + HELLO,
    "an empty batch": b"[]",
    "a batch": b"[" + HELLO + b"]",
    "a batch of null": b"[null]",
    "a batch of a number": b"[1]",
    "a batch of a batch": b"[[]]",
}


@pytest.mark.parametrize("content", BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_request_is_400(server: Served, content: bytes) -> None:
    _refused(server.send(content), 400)


@pytest.mark.parametrize("field", ["query", "operationName", "variables", "extensions"])
@pytest.mark.parametrize("value", [1, True, 1.5, [], {}, "text", [1]])
@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
def test_parameters_of_the_wrong_type_are_400(server: Served, field: str, value: object, accept: str) -> None:
    answer = server.send(json.dumps({"query": "{ hello }", field: value}).encode(), Accept=accept)

    if isinstance(value, str if field in ("query", "operationName") else dict):
        assert answer.status_code in (200, 400)
        assert not answer.text.count("must be")
    else:
        _refused(answer, 400, field)


@pytest.mark.parametrize("content", [b"{}", b'{"query": null}', b'{"qeury": "{ hello }"}'])
def test_a_request_without_a_query_is_400(server: Served, content: bytes) -> None:
    _refused(server.send(content), 400, "query")


def test_null_parameters_are_as_good_as_none(server: Served) -> None:
    answer = server.post("{ hello }", operationName=None, variables=None, extensions=None)

    assert answer.json() == {"data": {"hello": "world"}}


def test_an_empty_operation_name_is_none(server: Served) -> None:
    assert server.post("query A { hello }", operationName="").json() == {"data": {"hello": "world"}}


def test_the_named_operation_is_run(server: Served) -> None:
    answer = server.post("query A { hello } query B { via }", operationName="B")

    assert answer.json() == {"data": {"via": "POST"}}


@pytest.mark.parametrize(
    "value",
    [
        10**30,
        -(2**63) - 1,
        2**64,
        0.1,
        1e-300,
        "\ud800",
        "\u0000",
        "\u2028🎉",
        {"": [None, True, {}]},
        [[[]]],
        {"a": 1, "b": {"a": 2}},
    ],
)
def test_json_comes_back_equal(server: Served, value: object) -> None:
    answer = server.post("query ($v: JSON!) { echo(value: $v) }", variables={"v": value})

    assert json.loads(answer.content) == {"data": {"echo": value}}


def test_a_body_of_the_largest_size_is_read(server: Served) -> None:
    assert server.send(HELLO.ljust(limits.MAX_BODY_BYTES)).json() == {"data": {"hello": "world"}}


@pytest.mark.parametrize("size", [limits.MAX_BODY_BYTES + 1, 10_000_000, body.MAX_DRAINED_BYTES])
def test_a_larger_body_is_413(server: Served, size: int) -> None:
    _refused(server.send(HELLO.ljust(size)), 413)


def test_a_larger_body_of_unknown_length_is_413(server: Served) -> None:
    chunks = (b" " * 65536 for _ in range(40))

    _refused(httpx.post(server.url, content=chunks, headers={"Content-Type": JSON}), 413)


def test_an_endless_body_is_cut_off(server: Served) -> None:
    """The sender cannot count on an answer, but the server must not read on for ever."""
    head = b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S) as connection:
        connection.sendall(head)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(b" " * 8 * body.MAX_DRAINED_BYTES)


def test_a_slow_body_is_cut_off(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "READ_TIMEOUT_S", 0.2)
    head = b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S) as connection:
        connection.sendall(head)
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 408")


def test_a_client_that_leaves_in_the_middle_of_its_body_disturbs_nobody(server: Served) -> None:
    head = b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S) as connection:
        connection.sendall(head)


# Contexts


def test_the_authorization_header_opens_the_context(server: Served) -> None:
    answer = httpx.post(server.url, json={"query": "{ authorization via }"}, headers={"Authorization": "Bearer x"})

    assert answer.json() == {"data": {"authorization": "Bearer x", "via": "POST"}}


def test_the_context_hears_that_its_request_was_answered(server: Served) -> None:
    server.post("{ hello }")

    server.seen.wait_for("answered")


def test_a_context_that_fails_after_the_answer_takes_nothing_back(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_context: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("tests.protocol.conftest.Context.answered", fail)

    assert server.post("{ hello }").json() == {"data": {"hello": "world"}}
