"""Values are checked against schemas as JSON Schema has it, and no schema and no value makes that take long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dispatch.plugins import JsonObject, keywords, schemas
from dispatch.plugins.schemas import SchemaViolation

DEADLINE = 2.0  # seconds of this process; what is asked below takes the library's own keywords far longer
DRAFTS = [
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
]
ENDLESS = "^(a+)+$"  # twice as long for each letter, where a pattern is tried by going back
TEXT = "a" * 28 + "!"


@contextmanager
def _soon() -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < DEADLINE


names = st.text("ab", max_size=2)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, 1.5]) | names,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
written = st.sampled_from(["a", "^a", "b$", "^a+$", "[^a]", "a|b", ""])
asked: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.fixed_dictionaries({"type": st.sampled_from(["string", "array", "object", "integer"])}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "pattern": written,
            "properties": st.dictionaries(names, inner, max_size=2),
            # The library takes an empty pattern, which fits every name, for none.
            "patternProperties": st.dictionaries(written.filter(bool), inner, max_size=2),
            "additionalProperties": inner,
            "uniqueItems": st.booleans(),
            "items": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
        },
    ),
    max_leaves=8,
)


def _places(validator: Any, value: Any) -> set[tuple[Any, ...]]:
    """What is wrong, and where: the paths into the value, with the keyword that says so."""
    return {(*error.absolute_path, error.validator) for error in validator.iter_errors(value)}


@given(value=values, schema=asked)
@settings(max_examples=500, deadline=None)
def test_what_is_counted_finds_what_the_library_finds(value: Any, schema: Any) -> None:
    keywords.begin()

    found = _places(keywords.bounded(Draft202012Validator)(schema), value)

    assert found == _places(Draft202012Validator(schema), value)


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"properties": {"a": {"not": {"pattern": ENDLESS}}}}, {"a": TEXT}),
        ({"patternProperties": {ENDLESS: {"type": "string"}}}, {TEXT: 1}),
        ({"patternProperties": {ENDLESS: {}}, "additionalProperties": {"type": "string"}}, {TEXT: "x"}),
    ],
    ids=["of a text", "of a name", "of the other names"],
)
def test_a_pattern_that_would_go_back_for_ever_is_soon_done(draft: str, schema: JsonObject, value: Any) -> None:
    of_draft = {"$schema": draft, **schema}

    with _soon():
        schemas.require_valid(of_draft)
        schemas.validate(value, of_draft)


def test_items_that_are_no_texts_are_soon_found_to_be_unique() -> None:
    items: list[Any] = [{str(number): number} for number in range(20_000)]

    with _soon():
        schemas.validate(items, {"uniqueItems": True})
        with pytest.raises(SchemaViolation, match="twice"):
            schemas.validate([*items, {"7": 7.0}], {"uniqueItems": True})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (
            {
                "$ref": "#/$defs/0",
                "$defs": {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(40)} | {"40": {}},
            },
            1,
        ),
        ({"items": {"allOf": [{}] * 2_000}}, list(range(10_000))),
        ({"items": {"enum": list(range(2_000))}}, [None] * 10_000),
        ({"patternProperties": {f"a{n}": {} for n in range(2_000)}}, {f"b{n}": 1 for n in range(10_000)}),
        ({"items": {"allOf": [{"pattern": f"a{n}"} for n in range(1_000)]}}, ["b" * 10_000] * 20),
    ],
    ids=["references that fork", "alternatives", "an enumeration", "names", "long texts"],
)
def test_a_schema_that_asks_too_much_ends(schema: JsonObject, value: Any) -> None:
    schemas.require_valid(schema)

    with _soon(), pytest.raises(SchemaViolation, match="too long"):
        schemas.validate(value, schema)


def test_the_steps_of_each_value_are_its_own() -> None:
    for _ in range(3):
        schemas.validate(["a"] * (keywords.MAX_STEPS // 2 - 10), {"items": {}, "maxItems": keywords.MAX_STEPS})


@pytest.mark.parametrize(
    "schema",
    [
        {"patternProperties": {"a": {}}, "allOf": [{"unevaluatedProperties": False}]},
        {"$ref": "#/hidden", "hidden": {"patternProperties": {"a": {}}, "unevaluatedProperties": False}},
        {"properties": {"a": {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": ENDLESS}}},
        {"description": "x" * schemas.MAX_SCHEMA_BYTES},
    ],
    ids=["unevaluated", "unevaluated, hidden", "another draft inside", "too large"],
)
def test_a_schema_whose_cost_cannot_be_bounded_is_refused(schema: JsonObject) -> None:
    with pytest.raises(SchemaViolation):
        schemas.require_valid(schema)


@pytest.mark.parametrize("pattern", ["^(?=a)b", r"(a)\1"])
def test_a_pattern_of_another_engine_asks_nothing_and_is_named(pattern: str) -> None:
    schema = {
        "properties": {"a": {"pattern": pattern}},
        "patternProperties": {pattern: {"type": "string"}},
        "additionalProperties": False,
    }

    schemas.require_valid(schema)
    schemas.validate({"a": "x", "b": 1}, schema)

    assert schemas.unread_patterns(schema) == [pattern, pattern]
    assert schemas.unread_patterns({"properties": {"pattern": {"pattern": "^[a-z]{3}$"}}}) == []
