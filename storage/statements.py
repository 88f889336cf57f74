"""Statements whose text is made once, and is the same for any number of rows, straight through the driver.

Where hundreds of rows are written a second, the ORM costs more than the database: this is the way round it, within the
transaction of a session. Values are bound, and read, as the columns of the models bind and read them. It knows no
table.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Boolean, Column, Dialect, Integer, Select, Table
from sqlalchemy.sql.dml import ReturningDelete
from sqlalchemy.types import TypeEngine
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import drivers
from storage.columns import Json, Number, Sealed, UtcDateTime
from storage.drivers import Row

Process = Callable[[Any], Any] | None
Convert = Callable[[Row], Row]  # all values of a column at once

_JSON_ROWS = "(SELECT value FROM json_each(?1) ORDER BY key)"
MAX_DIALECTS = 8  # each database has one for its reads and one for its writes

# Of what PostgreSQL's arrays are; of text, where it is not said.
_ELEMENTS: Mapping[type[TypeEngine[Any]], str] = {
    Number: "bigint",
    Integer: "integer",
    Boolean: "boolean",
    UtcDateTime: "timestamptz",
    Sealed: "bytea",
}


class Insert:
    """INSERT of many rows of a model, and what comes after it: a conflict's resolution, what is returned.

    `columns` are filled from attributes of the same names, all others stay NULL or at the database's default.
    `computed` ones get an expression, by dialect, in which a name in braces is the row's value of that column.
    `shared` ones have one value in all rows of most inserts: where all of them do, PostgreSQL is given it once, and no
    array of it.
    `at_once`: on SQLite too the rows are one statement, as JSON. It is slower, but for rows that return something, and
    for a table that FTS5 indexes, which writes down at each statement what the one before has added to its index.
    """

    def __init__(
        self,
        model: type[SQLModel],
        columns: Sequence[str] | None = None,
        *,
        computed: Mapping[str, Mapping[str, str]] | None = None,
        shared: Container[str] = (),
        then: str = "",
        at_once: bool = False,
    ) -> None:
        self._table = _table(model)
        self._columns = tuple(columns or columns_of(model))
        self._computed = computed or {}
        self._shared = [number for number, name in enumerate(self._columns) if name in shared]
        self._then = then
        self._at_once = at_once
        self._values: Callable[[Any], Row] = attrgetter(*self._columns)
        self._for = lru_cache(2 * MAX_DIALECTS)(self._compile)
        self._converts_for = lru_cache(MAX_DIALECTS)(self._converts)

    async def run(self, session: AsyncSession, rows: Sequence[Any]) -> list[Row]:
        """Insert them in this order; what is returned is in no order on PostgreSQL."""
        if not rows:
            return []
        driver = await drivers.of(session)
        text, columns = self.bound(driver.dialect, rows)
        if not driver.is_sqlite:
            return await driver.fetch(text, columns)
        by_row = [*zip(*columns, strict=True)]
        if self._at_once:
            return await driver.fetch(text, [orjson.dumps(by_row).decode()])
        return await driver.fetch_each(text, by_row)

    def bound(self, dialect: Dialect, rows: Sequence[Any]) -> tuple[str, Sequence[Any]]:
        """The statement, and the values of each column as the driver takes them; of what is given once, the value."""
        pairs = zip(self._converts_for(dialect), zip(*map(self._values, rows), strict=True), strict=True)
        columns: list[Any] = [convert(values) for convert, values in pairs]
        if dialect.name != "postgresql" or not all(_is_one(columns[number]) for number in self._shared):
            return self._for(dialect, ()), columns
        for number in self._shared:
            columns[number] = columns[number][0]
        return self._for(dialect, tuple(self._shared)), columns

    def _converts(self, dialect: Dialect) -> list[Convert]:
        return [_binding(self._table.columns[name].type, dialect) for name in self._columns]

    def _compile(self, dialect: Dialect, once: Sequence[int]) -> str:
        spelled, source = self._source(dialect, once)
        given = dict(zip(self._columns, spelled, strict=True))
        filled = given | {name: spelled[dialect.name].format(**given) for name, spelled in self._computed.items()}
        head, values = f"INSERT INTO {self._table.name} ({', '.join(filled)})", ", ".join(filled.values())
        # Without a condition, SQLite would take a conflict's ON for that of a join.
        rows = f"SELECT {values} FROM {source} WHERE true" if source else f"VALUES ({values})"
        return f"{head} {rows} {self._then}"

    def _source(self, dialect: Dialect, once: Sequence[int]) -> tuple[Iterable[str], str | None]:
        """How the columns' values are spelled, and where all rows come from; None: they come one by one."""
        numbers = range(len(self._columns))
        if dialect.name == "postgresql":
            columns = [self._table.columns[name] for name in self._columns]
            arrays = {number: columns[number] for number in numbers if number not in once}
            return (_spelled(columns[number], number, number in once) for number in numbers), _arrays(arrays)
        if self._at_once:
            return (f"json_extract(value, '$[{number}]')" for number in numbers), _JSON_ROWS
        return (f"?{number + 1}" for number in numbers), None


