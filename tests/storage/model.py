"""The filters of the query format over rows in memory, told as plainly as possible: what both engines are held to.

A row is a mapping of the API's names to values; moments are datetimes.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

Row = Mapping[str, Any]

ORDERS = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
NEGATIONS = {"not": "eq", "not_in": "in", "not_contain": "contain", "not_contain_in": "contain_in"}


def holds(row: Row, key: str, how: str, value: Any, now: datetime) -> bool:
    """Whether one filter finds the row."""
    if how in NEGATIONS:
        return not holds(row, key, NEGATIONS[how], value, now)
    found = list(_candidates(row, key))
    texts = [fold(each) for each in found if isinstance(each, str)]
    operation, _, order = how.partition("_")
    match operation:
        case "eq":
            return _is(found, _meant(row, key, value))
        case "in":
            return any(_is(found, _meant(row, key, each)) for each in value)
        case "gt" | "gte" | "lt" | "lte":
            return _beside(found, ORDERS[how], _meant(row, key, value))
        case "contain":
            sought = value if order else [value]
            return any(fold(each) in text for each in sought for text in texts)
        case "regex":
            patterns = value if order else [value]
            return any(re.search(each.replace("$", r"\Z"), text, re.ASCII) for each in patterns for text in texts)
        case "exists":
            return bool(found) is value
        case "match":
            elements = [each for one in _reach(row, key.split(".")) if isinstance(one, list) for each in one]
            return any(
                all(_is(_with_elements(_reach(each, path.split("."))), wanted) for path, wanted in value.items())
                for each in elements
                if isinstance(each, dict)
            )
        case "datetime":
            return _beside(found, ORDERS[order], _parsed(value))
        case "timediff":
            return _beside(found, ORDERS[order], _from(now, value))
    raise AssertionError(how)


def finds(
    row: Row, every: Sequence[tuple[str, str, Any]], either: Sequence[tuple[str, str, Any]], now: datetime
) -> bool:
    """Whether a whole question finds the row."""
    return all(holds(row, *each, now) for each in every) and (
        not either or any(holds(row, *each, now) for each in either)
    )


def fold(text: str) -> str:
    """Unicode's simple case folding: one character for one."""
    return "".join(
        next(one for one in (each.casefold(), each.lower(), each) if len(one) == 1 or one == each) for each in text
    )


def _candidates(row: Row, key: str) -> Iterator[Any]:
    name, *path = key.split(".")
    if row.get(name) is not None:
        yield from _with_elements(_reach(row, [name, *path]))


def _reach(value: Any, path: Sequence[str]) -> Iterator[Any]:
    if not path:
        yield value
        return
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, Mapping) and path[0] in each:
            yield from _reach(each[path[0]], path[1:])


def _with_elements(values: Iterator[Any]) -> Iterator[Any]:
    for value in values:
        yield value
        if isinstance(value, list):
            yield from value


def _is(found: Iterator[Any] | Sequence[Any], value: Any) -> bool:
    candidates = list(found)
    if value is None:
        return not candidates or None in candidates
    return _beside(candidates, operator.eq, value)


def _beside(candidates: Sequence[Any], compare: Any, value: Any) -> bool:
    return any(compare(each, value) for each in candidates if _type(each) == _type(value))


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {int: "number", float: "number", datetime: "moment"}
    return "text" if isinstance(value, str) else names.get(type(value), "nothing to compare")


def _meant(row: Row, key: str, value: Any) -> Any:
    return _parsed(value) if key.endswith("At") and value is not None else value


def _parsed(spelled: str) -> datetime:
    moment = datetime.fromisoformat({4: f"{spelled}-01-01", 7: f"{spelled}-01"}.get(len(spelled), spelled))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _from(now: datetime, spelled: str) -> datetime:
    """`now` and `now/d` with ` - 2h` or ` + 1d`, which is all that the generated filters ask."""
    beginning, *distance = spelled.split(" ")
    moment = now.replace(hour=0, minute=0, second=0, microsecond=0) if beginning == "now/d" else now
    if not distance:
        return moment
    sign, amount = distance
    by = timedelta(**{{"h": "hours", "d": "days"}[amount[-1]]: int(amount[:-1])})
    return moment + by if sign == "+" else moment - by
