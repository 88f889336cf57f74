"""What callers send is bounded, storable and comes back equal."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers import checks
from resolvers.errors import InvalidArgument

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def _nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_taken_comes_back_equal(value: dict[str, Any]) -> None:
    try:
        taken = checks.json_object(value, "message")
    except InvalidArgument:
        return

    assert orjson.loads(orjson.dumps(taken)) == value


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        [],
        {"a": "\0"},
        {"\0": 1},
        {"a": ["\ud800"]},
        {"a": 2**63},
        {"a": -(2**63) - 1},
        {"a": float("nan")},
        {"a": float("inf")},
        _nested(checks.MAX_JSON_DEPTH + 1),
        {"a": "x" * checks.MAX_JSON_BYTES},
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_not_storable_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        checks.json_object(value, "message")

    assert caught.value.field == "message"


def test_bounds_are_inclusive() -> None:
    assert checks.json_object(_nested(checks.MAX_JSON_DEPTH), "message")
    assert checks.json_object({"a": [2**63 - 1, -(2**63)]}, "message")
    assert checks.text("t" * 255, "topic")


@pytest.mark.parametrize("value", ["", " \n", "t" * 256, "a\0b", "\udfff"])
def test_texts_are_not_empty_not_long_and_storable(value: str) -> None:
    with pytest.raises(InvalidArgument):
        checks.text(value, "topic")


def test_ids_are_distinct_in_their_order_and_bounded() -> None:
    assert checks.identifiers(["b", "a", "b"], "ids") == ["b", "a"]
    with pytest.raises(InvalidArgument):
        checks.identifiers(["a"] * 1001, "ids")
    with pytest.raises(InvalidArgument) as caught:
        checks.identifiers(["a", ""], "ids")
    assert caught.value.field == "ids.1"
