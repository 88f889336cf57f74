"""The keywords of JSON Schema, checked in time that is bounded, whoever wrote the schema and whoever sent the value.

Patterns are RE2's, which takes time linear to the text; one that RE2 does not read (a look-ahead, a back reference)
asks nothing. Whether items are unique is asked of a set. All else is counted, step by step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import re2
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from storage.queries import patterns

MAX_STEPS = 100_000  # looks at parts of a schema and of a value: some tenths of a second
CHARACTERS = 100  # that a pattern passes in one step

Errors = Iterable[ValidationError] | None
Keyword = Callable[[Any, Any, Any, Any], Errors]

_left: ContextVar[int] = ContextVar("_left")


class TooManySteps(Exception):
    """Checking the value against the schema takes more than is spent on it."""


@functools.cache
def bounded(draft: type[Validator]) -> type[Validator]:
    """The validator of a draft that counts its steps from the last `begin` on, and raises TooManySteps."""
    theirs: Mapping[str, Any] = draft.VALIDATORS
    counted: type[Validator] = extend(  # type: ignore[no-untyped-call]
        draft, {name: _counted(_OURS.get(name, check)) for name, check in theirs.items()}
    )
    return counted


def begin() -> None:
    """The steps of one value against one schema are counted from here."""
    _left.set(MAX_STEPS)


def is_read(pattern: str) -> bool:
    """Whether a pattern can be checked."""
    try:
        patterns.compiled(pattern)
    except re2.error:
        return False
    return True


def _counted(check: Keyword) -> Keyword:
    def counted(validator: Any, asked: Any, instance: Any, schema: Any) -> Errors:
        _spend(1 + _size(asked) + _size(instance))
        return check(validator, asked, instance, schema)

    return counted


def _size(part: Any) -> int:
    return len(part) if isinstance(part, (dict, list)) else 0


def _spend(steps: int) -> None:
    left = _left.get() - steps
    if left < 0:
        raise TooManySteps
    _left.set(left)


def _matches(pattern: str, text: str) -> bool | None:
    """Whether it is found in the text; None: it cannot be checked."""
    _spend(1 + len(text) // CHARACTERS)
    return patterns.found(text, pattern) if is_read(pattern) else None


def _pattern(validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and _matches(pattern, instance) is False:
        yield ValidationError("")


def _pattern_properties(validator: Any, named: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, asked in named.items():
        for name in (name for name in instance if _matches(pattern, name)):
            yield from validator.descend(instance[name], asked, path=name, schema_path=pattern)


def _additional_properties(validator: Any, asked: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    named, by_pattern = schema.get("properties", {}), schema.get("patternProperties", {})
    others = [
        name
        for name in instance
        if name not in named and all(_matches(pattern, name) is False for pattern in by_pattern)
    ]
    if validator.is_type(asked, "object"):
        for name in others:
            yield from validator.descend(instance[name], asked, path=name)
    elif not asked and others:
        yield ValidationError("")


def _unique_items(validator: Any, wanted: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if wanted and validator.is_type(instance, "array") and len({_frozen(item) for item in instance}) < len(instance):
        yield ValidationError("")


def _frozen(value: Any) -> Any:
    """What is equal where the values are, as JSON Schema has it: 1 and 1.0 are the same, and neither is true."""
    if isinstance(value, dict):
        return "object", frozenset((name, _frozen(item)) for name, item in value.items())
    if isinstance(value, list):
        return "array", tuple(map(_frozen, value))
    return type(value) is bool, value


_OURS: dict[str, Keyword] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}
