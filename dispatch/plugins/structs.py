"""JSON as protobuf's Struct, and back. Pure.

A Struct's only numbers are doubles, so an integer arrives as 587.0. Plugins of SpaceONE that take a port or an account
number want it as a string. The rule: an integer goes as a string, unless the plugin's own JSON Schema takes no string
in its place. Numbers with a fraction stay what they are.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from dispatch.plugins import JsonObject, schemas

Path = tuple[str | int, ...]


def struct(value: JsonObject) -> Struct:
    """Raises ValueError, OverflowError for what no Struct can hold."""
    made = Struct()
    made.update(value)
    return made


def json(struct: Struct) -> Any:
    """Doubles without a fraction come back as the integers that they most likely were."""
    return _whole(MessageToDict(struct))


def spelled(value: JsonObject, schema: JsonObject | None = None) -> JsonObject:
    """The value with its integers as strings, but for those in whose place the schema takes no string."""
    words: JsonObject = _spelled(value)
    if schema is None or words == value:
        return words
    numbers = schemas.mismatches(words, schema)
    kept: JsonObject = _spelled(value, numbers)
    return kept


def has_integers(value: Any) -> bool:
    """Whether it makes a difference how they go."""
    return bool(_spelled(value) != value)


def _spelled(value: Any, numbers: Collection[Path] = (), path: Path = ()) -> Any:
    if isinstance(value, dict):
        return {key: _spelled(item, numbers, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_spelled(item, numbers, (*path, index)) for index, item in enumerate(value)]
    if isinstance(value, int) and not isinstance(value, bool) and path not in numbers:
        return str(value)
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
