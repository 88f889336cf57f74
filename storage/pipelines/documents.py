"""JSON values inside of statements: read, compared, built and gathered alike on SQLite and PostgreSQL. Knows no table.

On PostgreSQL they are jsonb. On SQLite they are text in one spelling per value (keys sorted, no fraction where there is
none), so that equal values are equal texts; what it has no words for, `storage.pipelines.document_functions` does.
A JSON null is NULL: within statements there is one way to have no value.
"""

from __future__ import annotations

import re
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    ColumnElement,
    Double,
    FromClause,
    Integer,
    Numeric,
    String,
    func,
    literal,
    literal_column,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from storage.columns import Text
from storage.queries.fields import SEPARATOR
from storage.queries.json_keys import Path, sorted_by

Expression = ColumnElement[Any]

TYPE: TypeEngine[Any] = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class _Call(FunctionElement[Any]):
    """A function as each engine spells it, with its arguments in the place of {0}, {1} and so on."""

    sqlite: str
    postgresql: str

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.inherit_cache = True  # the class and the arguments are all that the SQL depends on


@compiles(_Call, "sqlite")
def _on_sqlite(element: _Call, compiler: SQLCompiler, **options: Any) -> str:
    return _filled(element.sqlite, element, compiler, options)


@compiles(_Call, "postgresql")
def _on_postgresql(element: _Call, compiler: SQLCompiler, **options: Any) -> str:
    return _filled(element.postgresql, element, compiler, options)


def _filled(template: str, element: _Call, compiler: SQLCompiler, options: dict[str, Any]) -> str:
    # Only what is used: PostgreSQL asks for the type of every parameter, and finds it by its use.
    arguments = [
        compiler.process(clause, **options) if f"{{{index}}}" in template else ""
        for index, clause in enumerate(element.clauses)
    ]
    return re.sub(r"\{([0-9])\}", lambda found: arguments[int(found[1])], template)


_DOCUMENT = "CAST({0} AS jsonb)"
# A strict path goes through objects only; a lax one sees through one list at a time, as filters do.
_STRAIGHT = f"jsonb_path_query_first({_DOCUMENT}, ('strict $' || {{2}})::jsonpath, '{{}}', true)"
_ACROSS = f"NULLIF(jsonb_path_query_array({_DOCUMENT}, ('$' || {{2}})::jsonpath), '[]')"


class _Whole(_Call):
    type = TYPE
    sqlite = "document_whole({0})"
    postgresql = f"NULLIF({_DOCUMENT}, 'null')"


class _At(_Call):
    type = TYPE
    sqlite = "document_at({0}, {1})"
    postgresql = f"NULLIF(COALESCE({_STRAIGHT}, {_ACROSS}), 'null')"


class _Straight(_Call):
    type = TYPE
    sqlite = "document_straight({0}, {1})"
    postgresql = f"NULLIF({_STRAIGHT}, 'null')"


class _Replaced(_Call):
    type = TYPE
    sqlite = "document_replaced({0}, {1}, {3})"
    postgresql = f"""(CASE WHEN {_STRAIGHT} IS NULL THEN {_DOCUMENT}
        ELSE jsonb_set({_DOCUMENT}, string_to_array({{1}}, '.'), COALESCE({{3}}, 'null'), false) END)"""


class _NumberOf(_Call):
    type = Numeric(asdecimal=False)
    sqlite = "document_number({0})"
    postgresql = "(CASE WHEN jsonb_typeof({0}) = 'number' THEN CAST({0} #>> '{}' AS numeric) END)"


class _TextOf(_Call):
    type = Text()
    sqlite = "document_text({0})"
    postgresql = "((CASE WHEN jsonb_typeof({0}) = 'string' THEN {0} #>> '{}' END) COLLATE \"C\")"


class _TruthOf(_Call):
    type = Integer()
    sqlite = "(CASE {0} WHEN 'true' THEN 1 WHEN 'false' THEN 0 END)"
    postgresql = "(CASE {0} WHEN 'true'::jsonb THEN 1 WHEN 'false'::jsonb THEN 0 END)"


class spelled(_Call):
    """A JSON value as PostgreSQL writes jsonb: different values are different texts, in the same order everywhere."""

    type = Text()
    sqlite = "document_spelled({0})"
    postgresql = '(CAST({0} AS text) COLLATE "C")'


class amount(_Call):
    """A number to calculate with: a double, none beyond 1e30, and 0 where it is nearer to it than 1e-30.

    So no product of ten, and no sum of as many as there are rows, leaves the range of doubles: PostgreSQL would end
    the statement.
    """

    type = Double()
    sqlite = "document_amount({0})"
    postgresql = """(CASE WHEN abs({0}) < 1e-30 THEN 0 WHEN abs({0}) <= 1e30 THEN {0} END)::double precision"""


