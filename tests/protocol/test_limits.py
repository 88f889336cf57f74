"""However a document or a body is made, it is answered in time, and so is the next one."""

from __future__ import annotations

import json
import time

import pytest
from graphql import get_introspection_query

from schema import limits
from tests.protocol.conftest import Served

ANSWERED_WITHIN_S = 2  # on a busy machine; alone each takes a fraction of it


def _nested(levels: int) -> str:
    """A query of that many levels."""
    return "{ branch " + "{ left " * (levels - 2) + "{ name }" + " }" * (levels - 2) + " }"


def _bomb(levels: int, spreads: str) -> str:
    """Every fragment spreads the next one twice."""
    fragments = (f"fragment F{n} on Branch {{ {spreads.replace('NEXT', f'F{n + 1}')} }}" for n in range(levels))
    return "{ branch { ...F0 } }" + " ".join(fragments) + f" fragment F{levels} on Branch {{ name }}"


def _chain(length: int) -> str:
    fragments = (f"fragment F{n} on Branch {{ name ...F{n + 1} }}" for n in range(length))
    return "{ branch { ...F0 } }" + " ".join(fragments) + f" fragment F{length} on Branch {{ name }}"


def _mesh(size: int) -> str:
    """Every fragment spreads every other one."""
    every = " ".join(f"...F{n}" for n in range(size))
    return (
        "{ branch { "
        + every
        + " } }"
        + " ".join(f"fragment F{n} on Branch {{ left {{ {every} }} }}" for n in range(size))
    )


TOO_MUCH = {
    "deeper than the bound": _nested(limits.MAX_DEPTH + 1),
    "as deep as the parser goes": _nested(190),
    "deeper than the parser goes": "{ branch " + "{ left " * 300 + "{ name }" + " }" * 301,
    "values nested in the document": "{ echo(value: " + "[" * 500 + "]" * 500 + ") }",
    "two spreads, 25 levels": _bomb(25, "...NEXT ...NEXT"),
    "two aliased fields, 25 levels": _bomb(25, "a: left { ...NEXT } b: right { ...NEXT }"),
    "two fields, 12 levels": _bomb(12, "left { ...NEXT } right { ...NEXT }"),
    "a fragment of itself": "{ branch { ...A } } fragment A on Branch { left { ...A ...A } }",
    "fragments of each other": "{ branch { ...A } } fragment A on Branch { ...B ...B } fragment B on Branch { ...A }",
    "every fragment of every other": _mesh(35),
    "a long chain of fragments": _chain(240),
    "too many aliases": "{ " + " ".join(f"a{n}: hello" for n in range(limits.MAX_ALIASES + 1)) + " }",
    "aliases in fragments": "{ branch { ...A ...A ...A } } fragment A on Branch { "
    + " ".join(f"a{n}: name" for n in range(40))
    + " }",
    "too many root fields": "{ " + "hello " * (limits.MAX_ROOT_FIELDS + 1) + "}",
    "root fields in fragments": "{ ...A ...A } fragment A on Query { " + "hello " * 30 + "}",
    "too many fields": "{ branch { " + "name " * limits.MAX_FIELDS + "} }",
    "too many directives": "{ hello " + "@skip(if: false) " * (limits.MAX_DIRECTIVES + 1) + "}",
    "unknown directives": "{ hello " + "@a " * 900 + "}",
    "too many tokens": "{ " + "hello " * limits.MAX_TOKENS + "}",
    "too many comments": "#\n" * (limits.MAX_COMMENTS + 1) + "{ hello }",
    "too long": "{ hello }" + " " * limits.MAX_DOCUMENT_CHARACTERS,
    "a long name": "{ " + "a" * 60_000 + " }",
    "unknown fields": "{ " + " ".join(f"nothing{n}" for n in range(50)) + " }",
    "introspection in circles": "{ __schema { types " + "{ fields { type " * 12 + "{ name }" + " } }" * 12 + " } }",
    "deep introspection": "{ __schema { queryType " + "{ ofType " * 25 + "{ name }" + " }" * 25 + " } }",
}