class Batch(NamedTuple):
    """Rows for an insert that returns nothing, and is not `at_once`."""

    insert: Insert
    rows: Sequence[Any]


async def run_all(session: AsyncSession, *batches: Batch) -> None:
    """Insert one after the other; on SQLite, its thread is asked once for all of them."""
    driver = await drivers.of(session)
    statements = [batch.insert.bound(driver.dialect, batch.rows) for batch in batches if batch.rows]
    if driver.is_sqlite:
        await driver.run_each([(text, [*zip(*columns, strict=True)]) for text, columns in statements])
        return
    for text, columns in statements:
        await driver.fetch(text, columns)


class Query:
    """A SELECT, or a DELETE that returns what it deletes, with named parameters.

    It is made once for each dialect by `build`, which gets the dialect's name.
    """

    def __init__(self, build: Callable[[str], Select[Any] | ReturningDelete[Any]]) -> None:
        self._build = build
        self._for = lru_cache(MAX_DIALECTS)(self._compile)

    async def rows(self, session: AsyncSession, **values: Any) -> list[Row]:
        driver = await drivers.of(session)
        text, parameters, converts = self._for(driver.dialect)
        bound = [values[name] if process is None else process(values[name]) for name, process in parameters]
        columns = zip(*await driver.fetch(text, bound), strict=True)
        return [*zip(*(convert(values) for convert, values in zip(converts, columns, strict=False)), strict=True)]

    def _compile(self, dialect: Dialect) -> tuple[str, list[tuple[str, Process]], list[Convert]]:
        statement = self._build(dialect.name)
        compiled = statement.compile(dialect=dialect)
        binds, names = compiled.binds, compiled.positiontup or ()
        parameters = [(name, _bind_processor(binds[name].type, dialect)) for name in names]
        types = [column.type.dialect_impl(dialect) for column in statement.exported_columns]
        return str(compiled), parameters, [_by_value(type_.result_processor(dialect, None)) for type_ in types]


def columns_of(model: type[SQLModel], *, but: Container[str] = ()) -> list[str]:
    """The names of all of a model's columns, but some."""
    return [column.name for column in _table(model).columns if column.name not in but]


def _table(model: type[SQLModel]) -> Table:
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


def _bind_processor(type_: TypeEngine[Any], dialect: Dialect) -> Process:
    return type_.dialect_impl(dialect).bind_processor(dialect)


def _binding(type_: TypeEngine[Any], dialect: Dialect) -> Convert:
    process = _bind_processor(type_, dialect)
    return _by_row(process) if isinstance(type_, Json) else _by_value(process)


def _by_row(process: Process) -> Convert:
    return tuple if process is None else lambda values: [process(value) for value in values]


def _by_value(process: Process) -> Convert:
    """Each value once: what is written or read together has few instants, states and kinds."""
    if process is None:
        return tuple

    def convert(values: Row) -> Row:
        converted = {value: process(value) for value in set(values)}
        return [converted[value] for value in values]

    return convert


def _is_one(values: Row) -> bool:
    return values.count(values[0]) == len(values)


def _arrays(columns: Mapping[int, Column[Any]]) -> str:
    """One array for each of these columns, by their numbers among the parameters, as rows."""
    arrays = (f"${number + 1}::{_element(column)}[]" for number, column in columns.items())
    return f"unnest({', '.join(arrays)}) AS new ({', '.join(column.name for column in columns.values())})"


def _element(column: Column[Any]) -> str:
    return next((name for kind, name in _ELEMENTS.items() if isinstance(column.type, kind)), "text")


def _spelled(column: Column[Any], number: int, is_once: bool) -> str:
    value = f"${number + 1}::{_element(column)}" if is_once else f"new.{column.name}"
    return f"{value}::json" if isinstance(column.type, Json) else value
