"""The stages of pipelines over rows in memory, told as plainly as possible: what both engines are held to.

A row is a mapping of names to JSON values. Conditions are those of `tests.storage.model`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from storage.pipelines.stages import (
    Count,
    Group,
    GroupField,
    Limit,
    Match,
    Operand,
    Project,
    Skip,
    Sort,
    Stage,
    Unwind,
)
from storage.queries import sorting
from storage.queries.operators import Filter
from tests.storage import model

Row = Mapping[str, Any]

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def run(rows: Sequence[Row], stages: Sequence[Stage]) -> list[Row]:
    keys: list[str] = []
    for stage in stages:
        if isinstance(stage, Group):
            keys = [key.name for key in stage.keys]
        rows = list(_stage(rows, stage, keys))
    return list(rows)


def distinct(rows: Sequence[Row], key: str) -> list[Any]:
    values = [each for row in rows for each in _elements(value(row, key))]
    return [found for found in _once(values) if found is not None]


def _once(values: Sequence[Any]) -> list[Any]:
    """In order, each once. To Python, 0 and false are equal."""
    ordered = itertools.groupby(sorted(values, key=place), key=lambda each: (place(each), each))
    return [found for (_, found), _ in ordered]


def value(row: Row, key: str) -> Any:
    """What a key leads to; through a list, the list of what it leads to in each element."""
    name, *path = key.split(".")
    return _at(row.get(name), path)


def _at(here: Any, path: Sequence[str]) -> Any:
    for index, name in enumerate(path):
        if isinstance(here, list):
            return _across(here, path[index:]) or None
        here = here.get(name) if isinstance(here, dict) else None
    return here


def _across(values: Sequence[Any], path: Sequence[str]) -> list[Any]:
    for name in path:
        opened = [each for one in values for each in (one if isinstance(one, list) else [one])]
        values = [each[name] for each in opened if isinstance(each, dict) and name in each]
    return list(values)


def place(value: Any) -> tuple[int, Any]:
    """By what values are ordered."""
    match value:
        case None:
            return 0, 0
        case bool():
            return 5, value
        case int() | float():
            return 1, value
        case str():
            return 2, value
    return (3, 0) if isinstance(value, dict) else (4, 0)


def _stage(rows: Sequence[Row], stage: Stage, keys: Sequence[str]) -> Iterator[Row]:
    match stage:
        case Match(question):
            yield from (row for row in rows if _holds(row, question.filter))
        case Sort(terms):
            yield from functools.reduce(_sorted, reversed(terms), rows)
        case Limit(number):
            yield from rows[:number]
        case Skip(number):
            yield from rows[number:]
        case Count(name):
            yield from [{name: len(rows)}] if rows else []
        case Unwind(path):
            yield from (_put(row, path.split("."), each) for row in rows for each in _elements(_straight(row, path)))
        case Project(fields, excluded, only):
            kept = [name for name in (keys if only is None else only) if name not in excluded]
            for row in rows:
                yield {name: row[name] for name in kept} | {name: _made(row, each) for name, each in fields}
        case Group():
            yield from _groups(rows, stage)


def _sorted(rows: Sequence[Row], by: sorting.Sort) -> Sequence[Row]:
    return sorted(rows, key=lambda row: place(value(row, by.key)), reverse=by.descending)


def _groups(rows: Sequence[Row], stage: Group) -> Iterator[Row]:
    def key(row: Row) -> list[Any]:
        return [place(value(row, each.key)) for each in stage.keys]

    for _, members in itertools.groupby(sorted(rows, key=key), key=key):
        group = list(members)
        named = {each.name: value(group[0], each.key) for each in stage.keys}
        yield named | {field.name: _of_group(group, field) for field in stage.fields}


def _of_group(group: Sequence[Row], field: GroupField) -> Any:
    rows = [row for row in group if _holds(row, field.conditions)]
    if field.operator == "count":
        return len(rows)
    if field.members:
        return [{member.name: value(row, member.key) for member in field.members} for row in rows]
    values = [value(row, field.key or "") for row in rows]
    given = [each for each in values if each is not None]
    numbers = [each for each in values if _is_number(each)]
    scalars = sorted((each for each in given if not isinstance(each, dict | list)), key=place)
    match field.operator:
        case "sum":
            return sum(numbers)
        case "average":
            return sum(numbers) / len(numbers) if numbers else None
        case "max":
            return scalars[-1] if scalars else None
        case "min":
            return scalars[0] if scalars else None
        case "first":
            return values[0] if values else None
        case "last":
            return values[-1] if values else None
        case "push":
            return given
        case "add_to_set":
            return _once(given)
    return {name: each for one in given if isinstance(one, dict) for name, each in one.items()}


def _made(row: Row, operand: Operand) -> Any:
    if operand.operator is None:
        return value(row, operand.key or "")
    if operand.operator == "size":
        found = value(row, operand.key or "")
        return len(found) if isinstance(found, list) else None
    amounts = [_made(row, each) for each in operand.operands]
    if operand.operator == "sum":
        return sum(each for each in amounts if _is_number(each))
    if not all(map(_is_number, amounts)):
        return None
    first, second, *_ = amounts
    match operand.operator:
        case "add":
            return sum(amounts)
        case "subtract":
            return first - second
        case "multiply":
            return first * second
    return first / second if second else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _holds(row: Row, filters: Sequence[Filter]) -> bool:
    return all(model.holds(row, each.key, each.operator, each.value, NOW) for each in filters)


def _elements(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _straight(row: Row, key: str) -> Any:
    here: Any = row
    for name in key.split("."):
        here = here.get(name) if isinstance(here, dict) else None
    return here


def _put(row: Row, path: Sequence[str], element: Any) -> Row:
    name, *inside = path
    return {**row, name: _put(row[name], inside, element) if inside else element}
