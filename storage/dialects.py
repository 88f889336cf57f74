"""What statements need and the two databases spell differently. It knows no table, and runs nothing."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any, cast

import orjson
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Dialect,
    Float,
    String,
    TypeDecorator,
    bindparam,
    func,
    literal,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.columns import UtcDateTime


def insert(session: AsyncSession, model: type[SQLModel]) -> postgresql.Insert | sqlite.Insert:
    """INSERT in the session's dialect, which both spell `ON CONFLICT` alike but share no construct for it."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(model)
    return sqlite.insert(model)


def among(session: AsyncSession, column: Any, values: Collection[Any]) -> ColumnElement[bool]:
    """Whether the column is one of these values, as a statement that is the same text for any number of them.

    `IN` is another text for each number: it would be prepared anew for nearly every batch.
    """
    dialect = session.get_bind().dialect.name
    return one_of(dialect, column, bindparam(None, list(values), Several(column.type), unique=True))


def one_of(dialect: str, column: Any, values: BindParameter[Any]) -> ColumnElement[bool]:
    """The same, of a parameter whose type is `Several`."""
    if dialect == "postgresql":
        return cast(ColumnElement[bool], column == func.any(values))
    each = func.json_each(values).table_valued("value")
    return cast(ColumnElement[bool], column.in_(select(each.c.value)))


class Several(TypeDecorator[Any]):
    """A list of values of a type, as a parameter: an array on PostgreSQL, a JSON text on SQLite."""

    impl = String
    cache_ok = True

    def __init__(self, type_: Any) -> None:
        super().__init__()
        self.of = type_

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return postgresql.ARRAY(self.of) if dialect.name == "postgresql" else String()

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return list(value) if dialect.name == "postgresql" else orjson.dumps(list(value)).decode()


class checked(FunctionElement[Any]):
    """A column whose condition is checked of rows that others lead to: SQLite, which counts no rows, asks no index."""

    inherit_cache = True

    def __init__(self, column: Any) -> None:
        super().__init__(column)
        self.type = column.type


@compiles(checked, "sqlite")
def _sqlite_checked(element: checked, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


@compiles(checked, "postgresql")
def _postgresql_checked(element: checked, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


# The database's clock, as a row holds a moment of it.
NOW = {"postgresql": "clock_timestamp()", "sqlite": "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"}


class database_time(FunctionElement[Any]):
    """The database's clock, `offset` from now: leases and due times compare with no other clock."""

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, offset: timedelta = timedelta()) -> None:
        super().__init__(literal(round(offset.total_seconds(), 3), Float))


@compiles(database_time, "sqlite")
def _sqlite_time(element: database_time, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', 'now', {seconds} || ' seconds')"


@compiles(database_time, "postgresql")
def _postgres_time(element: database_time, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"(clock_timestamp() + {seconds} * interval '1 second')"