class milliseconds(_Call):
    """A moment as milliseconds since 1970."""

    type = Double()
    sqlite = "(CAST(strftime('%s', {0}) AS REAL) * 1000 + CAST(substr({0}, 21, 3) AS REAL))"
    postgresql = "CAST(round(extract(epoch FROM {0}) * 1000) AS double precision)"


class moment(_Call):
    """A moment as the API spells it."""

    type = String()
    sqlite = "{0}"
    postgresql = """(to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') COLLATE "C")"""


class formatted(_Call):
    """A moment in a format of `storage.pipelines.dates`, spelled for each engine: for SQLite, for PostgreSQL."""

    type = Text()
    sqlite = "document_date({0}, {1})"
    postgresql = """(to_char({0} AT TIME ZONE 'UTC', {2}) COLLATE "C")"""


class _Quoted(_Call):
    type = TYPE
    sqlite = "document_quoted({0})"
    postgresql = "to_jsonb({0})"


class _QuotedText(_Call):
    type = TYPE
    sqlite = "document_quoted({0})"
    postgresql = "to_jsonb(CAST({0} AS text))"


class _QuotedTruth(_Call):
    type = TYPE
    sqlite = "(CASE {0} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)"
    postgresql = "to_jsonb(CAST({0} AS boolean))"


class only(_Call):
    """Of a group, the value of the one row that a condition is true of; its type is to be coerced."""

    sqlite = "max({0}) FILTER (WHERE {1})"
    postgresql = "(array_agg({0}) FILTER (WHERE {1}))[1]"


_ELEMENTS = "jsonb_agg({0} ORDER BY {1}) FILTER (WHERE {0} IS NOT NULL AND {2})"


class gathered(_Call):
    """Of a group, the values in the order of their positions, where a condition is true. NULL is none of them."""

    type = TYPE
    sqlite = "document_list(json_group_array(json_array({1}, {0})) FILTER (WHERE {0} IS NOT NULL AND {2}))"
    postgresql = f"COALESCE({_ELEMENTS}, '[]')"


class distinct(FunctionElement[Any]):
    """Of a group, the different values in their order, where a condition is true. NULL is none of them."""

    type = TYPE
    inherit_cache = True


@compiles(distinct, "sqlite")
def _distinct_on_sqlite(element: distinct, compiler: SQLCompiler, **options: Any) -> str:
    value, condition = (compiler.process(clause, **options) for clause in element.clauses)
    return f"document_set(json_group_array(DISTINCT {value}) FILTER (WHERE {value} IS NOT NULL AND {condition}))"


@compiles(distinct, "postgresql")
def _distinct_on_postgresql(element: distinct, compiler: SQLCompiler, **options: Any) -> str:
    value, condition = (compiler.process(clause, **options) for clause in element.clauses)
    each: Expression = literal_column("each.value")
    place = ", ".join(compiler.process(term, **options) for term in (sorted_by(each, ()), spelled(each)))
    found = f"jsonb_agg({value}) FILTER (WHERE {value} IS NOT NULL AND {condition})"
    return (
        f"(SELECT COALESCE(jsonb_agg(each.value ORDER BY {place}), '[]') FROM"
        f" (SELECT DISTINCT one.value FROM jsonb_array_elements({found}) AS one(value)) AS each)"
    )


class merged(_Call):
    """Of a group, one object with the keys of all, the later ones' first, where a condition is true."""

    type = TYPE
    sqlite = "document_merged(json_group_array(json_array({1}, {0})) FILTER (WHERE {0} IS NOT NULL AND {2}))"
    postgresql = f"""(SELECT COALESCE(jsonb_object_agg(pair.key, pair.value ORDER BY one.position), '{{}}')
        FROM jsonb_array_elements({_ELEMENTS}) WITH ORDINALITY AS one(value, position),
            jsonb_each(CASE WHEN jsonb_typeof(one.value) = 'object' THEN one.value ELSE '{{}}' END) AS pair)"""


_LIST = "(CASE WHEN jsonb_typeof({0}) = 'array' THEN {0} ELSE '[]' END)"


class size(_Call):
    """How many elements a list has; NULL of anything else."""

    type = Integer()
    sqlite = "document_size({0})"
    postgresql = "(CASE WHEN jsonb_typeof({0}) = 'array' THEN jsonb_array_length({0}) END)"


_ELEMENT_AMOUNT = amount.postgresql.replace("{0}", _NumberOf.postgresql.replace("{0}", "each.value"))


class total(_Call):
    """The sum of a list's numbers."""

    type = Double()
    sqlite = "document_total({0})"
    postgresql = f"""(SELECT COALESCE(sum({_ELEMENT_AMOUNT}), 0)
        FROM jsonb_array_elements({_LIST}) AS each(value))"""


