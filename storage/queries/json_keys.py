"""Values inside of JSON, each as one text: its key. Keys are equal, and sort, as their values do, on both engines.

A key begins with a digit for the value's type, so that values of two types are never equal and comparisons stay within
one. Numbers are compared as doubles. It knows no operator.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import Boolean, ColumnElement, and_, literal, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from storage.columns import Text

Path = Sequence[str]

MAX_SORTED_CHARACTERS = 255  # of a text: what comes behind does not decide its place


class Type(StrEnum):
    """The first character of a key. A list's and an object's keys have no second."""

    NULL = "0"
    NUMBER = "1"
    TEXT = "2"
    OBJECT = "3"
    LIST = "4"
    BOOLEAN = "5"


NULL_KEY: str = Type.NULL.value
_INVERTED = str.maketrans("0123456789abcdef", "fedcba9876543210")


def key(value: Any) -> str:
    """The key of a JSON value."""
    if isinstance(value, bool):
        return f"{Type.BOOLEAN}{'true' if value else 'false'}"
    if isinstance(value, int | float):
        return f"{Type.NUMBER}{_number(value)}"
    if isinstance(value, str):
        return f"{Type.TEXT}{value}"
    if isinstance(value, dict):
        return Type.OBJECT.value
    return Type.NULL.value if value is None else Type.LIST.value


def _number(value: float) -> str:
    """The bits of the double, turned so that they sort as texts do."""
    bits = struct.pack(">d", float(value) + 0.0).hex()  # + 0.0: there is one zero
    return f"1{bits}" if value >= 0 else f"0{bits.translate(_INVERTED)}"


def sort_key(document: Any, path: Path) -> str:
    """The key of the value at the end of the path, by which rows are sorted: what is missing sorts as null."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return key(document)[: MAX_SORTED_CHARACTERS + 1]


def _at(values: list[Any], path: Path) -> Iterator[Any]:
    """What the path leads to from these values; a list on the way stands for its elements."""
    for name in path:
        values = [found[name] for value in values for found in _opened(value) if name in found]
    yield from values


def _opened(value: Any) -> list[dict[str, Any]]:
    """The objects in which a name is looked for."""
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]


# Functions of the SQLite connections, which `storage.engine` registers by these names.


def sqlite_keys(document: str | None, path: str) -> str:
    """The keys of all values that the path leads to, and of the elements of those that are lists, as a JSON list."""
    found = list(_at([] if document is None else [orjson.loads(document)], orjson.loads(path)))
    elements = (element for value in found if isinstance(value, list) for element in value)
    return orjson.dumps([*map(key, found), *map(key, elements)]).decode()


def sqlite_objects(document: str | None, path: str) -> str:
    """The objects in the lists that the path leads to, as a JSON list."""
    found = _at([] if document is None else [orjson.loads(document)], orjson.loads(path))
    lists = (value for value in found if isinstance(value, list))
    return orjson.dumps([each for value in lists for each in value if isinstance(each, dict)]).decode()


def sqlite_sort_key(document: str | None, path: str) -> str:
    return sort_key(None if document is None else orjson.loads(document), orjson.loads(path))


# In SQL. A document is a JSON column, or OBJECT.

KEY: ColumnElement[str] = literal_column("found.value", Text())  # in the condition of `any_key`
ANY: ColumnElement[bool] = KEY >= NULL_KEY  # which every key is
OBJECT: ColumnElement[Any] = literal_column("element.value")  # in the condition of `any_object`


def is_of(type_: str) -> ColumnElement[bool]:
    """Whether KEY is of this type."""
    return and_(type_ <= KEY, chr(ord(type_) + 1) > KEY)


NAMES, STEPS = range(2)  # the spellings of a path: for SQLite, for PostgreSQL


class _Within(FunctionElement[Any]):
    """Something of what a path leads to in a document. Each engine takes the path as it spells it."""

    inherit_cache = True

    def __init__(self, document: ColumnElement[Any], path: Path, *more: ColumnElement[Any]) -> None:
        names = literal(orjson.dumps([*path]).decode(), Text())
        steps = literal("".join(f".{orjson.dumps(name).decode()}" for name in path), Text())
        super().__init__(document, names, steps, *more)


