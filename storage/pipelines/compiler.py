"""A pipeline as one statement: each stage is put around, or into, the statement of the stages before it.

Names of callers never come into the SQL: columns have names of their own, and values are bound. It knows no table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Select, func, select, true

from storage.pipelines import documents, groups, projections
from storage.pipelines.rows import Ordering, Rows, labelled, produced
from storage.pipelines.stages import Count, Group, Key, Limit, Match, Project, Skip, Sort, Stage, Unwind
from storage.pipelines.values import Value, stored, value_of
from storage.queries.fields import DOCUMENTS, Asked, Kind
from storage.queries.operators import Unaskable, conditions


def run(rows: Rows, stages: Sequence[Stage]) -> Rows:
    """The rows after all stages. Raises Unaskable."""
    for index, stage in enumerate(stages):
        place, before = f"aggregate.{index}.{type(stage).__name__.lower()}", len(rows.gatherings)
        try:
            rows = _STAGES[type(stage)](rows, stage)
        except Unaskable as error:
            raise error.within(place) from None
        found = [replace(each, place=f"{place}.{each.place}") for each in rows.gatherings[before:]]
        rows = replace(rows, gatherings=[*rows.gatherings[:before], *found])
    return rows


def distinct(rows: Rows, key: str) -> Rows:
    """The different values of what a key leads to, in their order; of lists, those of their elements."""
    value = rows.value(key, "distinct")
    rows = replace(rows, fields=produced({"value": value}))
    if value.kind in DOCUMENTS:
        rows = _unwind(rows, Unwind("value"))
    rows = groups.of(rows, Group(keys=[Key("value", "value")], fields=[]))
    there = rows.fields.fields["value"].column.is_not(None)
    return replace(rows, statement=rows.statement.where(there))


def count(rows: Rows) -> Select[Any]:
    return rows.statement.add_columns(func.count())


def read(rows: Rows, *, limit: int, offset: int = 0) -> Select[Any]:
    """The rows in their order, each field as the API spells its values."""
    shown = [value_of(Asked(field)).spelled for field in rows.fields.fields.values()]
    statement = rows.statement.add_columns(*labelled("f", shown))
    return rows.in_order(statement).limit(limit).offset(offset or None)


def _match(rows: Rows, stage: Match) -> Rows:
    question = replace(stage.question, now=rows.now)
    return replace(rows, statement=rows.statement.where(*conditions(rows.fields, question)))


def _sort(rows: Rows, stage: Sort) -> Rows:
    terms = [
        Ordering(rows.value(key.key, f"keys.{index}.key").rank, key.descending) for index, key in enumerate(stage.keys)
    ]
    return replace(rows, order=[*terms, *rows.order])


def _limit(rows: Rows, stage: Limit) -> Rows:
    return rows.read_from(rows.in_order(rows.selected()).limit(stage.rows).cte())


def _skip(rows: Rows, stage: Skip) -> Rows:
    return rows.read_from(rows.in_order(rows.selected()).offset(stage.rows).cte())


def _count(rows: Rows, stage: Count) -> Rows:
    counted = rows.statement.add_columns(func.count().label("f0")).having(func.count() > 0).cte()
    fields = produced({stage.name: Value(counted.c.f0, Kind.NUMBER)})
    return replace(rows, statement=select().select_from(counted), fields=fields, order=[], keys=())


def _unwind(rows: Rows, stage: Unwind) -> Rows:
    """A row for each element of a list, which takes the list's place."""
    table = rows.selected().cte()
    rows = rows.read_from(table)
    asked = rows.resolve(stage.path, "path")
    field = asked.field
    if field.kind not in DOCUMENTS:  # one value is its own only element
        return replace(rows, statement=rows.statement.where(field.column.is_not(None)))
    listed = documents.straight(field.column, asked.path) if asked.path else stored(field)
    elements, element, position = documents.elements(listed, on_postgresql=rows.on_postgresql)
    unwound = replace(field, column=documents.replaced(field.column, asked.path, element), kind=Kind.JSON)
    fields = {key: unwound if each is field else each for key, each in rows.fields.fields.items()}
    return replace(
        rows,
        statement=select().select_from(table.join(elements, true())),
        fields=replace(rows.fields, fields=fields),
        order=[*rows.order, Ordering(position)],
    )


_STAGES: Mapping[type[Stage], Callable[[Rows, Any], Rows]] = {
    Group: groups.of,
    Sort: _sort,
    Limit: _limit,
    Skip: _skip,
    Count: _count,
    Unwind: _unwind,
    Project: projections.of,
    Match: _match,
}
