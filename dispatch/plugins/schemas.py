"""Values against a plugin's JSON Schema. Of a mismatch it tells where it is and what was asked, never the value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import validator_for
from referencing import Registry

from storage.secrets import MASK

NOWHERE: Registry[Any] = Registry()  # a schema that refers to another host's is not followed there
MAX_SEGMENT = 64  # characters of a key that a path repeats

# What each keyword asks for; the others are named.
SENTENCES: dict[str, Callable[[Any], str]] = {
    "type": lambda types: f"This must be of the type {types if isinstance(types, str) else ' or '.join(types)}.",
    "required": lambda _: "This is required.",
    "additionalProperties": lambda _: "There is something here that the schema does not know.",
    "minLength": lambda length: f"This must have {length} characters at least.",
    "maxLength": lambda length: f"This may have {length} characters at most.",
    "minItems": lambda number: f"This must have {number} items at least.",
    "maxItems": lambda number: f"This may have {number} items at most.",
    "uniqueItems": lambda _: "No item may come twice.",
    "minimum": lambda bound: f"This must be {bound} at least.",
    "maximum": lambda bound: f"This may be {bound} at most.",
    "enum": lambda values: f"This must be one of {', '.join(map(str, values))}.",
    "not": lambda _: "This holds something that is not allowed here.",
    "pattern": lambda pattern: f"This must match the pattern {pattern}",
}


class SchemaViolation(Exception):
    """A value does not meet its schema. `path` leads to what does not."""

    def __init__(self, path: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


def validate(value: Any, schema: dict[str, Any]) -> None:
    """Raises SchemaViolation."""
    validator = validator_for(schema, default=Draft202012Validator)(schema, registry=NOWHERE)
    error = best_match(validator.iter_errors(value))
    if error is not None:
        raise SchemaViolation(_path(error), _message(error))


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
