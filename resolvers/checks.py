"""Bounds on what callers send, judged before anything is stored. Messages never repeat the value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from resolvers.errors import InvalidArgument
from storage.columns import INT64

MAX_ID_LENGTH = 128  # of a domain, a user, a project or a resource
MAX_NAME_LENGTH = 255  # of a topic or a name, as the original had it
MAX_JSON_BYTES = 262_144  # of a message, tags, options, data or a secret
MAX_JSON_DEPTH = 32  # deeper documents break readers that recurse
MAX_IDS = 1_000  # of one bulk call: it is one change of an inbox


def text(value: str, field: str, *, longest: int = MAX_NAME_LENGTH) -> str:
    """A text that is not empty, not too long, and that every database can hold. Raises InvalidArgument."""
    if not value.strip():
        raise InvalidArgument("This may not be empty.", field=field)
    if len(value) > longest:
        raise InvalidArgument(f"This may have {longest} characters at most.", field=field)
    return storable(value, field)


def identifier(value: str, field: str) -> str:
    """The id of a domain, a user, a project or a resource. Raises InvalidArgument."""
    return text(value, field, longest=MAX_ID_LENGTH)


def identifiers(values: Sequence[str], field: str, *, most: int = MAX_IDS, longest: int = MAX_ID_LENGTH) -> list[str]:
    """Distinct ids, or other names, in the order given. Raises InvalidArgument."""
    if len(values) > most:
        raise InvalidArgument(f"This may name {most} at most.", field=field)
    named = (text(value, f"{field}.{index}", longest=longest) for index, value in enumerate(values))
    return list(dict.fromkeys(named))


def given(check: Callable[[str, str], str], values: Mapping[str, str | None]) -> None:
    """Check each by its field; None was not given. Raises InvalidArgument."""
    for field, value in values.items():
        if value is not None:
            check(value, field)


def origin(value: str | None) -> str | None:
    """The client's own mark on its change, by which its other tabs know it. Raises InvalidArgument."""
    return None if value is None else text(value, "originId", longest=MAX_ID_LENGTH)


def json_object(value: Any, field: str) -> dict[str, Any]:
    """A JSON object that comes back equal to what was given. Raises InvalidArgument."""
    if not isinstance(value, dict):
        raise InvalidArgument("This must be a JSON object.", field=field)
    _check_json(value, field, depth=1)
    if len(orjson.dumps(value)) > MAX_JSON_BYTES:
        raise InvalidArgument(f"This may take {MAX_JSON_BYTES} bytes as JSON at most.", field=field)
    return value


def _check_json(value: Any, field: str, *, depth: int) -> None:
    if isinstance(value, str):
        storable(value, field)
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        if value not in INT64:  # beyond, JSON readers disagree about the value
            raise InvalidArgument("Integers must fit into 64 bits.", field=field)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidArgument("Numbers must be finite.", field=field)
    elif depth > MAX_JSON_DEPTH:
        raise InvalidArgument(f"This may be nested {MAX_JSON_DEPTH} deep at most.", field=field)
    elif isinstance(value, dict):
        for key, item in value.items():
            storable(key, field)
            _check_json(item, field, depth=depth + 1)
    else:
        for item in value:
            _check_json(item, field, depth=depth + 1)


def storable(value: str, field: str) -> str:
    """A text that every database can hold. Raises InvalidArgument."""
    if "\0" in value:
        raise InvalidArgument("The character U+0000 cannot be stored.", field=field)
    if not _is_unicode(value):
        raise InvalidArgument("This contains half a surrogate pair, which is not a character.", field=field)
    return value


def _is_unicode(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