@pytest.mark.parametrize("document", TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_document_that_asks_for_too_much_is_refused_at_once(server: Served, document: str) -> None:
    start = time.monotonic()

    answer = server.post(document)

    assert time.monotonic() - start < ANSWERED_WITHIN_S
    assert answer.status_code == 400
    errors = answer.json()["errors"]
    assert 1 <= len(errors) <= limits.MAX_ERRORS + 1
    assert {(error["extensions"]["code"], error["extensions"]["field"]) for error in errors} == {
        ("INVALID_ARGUMENT", "query")
    }
    assert all(len(error["message"]) < 1000 for error in errors)


def _branch(selections: str) -> str:
    return "{ branch { " + selections + " } }"


def _numbered(text: str, times: int) -> str:
    """The text so many times, with its number for N, and the next one for M."""
    return " ".join(text.replace("N", str(n)).replace("M", str(n + 1)) for n in range(times))


# The worst that were found for the rules of the specification, fields that have to be compared in pairs above all.
COSTLY = {
    "one leaf again and again": _branch("name " * 499),
    "one branch again and again": _branch("left{name}" * 249),
    "deep branches again and again": _branch("left{left{left{name}}}" * 124),
    "deeper branches again and again": _branch(("left{" * 12 + "name" + "}" * 12) * 38),
    "inline fragments": _branch("...{left{name}}" * 249),
    "inline fragments in each other": _branch("...{...{...{left{name}}}}" * 249),
    "fragments with one field": _branch(_numbered("...FN", 220)) + _numbered("fragment FN on Branch{left{name}}", 220),
    "fragments with deep fields": _branch(_numbered("...FN", 100))
    + _numbered("fragment FN on Branch{left{left{left{left{name}}}}}", 100),
    "fragments spread in pairs": _branch("...F0")
    + _numbered("fragment FN on Branch{left{name ...GN} ...FM}", 75)
    + _numbered("fragment GN on Branch{left{name}}", 75)
    + "fragment F75 on Branch{name}",
    "a fragment that is not used": "{hello} fragment A on Branch{" + "left{name}" * 900 + "}",
    "fragments that are not used": "{hello}" + _numbered("fragment FN on Branch{left{name}}", 350),
    "operations with one field again and again": _numbered("query QN{branch{" + "left{name}" * 240 + "}}", 4),
    "operations that share fragments": _numbered("query QN{branch{...A}}", 50)
    + " fragment A on Branch{"
    + _numbered("...FN", 220)
    + "}"
    + _numbered("fragment FN on Branch{left{name}}", 220),
    "operations that share a chain": _numbered("query QN{...F0}", 50)
    + _numbered("fragment FN on Query{...FM}", 180)
    + "fragment F180 on Query{hello}",
    "operations that share variables": _numbered("query QN($a:Int){...F0}", 50)
    + _numbered("fragment FN on Query{xN:counted(first:$a) ...FM}", 48)
    + "fragment F48 on Query{hello}",
    "operations without end": _numbered("query QN{hello}", 500),
    "variables that are never used": "query(" + "$a: Int " * 900 + ") { hello }",
    "a list of wrong values": "{ find(target: {user: [" + "1 " * 3500 + "]}) }",
    "an object of unknown fields": "{ find(target: {" + _numbered("aN: 1", 1200) + "}) }",
    "fields that conflict": _branch("a:left{name} a:right{name}" * 50),
}


@pytest.mark.parametrize("document", COSTLY.values(), ids=COSTLY)
def test_the_worst_document_within_the_bounds_is_answered_in_time(server: Served, document: str) -> None:
    start = time.monotonic()

    answer = server.post(document)

    assert time.monotonic() - start < ANSWERED_WITHIN_S
    assert answer.status_code in (200, 400)
    assert all(error["extensions"]["code"] == "INVALID_ARGUMENT" for error in answer.json().get("errors", []))


WITHIN = {
    "the depth": _nested(limits.MAX_DEPTH),
    "the aliases": "{ branch { " + " ".join(f"a{n}: name" for n in range(limits.MAX_ALIASES)) + " } }",
    "the root fields": "{ " + " ".join(f"a{n}: hello" for n in range(limits.MAX_ROOT_FIELDS)) + " }",
    "the fields": "{ " + _numbered("aN: branch { " + "left { " * 8 + "name" + " }" * 9, limits.MAX_FIELDS // 10) + " }",
}


@pytest.mark.parametrize("document", WITHIN.values(), ids=WITHIN)
def test_what_reaches_a_bound_is_answered(server: Served, document: str) -> None:
    assert "errors" not in server.post(document).json()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "specified_by_url": True,
            "directive_is_repeatable": True,
            "schema_description": True,
            "input_value_deprecation": True,
            "one_of": True,
        },
    ],
    ids=["as old tools ask", "as GraphiQL asks"],
)
def test_the_introspection_of_tools_is_answered(server: Served, options: dict[str, bool]) -> None:
    answer = server.post(get_introspection_query(**options)).json()

    assert "errors" not in answer
    assert answer["data"]["__schema"]["queryType"]["name"] == "Query"