class any_key(_Within):
    """Whether the condition, which is about KEY, holds for a value that the path leads to, or an element of it."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, document: ColumnElement[Any], path: Path, condition: ColumnElement[bool]) -> None:
        super().__init__(document, path, condition)


class any_object(_Within):
    """Whether the condition, which is about OBJECT, holds for an object in a list that the path leads to."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, document: ColumnElement[Any], path: Path, condition: ColumnElement[bool]) -> None:
        super().__init__(document, path, condition)


class sorted_by(_Within):
    """The same as `sort_key`; never null."""

    type = Text()
    inherit_cache = True


@compiles(any_key, "sqlite")
def _sqlite_any_key(element: any_key, compiler: SQLCompiler, **options: Any) -> str:
    document, names, condition = _compiled(element, compiler, options, NAMES)
    return f"EXISTS (SELECT 1 FROM json_each(json_keys({document}, {names})) AS found WHERE {condition})"


@compiles(any_object, "sqlite")
def _sqlite_any_object(element: any_object, compiler: SQLCompiler, **options: Any) -> str:
    document, names, condition = _compiled(element, compiler, options, NAMES)
    return f"EXISTS (SELECT 1 FROM json_each(json_objects({document}, {names})) AS element WHERE {condition})"


@compiles(sorted_by, "sqlite")
def _sqlite_sorted_by(element: sorted_by, compiler: SQLCompiler, **options: Any) -> str:
    document, names = _compiled(element, compiler, options, NAMES)
    return f"json_sort_key({document}, {names})"


# Functions of a text in PostgreSQL's dialect. Lax paths see through one list at a time, as ours do; strict ones do not.
_TEXT = "({0} #>> '{{}}')"
_BITS = f"encode(float8send({_TEXT}::float8), 'hex')"
_KEY = f"""CASE jsonb_typeof({{0}})
 WHEN 'string' THEN '2' || {_TEXT}
 WHEN 'number' THEN CASE WHEN {_TEXT}::float8 >= 0 THEN '11' || {_BITS}
 ELSE '10' || translate({_BITS}, '0123456789abcdef', 'fedcba9876543210') END
 WHEN 'boolean' THEN '5' || {_TEXT}
 WHEN 'object' THEN '3' WHEN 'array' THEN '4' ELSE '0' END COLLATE "C\""""
_ELEMENTS = "jsonb_array_elements(CASE jsonb_typeof({0}) WHEN 'array' THEN {0} ELSE '[]' END)"


@compiles(any_key, "postgresql")
def _postgresql_any_key(element: any_key, compiler: SQLCompiler, **options: Any) -> str:
    document, steps, condition = _compiled(element, compiler, options, STEPS)
    keys = (
        f"SELECT {_KEY.format('each.value')} AS value"
        f" FROM jsonb_path_query(({document})::jsonb, ('$' || {steps})::jsonpath) AS top(value),"
        f" LATERAL (SELECT top.value UNION ALL SELECT * FROM {_ELEMENTS.format('top.value')}) AS each(value)"
    )
    return f"EXISTS (SELECT 1 FROM ({keys}) AS found WHERE {condition})"


@compiles(any_object, "postgresql")
def _postgresql_any_object(element: any_object, compiler: SQLCompiler, **options: Any) -> str:
    document, steps, condition = _compiled(element, compiler, options, STEPS)
    return (
        f"EXISTS (SELECT 1 FROM jsonb_path_query(({document})::jsonb, ('$' || {steps})::jsonpath) AS top(value),"
        f" LATERAL {_ELEMENTS.format('top.value')} AS element(value)"
        f" WHERE jsonb_typeof(element.value) = 'object' AND ({condition}))"
    )


@compiles(sorted_by, "postgresql")
def _postgresql_sorted_by(element: sorted_by, compiler: SQLCompiler, **options: Any) -> str:
    document, steps = _compiled(element, compiler, options, STEPS)
    found = f"jsonb_path_query_first(({document})::jsonb, ('strict $' || {steps})::jsonpath, '{{}}', true)"
    key = f"(SELECT {_KEY.format('found.value')} FROM {found} AS found(value))"
    return f"substr({key}, 1, {MAX_SORTED_CHARACTERS + 1})"


def _compiled(element: _Within, compiler: SQLCompiler, options: dict[str, Any], spelling: int) -> list[str]:
    """The document, the path in this spelling, and what follows. A parameter that is not used must not be rendered."""
    document, *paths_and_more = element.clauses
    needed = [document, paths_and_more[spelling], *paths_and_more[len((NAMES, STEPS)) :]]
    return [compiler.process(clause, **options) for clause in needed]
