"""Which columns a read brings, and the light rows that it brings them in. It knows no table.

`schema.selection` says of which columns the API's fields are made, and how.

A `Selected` goes down with every list and every single read. What comes back are rows of one class for each
`Selected`: tuples whose values are attributes too, by these names, and nothing else is there (AttributeError).

Of a notification: notification_id, parent_notification_id, topic, message, notification_type, notification_level,
is_read, read_at, user_id, project_id, domain_id, created_at, decisions, inbox_id, seq, generation (its inbox's).
Of a delivery: delivery_id, notification_id, channel_id, part, protocol_id, plugin_id, state, reason, detail,
attempt_count, next_attempt_at, created_at, finished_at, domain_id.
Of a protocol, a channel, a quota and a usage: the attributes of the model.

A notification's row also has `content`, which is itself, and `inbox`, which is itself or None: whoever reads rows of
the models as `row.content.topic` and `row.inbox.generation` reads these in the same way.

`row[selected.positions["topic"]]` is the same as `row.topic`. The columns that are read besides, and those that a page
needs of its own, for the cursors of its order, follow behind those.

As values (`as_text=False`): datetime, StrEnum, bool, parsed JSON. As text: JSON as the compact text that orjson writes
of it, instants as the API spells them, enums as their values, numbers as they are, and booleans as 0 and 1 on SQLite:
`bool(row.is_read)`. Cursors are the same of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import Boolean, ColumnElement, Integer, Select, String, cast, literal_column, type_coerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.columns import EnumText, Json, Text, UtcDateTime

MAX_ROW_CLASSES = 1_024


@dataclass(frozen=True)
class Selected:
    names: frozenset[str] | None = None  # None: every column
    as_text: bool = False
    cursors: bool = True  # list cursors are asked of the rows
    beyond: bool = True  # it is asked whether there are rows beyond the edge that a page starts from
    inbox: bool = True  # of notifications: the inbox that they are of is asked beside them
    besides: tuple[str, ...] = ()  # columns that are read whatever is selected

    def columns(self, known: Mapping[str, Any], *, order: Iterable[Any] = ()) -> list[ColumnElement[Any]]:
        """The columns in the order of a row, of those that are known by their names; those of cursors come last."""
        of_cursors = [key.attribute for key in order] if self.cursors else []
        names = dict.fromkeys([*sorted(known if self.names is None else self.names), *self.besides, *of_cursors])
        columns = [(_spelled(known[name]) if self.as_text else known[name]).label(name) for name in names]
        return columns or [literal_column("1").label("row")]

    def of(
        self,
        table: Any,
        known: Mapping[str, Any],
        conditions: Iterable[ColumnElement[bool]],
        *,
        order: Iterable[Any] = (),
    ) -> Select[Any]:
        """The columns of one table's rows that meet the conditions."""
        return sqlalchemy.select(*self.columns(known, order=order)).select_from(table).where(*conditions)

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the rows is asked, but perhaps how many there are, and their places."""
        return self.names == frozenset()

    def and_besides(self, names: tuple[str, ...]) -> Selected:
        """The same, with these columns behind the selected ones, so that those keep their positions."""
        return _with_besides(self, names) if names else self

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """Where in a row each of the `names` is."""
        assert self.names is not None
        return {name: position for position, name in enumerate(sorted(self.names))}


@lru_cache(MAX_ROW_CLASSES)
def _with_besides(selected: Selected, names: tuple[str, ...]) -> Selected:
    return replace(selected, besides=names)


ALL = Selected()
ROWS_ALONE = Selected(frozenset())  # and what their order needs


class Row:
    """What is read of a record. Mixed into the tuples that a driver or this package makes."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def __getitem__(self, position: int) -> Any: ...


def _spelled(column: Any) -> ColumnElement[Any]:
    """The column as the API spells its values."""
    if isinstance(column.type, Json):
        return cast(column, String)
    if isinstance(column.type, UtcDateTime):
        return _instant(column)
    if isinstance(column.type, EnumText):
        return type_coerce(column, Text())
    return type_coerce(column, Integer()) if isinstance(column.type, Boolean) else column


class _instant(FunctionElement[str]):
    """An instant to the millisecond, as the API spells it."""

    type = String()
    inherit_cache = True


@compiles(_instant, "sqlite")
def _sqlite_instant(element: _instant, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)  # that is how it is kept


@compiles(_instant, "postgresql")
def _postgresql_instant(element: _instant, compiler: SQLCompiler, **options: Any) -> str:
    instant = compiler.process(element.clauses, **options)
    return f"""to_char({instant} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


@lru_cache(MAX_ROW_CLASSES)
def row_class(kind: Any, base: type, names: Sequence[str]) -> type[Any]:
    """The class of rows of this kind that have these values, in this order."""
    values = {name: property(itemgetter(position)) for position, name in enumerate(names)}
    return type(kind.__name__, (kind, base), {"__slots__": (), **values})


async def fetch(session: AsyncSession, statement: Select[Any], kind: Any = Row) -> list[Any]:
    """What a session finds, as rows of this kind."""
    found = await session.exec(statement)  # type: ignore[call-overload]
    return list(map(row_class(kind, tuple, tuple(statement.selected_columns.keys())), found))


def by_name(*columns: Any) -> Mapping[str, Any]:
    return {column.key: column for column in columns}


def of_model(model: Any) -> Mapping[str, Any]:
    """All columns of a model, or of what stands for it."""
    return by_name(*(getattr(model, each.key) for each in sqlalchemy.inspect(model).mapper.column_attrs))


__all__ = ["ALL", "ROWS_ALONE", "Row", "Selected", "by_name", "fetch", "of_model", "row_class"]