class from_entries(_Call):
    """A list of {k, v}, {key, value} or [k, v] as an object; the last one of a key counts."""

    type = TYPE
    sqlite = "document_from_entries({0})"
    postgresql = f"""(CASE WHEN jsonb_typeof({{0}}) = 'array' THEN (
        SELECT COALESCE(jsonb_object_agg(pair.key #>> '{{}}', COALESCE(pair.value, 'null') ORDER BY pair.position),
            '{{}}')
        FROM (SELECT
            CASE jsonb_typeof(each.value) WHEN 'array' THEN each.value -> 0
                ELSE COALESCE(each.value -> 'k', each.value -> 'key') END AS key,
            CASE WHEN jsonb_typeof(each.value) = 'array' THEN each.value -> 1
                WHEN each.value ? 'k' THEN each.value -> 'v' ELSE each.value -> 'value' END AS value,
            each.position
            FROM jsonb_array_elements({_LIST}) WITH ORDINALITY AS each(value, position)) AS pair
        WHERE jsonb_typeof(pair.key) = 'string') END)"""


class entries(_Call):
    """An object as a list of {k, v}, in the order of the keys; NULL of anything else."""

    type = TYPE
    sqlite = "document_entries({0})"
    postgresql = """(CASE WHEN jsonb_typeof({0}) = 'object' THEN (
        SELECT COALESCE(jsonb_agg(jsonb_build_object('k', pair.key, 'v', pair.value) ORDER BY pair.key COLLATE "C"),
            '[]')
        FROM jsonb_each(CASE WHEN jsonb_typeof({0}) = 'object' THEN {0} ELSE '{}' END) AS pair) END)"""


class _Items(_Call):
    type = TYPE
    sqlite = "document_items({0})"
    postgresql = """(CASE WHEN {0} IS NULL THEN '[]' WHEN jsonb_typeof({0}) = 'array' THEN {0}
        ELSE jsonb_build_array({0}) END)"""


class _Object(FunctionElement[Any]):
    type = TYPE
    inherit_cache = True


@compiles(_Object, "sqlite")
def _object_on_sqlite(element: _Object, compiler: SQLCompiler, **options: Any) -> str:
    return f"document_object({compiler.process(element.clauses, **options)})"


@compiles(_Object, "postgresql")
def _object_on_postgresql(element: _Object, compiler: SQLCompiler, **options: Any) -> str:
    return f"jsonb_build_object({compiler.process(element.clauses, **options)})"


def whole(column: Expression) -> Expression:
    """A stored JSON column as a value to work with."""
    return _Whole(column)


def at(value: Expression, path: Path) -> Expression:
    """What a path leads to. Where it crosses lists, the list of what it leads to in their elements, if to anything."""
    return _At(value, *_path(path))


def straight(value: Expression, path: Path) -> Expression:
    """What a path leads to that crosses no list; it may be empty."""
    return _Straight(value, *_path(path)) if path else value


def replaced(value: Expression, path: Path, element: Expression) -> Expression:
    """The value with another one where the path leads, if it leads anywhere without crossing a list."""
    return _Replaced(value, *_path(path), element) if path else element


def number_of(value: Expression) -> Expression:
    """The number that a JSON value is, else NULL."""
    return _NumberOf(value)


def text(value: Expression) -> Expression:
    """A text as a JSON value."""
    return _QuotedText(value)


def number(value: Expression) -> Expression:
    return _Quoted(value)


def truth(value: Expression) -> Expression:
    return _QuotedTruth(value)


def obj(members: dict[str, Expression]) -> Expression:
    """An object of JSON values."""
    return _Object(*(part for name in sorted(members) for part in (_text(name), members[name])))


def largest(value: Expression, condition: ColumnElement[bool]) -> Expression:
    """Of a group, the largest value; objects and lists are not compared."""
    best = _best(func.max, value, condition)
    return func.coalesce(*reversed(best), type_=TYPE)


def smallest(value: Expression, condition: ColumnElement[bool]) -> Expression:
    return func.coalesce(*_best(func.min, value, condition), type_=TYPE)


def _best(choose: Any, value: Expression, condition: ColumnElement[bool]) -> list[Expression]:
    return [
        _Quoted(choose(_NumberOf(value)).filter(condition)),
        _QuotedText(choose(_TextOf(value)).filter(condition)),
        _QuotedTruth(choose(_TruthOf(value)).filter(condition)),
    ]


def elements(value: Expression, *, on_postgresql: bool) -> tuple[FromClause, Expression, Expression]:
    """The elements of a list, as rows: the table to join, its column of values, and that of their positions.

    What is no list is its own only element; NULL has none.
    """
    items = _Items(value)
    if on_postgresql:
        table = func.jsonb_array_elements(items).table_valued("value", with_ordinality="ordinality")
        return table, _Whole(table.c.value), table.c.ordinality
    table = func.json_each(items).table_valued("value", "key")
    return table, type_coerce(table.c.value, TYPE), type_coerce(table.c.key, Integer)


def _path(path: Path) -> tuple[Expression, Expression]:
    """A path as SQLite's functions take it, and as the steps of a jsonpath."""
    return _text(SEPARATOR.join(path)), _text("".join(f".{orjson.dumps(name).decode()}" for name in path))


def _text(value: str) -> Expression:
    return literal(value, Text())
