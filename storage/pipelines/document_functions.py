"""What SQLite calls for `storage.pipelines.documents`: on JSON as text, as PostgreSQL's own functions do it on jsonb.

Every text that is returned is the one spelling of its value: `canonical`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from storage.columns import INT64
from storage.pipelines import dates
from storage.queries import json_keys
from storage.queries.fields import SEPARATOR

EXACT_INTEGERS = range(-(2**53), 2**53 + 1)  # a double holds each of them
LARGEST_AMOUNT, SMALLEST_AMOUNT = 1e30, 1e-30  # as in `storage.pipelines.documents.amount`

_NOWHERE = object()


def plain(value: Any, *, integers: range = EXACT_INTEGERS) -> Any:
    """The value with no fraction where there is none: 1.0 is 1, so that both engines show the same."""
    if isinstance(value, float):
        number = int(Decimal(repr(value))) if value.is_integer() else None  # by its digits, as PostgreSQL reads it
        return value if number is None or number not in integers else number
    if isinstance(value, dict):
        return {key: plain(item, integers=integers) for key, item in value.items()}
    return [plain(item, integers=integers) for item in value] if isinstance(value, list) else value


def canonical(value: Any) -> str | None:
    return None if value is None else _dumps(plain(value, integers=INT64))


def _dumps(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _loads(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)


def _whole(text: str | None) -> str | None:
    return canonical(_loads(text))


def _at(text: str | None, path: str) -> str | None:
    document, names = _loads(text), path.split(SEPARATOR)
    found = _walk(document, names)
    if found is _NOWHERE:
        return canonical(list(_across(document, names)) or None)
    return canonical(found)


def _straight(text: str | None, path: str) -> str | None:
    found = _walk(_loads(text), path.split(SEPARATOR))
    return None if found is _NOWHERE else canonical(found)


def _walk(value: Any, names: Sequence[str]) -> Any:
    """What the path leads to through objects, or _NOWHERE."""
    for name in names:
        value = value.get(name, _NOWHERE) if isinstance(value, dict) else _NOWHERE
    return value


def _across(document: Any, names: Sequence[str]) -> Iterator[Any]:
    """What a path leads to in every element of the lists on its way."""
    values = [document]
    for name in names:
        owners = (owner for value in values for owner in (value if isinstance(value, list) else [value]))
        values = [owner[name] for owner in owners if isinstance(owner, dict) and name in owner]
    yield from values


def _replaced(text: str | None, path: str, element: str | None) -> str | None:
    document, (*before, last) = _loads(text), path.split(SEPARATOR)
    owner = _walk(document, before)
    if isinstance(owner, dict) and last in owner:
        owner[last] = _loads(element)
    return canonical(document)


def _number(text: str | None) -> float | None:
    value = _loads(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, float) or value in INT64 else float(value)


def _text(text: str | None) -> str | None:
    value = _loads(text)
    return value if isinstance(value, str) else None


def _amount(value: float | None) -> float | None:
    if value is None or abs(value) > LARGEST_AMOUNT:
        return None
    return 0.0 if abs(value) < SMALLEST_AMOUNT else float(value)


def _date(moment: str | None, form: str) -> str | None:
    return None if moment is None else dates.written(datetime.fromisoformat(moment), form)


def _listed(pairs: str) -> Iterator[str]:
    """The texts of [position, text] pairs, in the order of their positions."""
    return (text for _, text in sorted(orjson.loads(pairs)))


def _list(pairs: str) -> str:
    return f"[{','.join(_listed(pairs))}]"


def _merged(pairs: str) -> str | None:
    values = (orjson.loads(text) for text in _listed(pairs))
    return canonical({key: item for value in values if isinstance(value, dict) for key, item in value.items()})


def _set(texts: str) -> str | None:
    return canonical(sorted(map(orjson.loads, orjson.loads(texts)), key=_place))


def _place(value: Any) -> tuple[str, str]:
    return json_keys.sort_key(value, ()), _jsonb(value)


def _spelled(text: str | None) -> str | None:
    return None if text is None else _jsonb(orjson.loads(text))


def _jsonb(value: Any) -> str:
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: (len(name.encode()), name))
        return f"{{{', '.join(f'{_jsonb(name)}: {_jsonb(value[name])}' for name in names)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_jsonb, value))}]"
    return f"{Decimal(repr(value)):f}" if isinstance(value, float) else orjson.dumps(value).decode()


def _size(text: str | None) -> int | None:
    value = _loads(text)
    return len(value) if isinstance(value, list) else None


def _total(text: str | None) -> float:
    value, total = _loads(text), 0.0
    for item in value if isinstance(value, list) else []:
        total += _amount(_number(_dumps(item))) or 0.0
    return total


def _from_entries(text: str | None) -> str | None:
    value = _loads(text)
    if not isinstance(value, list):
        return None
    pairs = (_pair(entry) for entry in value)
    return canonical({key: item for key, item in pairs if isinstance(key, str)})


def _pair(entry: Any) -> tuple[Any, Any]:
    if isinstance(entry, list):
        key, value, *_ = [*entry, None, None]
        return key, value
    if not isinstance(entry, dict):
        return None, None
    if "k" in entry:
        return entry["k"], entry.get("v")
    return entry.get("key"), entry.get("value")


def _entries(text: str | None) -> str | None:
    value = _loads(text)
    return canonical([{"k": key, "v": value[key]} for key in sorted(value)]) if isinstance(value, dict) else None


def _items(text: str | None) -> str:
    """The JSON texts of a list's elements, as a JSON list."""
    value = _loads(text)
    items = value if isinstance(value, list) else [] if value is None else [value]
    return _dumps([canonical(item) for item in items])


def _object(*parts: str | None) -> str | None:
    return canonical({str(name): _loads(text) for name, text in zip(parts[::2], parts[1::2], strict=True)})


# By the name that statements call it by, with its number of arguments; -1: any.
FUNCTIONS: Mapping[str, tuple[int, Callable[..., Any]]] = {
    "document_whole": (1, _whole),
    "document_at": (2, _at),
    "document_straight": (2, _straight),
    "document_replaced": (3, _replaced),
    "document_number": (1, _number),
    "document_text": (1, _text),
    "document_amount": (1, _amount),
    "document_date": (2, _date),
    "document_quoted": (1, canonical),
    "document_spelled": (1, _spelled),
    "document_list": (1, _list),
    "document_set": (1, _set),
    "document_merged": (1, _merged),
    "document_size": (1, _size),
    "document_total": (1, _total),
    "document_from_entries": (1, _from_entries),
    "document_entries": (1, _entries),
    "document_items": (1, _items),
    "document_object": (-1, _object),
}
