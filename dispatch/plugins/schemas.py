"""Values against a plugin's JSON Schema. Of a mismatch it tells where it is and what was asked, never the value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from dispatch.plugins import keywords
from storage.secrets import MASK

NOWHERE: Registry[Any] = Registry()  # a schema that refers to another host's is not followed there
REFERENCES = frozenset({"$ref", "$dynamicRef"})
MAX_SEGMENT = 64  # characters of a key that a path repeats
MAX_SCHEMA_BYTES = 65_536  # as JSON

# What each keyword asks for; the others are named.
SENTENCES: dict[str, Callable[[Any], str]] = {
    "type": lambda types: f"This must be of the type {types if isinstance(types, str) else ' or '.join(types)}.",
    "required": lambda _: "This is required.",
    "additionalProperties": lambda _: "There is something here that the schema does not know.",
    "minLength": lambda length: f"This must have {length} characters at least.",
    "maxLength": lambda length: f"This may have {length} characters at most.",
    "minItems": lambda number: f"This must have {number} items at least.",
    "maxItems": lambda number: f"This may have {number} items at most.",
    "minProperties": lambda number: f"This must have {number} entries at least.",
    "maxProperties": lambda number: f"This may have {number} entries at most.",
    "uniqueItems": lambda _: "No item may come twice.",
    "minimum": lambda bound: f"This must be {bound} at least.",
    "maximum": lambda bound: f"This may be {bound} at most.",
    "enum": lambda values: f"This must be one of {', '.join(map(str, values))}.",
    "not": lambda _: "This holds something that is not allowed here.",
    "pattern": lambda pattern: f"This must match the pattern {pattern}",
    "dependentRequired": lambda _: "Something that goes with what is here is missing.",
    "oneOf": lambda _: "This must have one of several forms, and no other at the same time.",
    "anyOf": lambda _: "This must have one of several forms.",
}


class SchemaViolation(Exception):
    """A value does not meet its schema. `path` leads to what does not."""

    def __init__(self, path: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


def validate(value: Any, schema: dict[str, Any]) -> None:
    """Raises SchemaViolation."""
    try:
        error = best_match(_validator(schema).iter_errors(value))
    except keywords.TooManySteps as endless:
        raise SchemaViolation((), "This takes too long to check against its schema.") from endless
    except (Unresolvable, RecursionError) as broken:
        raise SchemaViolation((), "The schema that this has to meet leads nowhere.") from broken
    if error is not None:
        raise SchemaViolation(_path(error), _message(error))


def require_valid(schema: dict[str, Any]) -> None:
    """That it is a JSON Schema at all, which refers to nothing outside, and can be checked in bounded time.

    Raises SchemaViolation, with a path into it.
    """
    if len(orjson.dumps(schema)) > MAX_SCHEMA_BYTES:
        raise SchemaViolation((), f"A schema takes {MAX_SCHEMA_BYTES} bytes as JSON at most.")
    _require_bounded(schema)
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        raise SchemaViolation(tuple(map(str, error.absolute_path)), "This is no JSON Schema.") from error
    root = _root(schema)
    try:
        _follow(root, NOWHERE.resolver_with_root(root))
    except Unresolvable as error:
        raise SchemaViolation((), "This refers to a schema that is not in it.") from error


def unread_patterns(schema: dict[str, Any]) -> list[str]:
    """The patterns in it that are written for another engine, and ask nothing here."""
    return [pattern for pattern in _patterns(_root(schema)) if not keywords.is_read(pattern)]


def mismatches(value: Any, schema: dict[str, Any]) -> set[tuple[str | int, ...]]:
    """The path of everything in the value that some part of the schema does not take."""
    return {tuple(error.absolute_path) for error in _innermost(_validator(schema).iter_errors(value))}


def _validator(schema: dict[str, Any]) -> Validator:
    """One that is good for one value."""
    keywords.begin()
    return keywords.bounded(validator_for(schema, default=Draft202012Validator))(schema, registry=NOWHERE)


def _root(schema: dict[str, Any]) -> Resource[Any]:
    return Resource.from_contents(schema, default_specification=DRAFT202012)


def _require_bounded(schema: dict[str, Any]) -> None:
    """That nothing in it, wherever a reference may lead, makes the library use keywords of its own."""
    inside = list(_objects(list(schema.values())))
    if any(isinstance(part.get("$schema"), str) for part in inside):
        raise SchemaViolation((), "A schema is of one draft, which it names at its beginning.")
    if {"patternProperties", "unevaluatedProperties"} <= schema.keys() | {key for part in inside for key in part}:
        raise SchemaViolation((), "patternProperties and unevaluatedProperties cannot be in one schema.")


def _objects(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
    for item in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _objects(item)


def _patterns(schema: Resource[Any]) -> Iterator[str]:
    if isinstance(schema.contents, dict):
        yield from schema.contents.get("patternProperties", {})
        if "pattern" in schema.contents:
            yield schema.contents["pattern"]
    for within in schema.subresources():
        yield from _patterns(within)


def _follow(schema: Resource[Any], resolver: Any) -> None:
    """Every reference in the schema to where it leads. Raises Unresolvable."""
    if isinstance(schema.contents, dict):
        for reference in REFERENCES & schema.contents.keys():
            resolver.lookup(str(schema.contents[reference]))
    for within in schema.subresources():
        _follow(within, resolver.in_subresource(within))


def _innermost(errors: Iterable[ValidationError]) -> Iterator[ValidationError]:
    """The errors, and those of the alternatives that they came of."""
    for error in errors:
        yield error
        yield from _innermost(error.context or ())


def _path(error: ValidationError) -> tuple[str, ...]:
    path = [str(segment)[:MAX_SEGMENT] for segment in error.absolute_path]
    if error.validator == "required":
        required: Any = error.validator_value
        given: Any = error.instance
        path.append(next(name for name in required if name not in given))
    return tuple(path)


def _message(error: ValidationError) -> str:
    sentence = SENTENCES.get(str(error.validator))
    return sentence(error.validator_value) if sentence else f"This does not meet the schema ({error.validator})."


def concealed(value: Any, schema: Any) -> Any:
    """The value with the mask in the places whose schema says `writeOnly`: what readers are shown."""
    if not isinstance(schema, dict):
        return value
    if schema.get("writeOnly") is True:
        return MASK
    if isinstance(value, dict):
        named, others = schema.get("properties", {}), schema.get("additionalProperties")
        return {key: concealed(item, named.get(key, others)) for key, item in value.items()}
    if isinstance(value, list):
        return [concealed(item, schema.get("items")) for item in value]
    return value
