"""Every error has a code, the field where it is known, and nothing of a caller's values or of the server's insides."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from tests.protocol.conftest import AUTHORIZATION, SECRET, Served

CREATE = "mutation ($m: Message!) { create(input: $m) }"
CREATE_MANY = "mutation ($many: [Message!]!) { createMany(inputs: $many) }"

# What is sent as the variable of that name, and the field that is at fault.
WRONG_VARIABLES: dict[str, tuple[str, dict[str, Any], str]] = {
    "required and missing": (CREATE, {"m": {}}, "topic"),
    "required and null": (CREATE, {"m": {"topic": None}}, "topic"),
    "of another type": (CREATE, {"m": {"topic": 5}}, "topic"),
    "a list for a string": (CREATE, {"m": {"topic": [SECRET]}}, "topic"),
    "an object for a string": (CREATE, {"m": {"topic": {SECRET: SECRET}}}, "topic"),
    "an unknown enum value": (CREATE, {"m": {"topic": "a", "level": SECRET}}, "level"),
    "a number for an enum": (CREATE, {"m": {"topic": "a", "level": 1}}, "level"),
    "no time": (CREATE, {"m": {"topic": "a", "at": SECRET}}, "at"),
    "required in an object": (CREATE, {"m": {"topic": "a", "plugin": {}}}, "plugin.pluginId"),
    "null in an object": (CREATE, {"m": {"topic": "a", "plugin": {"pluginId": None}}}, "plugin.pluginId"),
    "a string for an object": (CREATE, {"m": {"topic": "a", "plugin": SECRET}}, "plugin"),
    "a list for an object": (CREATE, {"m": {"topic": "a", "plugin": [SECRET, 1]}}, "plugin"),
    "too large for Int": (
        CREATE,
        {"m": {"topic": "a", "plugin": {"pluginId": "p", "retries": 2**40}}},
        "plugin.retries",
    ),
    "a string for Int": (
        CREATE,
        {"m": {"topic": "a", "plugin": {"pluginId": "p", "retries": SECRET}}},
        "plugin.retries",
    ),
    "in a list of strings": (CREATE, {"m": {"topic": "a", "tags": ["a", 7]}}, "tags.1"),
    "null in a list": (CREATE, {"m": {"topic": "a", "tags": ["a", None]}}, "tags.1"),
    "an unknown field": (CREATE, {"m": {"topic": "a", "tpoic": SECRET}}, "tpoic"),
    "an unknown field in an object": (CREATE, {"m": {"topic": "a", "plugin": {"pluginId": "p", "x": 1}}}, "plugin.x"),
    "a field that is no name": (CREATE, {"m": {"topic": "a", f"it's {SECRET}": 1}}, "input"),
    "a field with a very long name": (CREATE, {"m": {"topic": "a", "x" * 100_000: 1}}, "input"),
    "the whole input missing": (CREATE, {}, "input"),
    "the whole input null": (CREATE, {"m": None}, "input"),
    "the whole input a string": (CREATE, {"m": SECRET}, "input"),
    "in one of many": (CREATE_MANY, {"many": [{"topic": "a"}, {"topic": "b"}, {"topic": "c"}, {}]}, "inputs.3.topic"),
    "deep in one of many": (
        CREATE_MANY,
        {"many": [{"topic": "a", "plugin": {"pluginId": []}}]},
        "inputs.0.plugin.pluginId",
    ),
    "the only one of many": (CREATE_MANY, {"many": {"topic": 1}}, "inputs.topic"),
    "one of many null": (CREATE_MANY, {"many": [{"topic": "a"}, None]}, "inputs.1"),
    "an argument": ("query ($x: ID!) { sameId(id: $x) }", {"x": {"a": SECRET}}, "id"),
    "a list argument": (
        "mutation ($x: [ID!]!) { delete(notificationIds: $x) }",
        {"x": ["a", None]},
        "notificationIds.1",
    ),
    "inside of a literal": ("mutation ($x: String!) { create(input: {topic: $x}) }", {"x": 5}, "topic"),
    "deep inside of a literal": (
        'mutation ($x: ID!) { createMany(inputs: [{topic: "a"}, {topic: "a", plugin: {pluginId: $x}}]) }',
        {"x": 1.5},
        "inputs.1.plugin.pluginId",
    ),
    "inside of a fragment": ("query ($x: ID!) { ...F } fragment F on Query { sameId(id: $x) }", {"x": []}, "id"),
    "neither of one of": ("query ($t: Target!) { find(target: $t) }", {"t": {}}, "target"),
    "both of one of": ("query ($t: Target!) { find(target: $t) }", {"t": {"user": "a", "project": "b"}}, "target"),
    "null for one of": ("query ($t: Target!) { find(target: $t) }", {"t": {"user": None}}, "target.user"),
    "a string of a megabyte": ("query ($n: Int) { counted(first: $n) }", {"n": "x" * 1_000_000}, "first"),
}


@pytest.mark.parametrize(("query", "variables", "field"), WRONG_VARIABLES.values(), ids=WRONG_VARIABLES)
def test_a_wrong_value_in_variables_is_told_by_its_field_alone(
    server: Served, query: str, variables: dict[str, Any], field: str
) -> None:
    answer = server.post(query, variables=variables)

    _is_told_by_its_field(answer, field)


WRONG_LITERALS: dict[str, tuple[str, str]] = {
    "required and missing": ("mutation { create(input: {}) }", "topic"),
    "required and null": ("mutation { create(input: {topic: null}) }", "topic"),
    "of another type": ("mutation { create(input: {topic: 5}) }", "topic"),
    "a string for an enum": (f'mutation {{ create(input: {{topic: "a", level: "{SECRET}"}}) }}', "level"),
    "an unknown enum value": (f'mutation {{ create(input: {{topic: "a", level: {SECRET}}}) }}', "level"),
    "no time": (f'mutation {{ create(input: {{topic: "a", at: "{SECRET}"}}) }}', "at"),
    "required in an object": ('mutation { create(input: {topic: "a", plugin: {}}) }', "plugin.pluginId"),
    "a string for an object": (f'mutation {{ create(input: {{topic: "a", plugin: "{SECRET}"}}) }}', "plugin"),
    "in a list": ('mutation { create(input: {topic: "a", tags: ["a", 7]}) }', "tags.1"),
    "an unknown field": (f'mutation {{ create(input: {{topic: "a", tpoic: "{SECRET}"}}) }}', "tpoic"),
    "the whole input null": ("mutation { create(input: null) }", "input"),
    "the whole input missing": ("mutation { create }", "input"),
    "in one of many": ('mutation { createMany(inputs: [{topic: "a"}, {}]) }', "inputs.1.topic"),
    "an argument": (f'{{ counted(first: "{SECRET}") }}', "first"),
    "an argument too large": ("{ counted(first: 99999999999) }", "first"),
    "a required argument missing": ("mutation { delete }", "notificationIds"),
    "a default": ('query ($n: Int = "hunter2") { counted(first: $n) }', "first"),
    "of a directive": (f'{{ hello @skip(if: "{SECRET}") }}', "if"),
    "a directive's argument missing": ("{ hello @skip }", "if"),
    "neither of one of": ("{ find(target: {}) }", "target"),
    "null for one of": ("{ find(target: {user: null}) }", "target.user"),
    "a string of 60 kB": ('{ counted(first: "' + "x" * 60_000 + '") }', "first"),
}


@pytest.mark.parametrize(("query", "field"), WRONG_LITERALS.values(), ids=WRONG_LITERALS)
def test_a_wrong_value_in_the_document_is_told_by_its_field_alone(server: Served, query: str, field: str) -> None:
    answer = server.post(query)

    _is_told_by_its_field(answer, field)


def _is_told_by_its_field(answer: httpx.Response, field: str) -> None:
    assert answer.status_code == 400
    error = answer.json()["errors"][0]
    assert error["extensions"] == {"code": "INVALID_ARGUMENT", "field": field}
    assert SECRET not in answer.text
    assert len(answer.text) < 5000


def test_every_wrong_field_is_told(server: Served) -> None:
    variables = {"m": {"level": "x", "plugin": {"retries": "x"}, "tags": [1, "a", 2]}}

    errors = server.post(CREATE, variables=variables).json()["errors"]

    fields = {error["extensions"]["field"] for error in errors}
    assert fields == {"topic", "level", "plugin.pluginId", "plugin.retries", "tags.0", "tags.2"}


def test_an_enum_says_what_it_could_be(server: Served) -> None:
    (error,) = server.post(CREATE, variables={"m": {"topic": "a", "level": "LO"}}).json()["errors"]

    assert error["message"] == "level: this is not a valid Level!: LOW, HIGH"


def test_a_variable_that_is_null_where_a_default_stands_is_the_callers_mistake(server: Served) -> None:
    """Validation lets a nullable variable into such a place, so it is found when the field is run."""
    answer = server.post("query ($n: Int) { counted(first: $n) }", variables={"n": None})

    (error,) = answer.json()["errors"]
    assert error["extensions"] == {"code": "INVALID_ARGUMENT", "field": "first"}


@pytest.mark.parametrize(
    "query",
    [
        f'{{ hello "{SECRET}" }}',
        f'{{ hello(a: "{SECRET}" """{SECRET}""") }}',
        f'"{SECRET}" {{ hello }} """{SECRET}"""',
        f'"""{SECRET}"""',
        f'{{ hello "{SECRET} }}',
        '{ hello("' + SECRET + '") }',
    ],
)
def test_a_syntax_error_does_not_repeat_a_string(server: Served, query: str) -> None:
    answer = server.post(query)

    assert answer.json()["errors"][0]["extensions"] == {"code": "INVALID_ARGUMENT", "field": "query"}
    assert answer.json()["errors"][0]["locations"]
    assert SECRET not in answer.text


def test_a_refusal_has_its_code_its_field_and_its_message(server: Served) -> None:
    answer = server.post("{ wrong missing }").json()

    assert answer["data"] == {"wrong": None, "missing": None}
    assert [(error["message"], error["path"], error["extensions"]) for error in answer["errors"]] == [
        ("The topic is too long.", ["wrong"], {"code": "INVALID_ARGUMENT", "field": "message.topic"}),
        ("There is no such thing.", ["missing"], {"code": "NOT_FOUND"}),
    ]


Ask = Callable[[Served, str], dict[str, Any]]


def _by_post(server: Served, query: str) -> dict[str, Any]:
    error: dict[str, Any] = server.post(query, variables={"unused": "v4ria8le"}).json()["errors"][0]
    return error


def _by_socket(server: Served, query: str) -> dict[str, Any]:
    with server.socket() as client:
        client.subscribe(query, variables={"unused": "v4ria8le"})
        payload = client.receive()["payload"]
    error: dict[str, Any] = payload[0] if isinstance(payload, list) else payload["errors"][0]
    return error


@pytest.mark.parametrize(
    ("ask", "query"),
    [
        (_by_post, "{ broken }"),
        (_by_post, "{ brokenRequired }"),
        (_by_post, "{ tooLarge }"),
        (_by_post, "{ unwritable }"),
        (_by_socket, "{ broken }"),
        (_by_socket, "{ unwritable }"),
        (_by_socket, "subscription { brokenAfter(events: 0) }"),
    ],
)
def test_an_error_of_ours_is_masked_and_logged_under_one_id(server: Served, ask: Ask, query: str) -> None:
    with capture_logs() as logs:
        error = ask(server, query)

    request_id = error["extensions"]["requestId"]
    assert error["extensions"] == {"code": "INTERNAL", "requestId": request_id}
    assert error["message"] == f"Something went wrong here, not in your request. Request id: {request_id}"
    (entry,) = logs
    assert entry["request_id"] == request_id
    assert "Traceback" in entry["exception"]


def test_what_is_logged_holds_neither_variables_nor_headers(server: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even as structlog is by default, when it prints the local variables of every frame."""
    structlog.reset_defaults()
    body = {"query": "query ($v: JSON!) { echo(value: $v) broken }", "variables": {"v": "v4ria8le"}}

    httpx.post(server.url, json=body, headers={"Authorization": AUTHORIZATION})

    printed = capsys.readouterr().out
    assert "the database said" in printed
    assert "v4ria8le" not in printed
    assert AUTHORIZATION not in printed


def test_what_the_caller_did_wrong_is_not_logged(server: Served) -> None:
    with capture_logs() as logs:
        server.post("{ wrong missing }")
        server.post("{ nothing }")
        server.post("{")
        server.post(CREATE, variables={"m": json.loads("{}")})

    assert logs == []
