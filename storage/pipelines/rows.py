"""The rows between two stages of a pipeline: a statement, and the fields and the order as expressions over it.

Names of callers never come into the SQL: columns have names of their own. It knows no stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import FromClause, Select, select

from storage.pipelines.documents import Expression
from storage.pipelines.values import Value, value_of
from storage.queries.fields import DOCUMENTS, SEPARATOR, Asked, Field, Fields, UnknownKey, check_length
from storage.queries.operators import Unaskable


@dataclass(frozen=True)
class Produced(Fields):
    """The fields that a stage made, by the names that the caller gave them."""

    def resolve(self, key: str) -> Asked:
        check_length(key)
        name, *path = key.split(SEPARATOR)
        field = self.fields.get(name)
        if field is None:
            raise UnknownKey("No field has this name here: each stage sees what the one before it made.")
        if path and (field.kind not in DOCUMENTS or not all(path)):
            raise UnknownKey("No key leads into this field.")
        return Asked(field, tuple(path))


@dataclass(frozen=True)
class Ordering:
    """A term of the rows' order; NULL comes before everything."""

    expression: Expression
    descending: bool = False

    def clause(self, *, backwards: bool = False) -> Expression:
        if self.descending != backwards:
            return self.expression.desc().nulls_last()
        return self.expression.asc().nulls_first()


@dataclass(frozen=True)
class Gathering:
    """What a group puts into lists and objects: one row for each value, with its size."""

    statement: Select[Any]
    place: str


@dataclass(frozen=True)
class Rows:
    """The rows after a stage. `statement` has no columns yet; the fields and the order are expressions over it."""

    statement: Select[Any]
    fields: Fields
    order: Sequence[Ordering]
    now: datetime  # what timediff_* counts from
    on_postgresql: bool
    keys: Sequence[str] = ()  # the names of the fields that groups were made by
    gatherings: Sequence[Gathering] = ()

    def resolve(self, key: str, place: str) -> Asked:
        """Raises Unaskable, at this place."""
        try:
            return self.fields.resolve(key)
        except UnknownKey as error:
            raise Unaskable(str(error), field=place) from None

    def value(self, key: str, place: str) -> Value:
        """What a key leads to. Raises Unaskable, at this place."""
        return value_of(self.resolve(key, place))

    def in_order(self, statement: Select[Any]) -> Select[Any]:
        return statement.order_by(*(term.clause() for term in self.order))

    def selected(self) -> Select[Any]:
        """The statement with columns: f0, f1, ... are the fields, and o0, o1, ... the terms of the order."""
        fields = labelled("f", [field.column for field in self.fields.fields.values()])
        return self.statement.add_columns(*fields, *labelled("o", [term.expression for term in self.order]))

    def read_from(self, table: FromClause) -> Rows:
        """The same rows, out of a table that has the columns of `selected`."""
        placed = enumerate(self.fields.fields.items())
        fields = {key: replace(field, column=table.c[f"f{index}"]) for index, (key, field) in placed}
        order = [replace(term, expression=table.c[f"o{index}"]) for index, term in enumerate(self.order)]
        named = replace(self.fields, fields=fields)
        return replace(self, statement=select().select_from(table), fields=named, order=order)


def labelled(prefix: str, expressions: Sequence[Expression]) -> list[Any]:
    return [expression.label(f"{prefix}{index}") for index, expression in enumerate(expressions)]


def produced(values: Mapping[str, Value]) -> Produced:
    fields = {
        name: Field(name, value.expression, value.kind, attributes=(), is_nullable=True)
        for name, value in values.items()
    }
    return Produced(fields, keyword=())
