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
from sqlalchemy.types import TypeEngine
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import engine
from storage.columns import Json, Number, Sealed, UtcDateTime
from storage.engine import Row

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
    `at_once`: on SQLite too the rows are one statement, as JSON. It is slower, but for a table that FTS5 indexes, which
    writes down at each statement what the one before has added to its index.
    """

    def __init__(
        self,
        model: type[SQLModel],
        columns: Sequence[str] | None = None,
        *,
        computed: Mapping[str, Mapping[str, str]] | None = None,
        then: str = "",
        at_once: bool = False,
    ) -> None:
        self._table = _table(model)
        self._columns = tuple(columns or columns_of(model))
        self._computed = computed or {}
        self._then = then
        self._at_once = at_once
        self._values: Callable[[Any], Row] = attrgetter(*self._columns)
        self._for = lru_cache(MAX_DIALECTS)(self._compile)

    async def run(self, session: AsyncSession, rows: Sequence[Any]) -> list[Row]:
        """Insert them in this order; what is returned is in no order on PostgreSQL."""
        if not rows:
            return []
        driver = await engine.driver(session)
        text, columns = self.bound(driver.dialect, rows)
        if not driver.is_sqlite:
            return await driver.fetch(text, columns)
        by_row = [*zip(*columns, strict=True)]
        if self._at_once:
            return await driver.fetch(text, [orjson.dumps(by_row).decode()])
        return await driver.fetch_each(text, by_row)

    def bound(self, dialect: Dialect, rows: Sequence[Any]) -> tuple[str, Sequence[Row]]:
        """The statement, and the values of each column as the driver takes them."""
        text, converts = self._for(dialect)
        columns = zip(*map(self._values, rows), strict=True)
        return text, [convert(values) for convert, values in zip(converts, columns, strict=True)]

    def _compile(self, dialect: Dialect) -> tuple[str, list[Convert]]:
        columns = [self._table.columns[name] for name in self._columns]
        spelled, source = self._source(dialect, columns)
        given = dict(zip(self._columns, spelled, strict=True))
        filled = given | {name: spelled[dialect.name].format(**given) for name, spelled in self._computed.items()}
        head, values = f"INSERT INTO {self._table.name} ({', '.join(filled)})", ", ".join(filled.values())
        rows = f"SELECT {values} FROM {source}" if source else f"VALUES ({values})"
        return f"{head} {rows} {self._then}", [_binding(column.type, dialect) for column in columns]

    def _source(self, dialect: Dialect, columns: Sequence[Column[Any]]) -> tuple[Iterable[str], str | None]:
        """How the columns' values are spelled, and where all rows come from; None: they come one by one."""
        if dialect.name == "postgresql":
            return map(_from_array, columns), _arrays(columns)
        if self._at_once:
            return (f"json_extract(value, '$[{number}]')" for number in range(len(columns))), _JSON_ROWS
        return (f"?{number}" for number in range(1, len(columns) + 1)), None


class Batch(NamedTuple):
    """Rows for an insert that returns nothing, and is not `at_once`."""

    insert: Insert
    rows: Sequence[Any]


async def run_all(session: AsyncSession, *batches: Batch) -> None:
    """Insert one after the other; on SQLite, its thread is asked once for all of them."""
    driver = await engine.driver(session)
    statements = [batch.insert.bound(driver.dialect, batch.rows) for batch in batches if batch.rows]
    if driver.is_sqlite:
        await driver.run_each([(text, [*zip(*columns, strict=True)]) for text, columns in statements])
        return
    for text, columns in statements:
        await driver.fetch(text, columns)


class Query:
    """A SELECT with named parameters, made once for each dialect by `build`, which gets the dialect's name."""

    def __init__(self, build: Callable[[str], Select[Any]]) -> None:
        self._build = build
        self._for = lru_cache(MAX_DIALECTS)(self._compile)

    async def rows(self, session: AsyncSession, **values: Any) -> list[Row]:
        driver = await engine.driver(session)
        text, parameters, converts = self._for(driver.dialect)
        bound = [values[name] if process is None else process(values[name]) for name, process in parameters]
        columns = zip(*await driver.fetch(text, bound), strict=True)
        return [*zip(*(convert(values) for convert, values in zip(converts, columns, strict=False)), strict=True)]

    def _compile(self, dialect: Dialect) -> tuple[str, list[tuple[str, Process]], list[Convert]]:
        statement = self._build(dialect.name)
        compiled = statement.compile(dialect=dialect)
        binds, names = compiled.binds, compiled.positiontup or ()
        parameters = [(name, _bind_processor(binds[name].type, dialect)) for name in names]
        types = [column.type.dialect_impl(dialect) for column in statement.selected_columns]
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


def _arrays(columns: Sequence[Column[Any]]) -> str:
    """One array for each column, as rows."""
    arrays = (f"${number}::{_element(column)}[]" for number, column in enumerate(columns, 1))
    return f"unnest({', '.join(arrays)}) AS new ({', '.join(column.name for column in columns)})"


def _element(column: Column[Any]) -> str:
    return next((name for kind, name in _ELEMENTS.items() if isinstance(column.type, kind)), "text")


def _from_array(column: Column[Any]) -> str:
    return f"new.{column.name}::json" if isinstance(column.type, Json) else f"new.{column.name}"
