"""DateTime, JSON, Cursor and ID, as variables and as literals."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from schema import scalars
from tests.protocol.conftest import SECRET, Served, build

MOMENTS = {
    "2026-01-31T17:12:40.990Z": "2026-01-31T17:12:40.990Z",
    "2026-01-31T17:12:40Z": "2026-01-31T17:12:40.000Z",
    "2026-01-31T17:12:40.9Z": "2026-01-31T17:12:40.900Z",
    "2026-01-31T17:12:40.99999999999Z": "2026-01-31T17:12:40.999Z",
    "2026-01-31t17:12:40.990z": "2026-01-31T17:12:40.990Z",
    "2026-01-31T17:12:40.990+09:00": "2026-01-31T08:12:40.990Z",
    "2026-01-31T17:12:40.990-05:30": "2026-01-31T22:42:40.990Z",
    "2026-12-31T23:59:59.999-00:01": "2027-01-01T00:00:59.999Z",
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00.000Z",
    "2024-02-29T00:00:00-00:00": "2024-02-29T00:00:00.000Z",
}
NO_MOMENTS: list[object] = [
    "2026-01-31T17:12:40.990",
    "2026-01-31T17:12:40",
    "2026-01-31",
    "2026-01-31 17:12:40Z",
    "2026-01-31T17:12Z",
    "2026-01-31T17:12:40.Z",
    "2026-01-31T17:12:40,5Z",
    "2026-01-31T17:12:40+0900",
    "2026-01-31T17:12:40+09",
    "2026-01-31T17:12:40+24:00",
    "2026-01-31T17:12:40+09:60",
    "2026-02-30T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-01-31T24:00:00Z",
    "2026-01-31T17:60:00Z",
    "2016-12-31T23:59:60Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01",
    "20260131T171240Z",
    "٢٠٢٦-01-31T17:12:40Z",
    " 2026-01-31T17:12:40Z",
    "2026-01-31T17:12:40Z\n",
    "",
    SECRET,
    1769879560,
    1.5,
    True,
    [],
    {},
]


@pytest.mark.parametrize(("given", "expected"), MOMENTS.items())
def test_a_time_comes_back_in_utc_with_milliseconds(server: Served, given: str, expected: str) -> None:
    by_variable = server.post("query ($at: DateTime!) { moment(at: $at) }", variables={"at": given})
    by_literal = server.post(f'{{ moment(at: "{given}") }}')

    assert by_variable.json() == by_literal.json() == {"data": {"moment": expected}}


@pytest.mark.parametrize("given", NO_MOMENTS, ids=repr)
def test_what_is_no_time_with_an_offset_is_refused_by_its_field(server: Served, given: object) -> None:
    by_variable = server.post("query ($at: DateTime!) { moment(at: $at) }", variables={"at": given})
    literal = json.dumps(given, ensure_ascii=False)
    by_literal = server.post(f"{{ moment(at: {literal}) }}")

    for answer in (by_variable, by_literal):
        (error,) = answer.json()["errors"]
        assert error["extensions"] == {"code": "INVALID_ARGUMENT", "field": "at"}
        assert error["message"].startswith("at: this is not a time with its offset")


def test_a_resolver_gets_an_aware_time_cut_to_the_millisecond() -> None:
    moment = scalars.read_time("2026-01-31T18:12:40.990999+01:00")

    assert moment == datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)
    assert moment.tzinfo is UTC


def test_a_naive_time_is_never_written() -> None:
    with pytest.raises(TypeError):
        scalars.write_time(datetime(2026, 1, 31))


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("1", 1),
        ("9" * 40, int("9" * 40)),
        ("-0.5", -0.5),
        ("null", None),
        ('"text"', "text"),
        ('"""a block"""', "a block"),
        ("[1, [true, {a: {b: []}}]]", [1, [True, {"a": {"b": []}}]]),
    ],
)
def test_json_can_be_written_in_the_document(server: Served, literal: str, value: object) -> None:
    answer = server.post(f"{{ echo(value: {{v: {literal}}}) }}")

    assert answer.json() == {"data": {"echo": {"v": value}}}


def test_json_in_the_document_can_hold_variables(server: Served) -> None:
    answer = server.post("query ($v: JSON) { echo(value: {v: [$v]}) }", variables={"v": {"a": 1}})

    assert answer.json() == {"data": {"echo": {"v": [{"a": 1}]}}}


@pytest.mark.parametrize("literal", ["1e999", "-1e999", "9" * 5000])
def test_numbers_that_json_could_not_give_back_are_refused(server: Served, literal: str) -> None:
    (error,) = server.post(f"{{ echo(value: {{v: [{literal}]}}) }}").json()["errors"]

    assert error["extensions"] == {"code": "INVALID_ARGUMENT", "field": "value"}


def test_a_cursor_is_any_string(server: Served) -> None:
    answer = server.post("query ($c: Cursor!) { cursor(after: $c) }", variables={"c": "opaque=="})

    assert answer.json() == {"data": {"cursor": "opaque=="}}


@pytest.mark.parametrize("given", [1, True, [], {}, None])
def test_a_cursor_is_nothing_else(server: Served, given: object) -> None:
    answer = server.post("query ($c: Cursor!) { cursor(after: $c) }", variables={"c": given})

    (error,) = answer.json()["errors"]
    assert error["extensions"] == {"code": "INVALID_ARGUMENT", "field": "after"}


def test_an_id_may_be_given_as_a_number(server: Served) -> None:
    assert server.post("{ sameId(id: 7) }").json() == {"data": {"sameId": "7"}}
    assert server.post("query ($i: ID!) { sameId(id: $i) }", variables={"i": 7}).json() == {"data": {"sameId": "7"}}


@pytest.mark.parametrize("name", ["DateTime", "JSON", "Cursor"])
def test_every_scalar_is_described(name: str) -> None:
    scalar = build()._schema.type_map[name]

    assert scalar.description