def test_a_hundred_small_inputs_may_be_written_in_the_document(server: Served) -> None:
    inputs = '{topic: "a.b", level: LOW, plugin: {pluginId: "p", options: {title: "t"}}, tags: ["a"]}' * 100

    answer = server.post("mutation { createMany(inputs: [" + inputs + "]) }")

    assert answer.json() == {"data": {"createMany": 100}}


def test_an_empty_selection_is_a_syntax_error(server: Served) -> None:
    for document in ("{ }", "{ branch { } }"):
        (error,) = server.post(document).json()["errors"]
        assert error["message"].startswith("Syntax Error")


def test_an_unknown_fragment_is_told_by_its_name(server: Served) -> None:
    (error,) = server.post("{ ...Nope }").json()["errors"]

    assert error["message"] == "Unknown fragment 'Nope'."


def test_variables_may_be_as_large_as_the_body(server: Served) -> None:
    value = "x" * (limits.MAX_BODY_BYTES - 200)

    answer = server.post("query ($v: JSON!) { echo(value: $v) }", variables={"v": value})

    assert answer.json() == {"data": {"echo": value}}


@pytest.mark.parametrize("levels", [limits.MAX_JSON_NESTING - 2, limits.MAX_JSON_NESTING - 1, 1000, 100_000])
def test_variables_may_be_nested_to_the_bound(server: Served, levels: int) -> None:
    """Two levels are the request's own: its object, and that of the variables."""
    value = "[" * levels + "]" * levels
    body = '{"query": "query ($v: JSON!) { echo(value: $v) }", "variables": {"v": ' + value + "}}"

    answer = server.send(body.encode())

    if levels <= limits.MAX_JSON_NESTING - 2:
        assert answer.json() == {"data": {"echo": json.loads(value)}}
    else:
        assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (400, "INVALID_ARGUMENT")


def test_input_lists_nested_deeper_than_graphql_follows_are_refused(server: Served) -> None:
    answer = server.post("query ($t: Target!) { find(target: $t) }", variables={"t": {"user": [[[["x"]]]]}})

    assert answer.json()["errors"][0]["extensions"] == {"code": "INVALID_ARGUMENT", "field": "target.user"}


def test_a_long_list_of_mistakes_is_cut_short(server: Served) -> None:
    answer = server.post("mutation ($i: [Message!]!) { createMany(inputs: $i) }", variables={"i": [{}] * 10_000})

    fields = [error["extensions"]["field"] for error in answer.json()["errors"]]
    assert fields[:2] == ["inputs.0.topic", "inputs.1.topic"]
    assert fields[-1] == "variables"
    assert len(fields) <= 51
