"""The projections of a pipeline's rows: which fields each row keeps, and what is calculated from them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Double, func
from sqlalchemy.sql import operators as sql

from storage.pipelines import documents
from storage.pipelines.documents import Expression
from storage.pipelines.rows import Rows, produced
from storage.pipelines.stages import Operand, Project, ProjectOperator
from storage.pipelines.values import Value, value_of
from storage.queries.fields import SEPARATOR, Asked, Kind
from storage.queries.operators import Unaskable


def of(rows: Rows, stage: Project) -> Rows:
    """The same rows with other fields. Raises Unaskable."""
    made = {name: _made(rows, operand, f"fields.{index}") for index, (name, operand) in enumerate(stage.fields)}
    names = _kept(rows, stage)
    kept = [rows.fields.fields[name] for name in names]
    values = {field.name: value_of(Asked(field)) for field in kept} | made
    if not values:
        raise Unaskable("This leaves no field.", field="excludeKeys" if stage.excluded else "onlyKeys")
    projected = replace(rows, fields=produced(values), keys=[name for name in rows.keys if name in names])
    return _materialised(projected) if any(_is_made(operand) for _, operand in stage.fields) else projected


def _kept(rows: Rows, stage: Project) -> Sequence[str]:
    """The names of the fields that stay."""
    kept = list(rows.fields.fields) if not stage.fields else rows.keys
    if stage.only is not None:
        kept = [_named(rows, name, f"onlyKeys.{index}") for index, name in enumerate(stage.only)]
    excluded = {_named(rows, name, f"excludeKeys.{index}") for index, name in enumerate(stage.excluded)}
    return [name for name in kept if name not in excluded]


def _named(rows: Rows, name: str, place: str) -> str:
    asked = rows.resolve(name, place)
    if asked.path:
        raise Unaskable("This names a field, not what is in it.", field=place)
    return asked.field.name


def _is_made(operand: Operand) -> bool:
    return operand.operator is not None or SEPARATOR in (operand.key or "")


def _materialised(rows: Rows) -> Rows:
    """The rows with what was made of them: both engines would make it anew, and again, wherever it is used."""
    return rows.read_from(rows.selected().cte().prefix_with("MATERIALIZED"))


# What operators make.


def _made(rows: Rows, operand: Operand, place: str) -> Value:
    if operand.operator is None:
        return rows.value(operand.key or "", f"{place}.key")
    if operand.operands:
        inside = [f"{place}.fields.{index}" for index in range(len(operand.operands))]
        amounts = [
            _made(rows, each, where).amount(f"{where}.key")
            for each, where in zip(operand.operands, inside, strict=True)
        ]
        return Value(_CALCULATIONS[operand.operator](amounts), Kind.NUMBER)
    return _made_of(rows.value(operand.key or "", f"{place}.key"), operand.operator, f"{place}.key")


def _made_of(value: Value, operator: ProjectOperator, place: str) -> Value:
    if operator is ProjectOperator.SUM and value.kind is not Kind.JSON:
        return Value(func.coalesce(value.amount(place), 0.0, type_=Double), Kind.NUMBER)
    if value.kind is not Kind.JSON:
        raise Unaskable("This is neither a list nor an object.", field=place)
    make, kind = _OF_JSON[operator]
    return Value(make(value.expression), kind)


_OF_JSON: Mapping[ProjectOperator, tuple[Callable[[Expression], Expression], Kind]] = {
    ProjectOperator.SIZE: (documents.size, Kind.NUMBER),
    ProjectOperator.SUM: (documents.total, Kind.NUMBER),
    ProjectOperator.ARRAY_TO_OBJECT: (documents.from_entries, Kind.JSON),
    ProjectOperator.OBJECT_TO_ARRAY: (documents.entries, Kind.JSON),
}


def _sum(amounts: Sequence[Expression]) -> Expression:
    return functools.reduce(sql.add, (func.coalesce(amount, 0.0, type_=Double) for amount in amounts))


def _quotient(amounts: Sequence[Expression]) -> Expression:
    dividend, divisor = amounts
    return dividend / func.nullif(divisor, 0.0, type_=Double)


_CALCULATIONS: Mapping[ProjectOperator, Callable[[Sequence[Expression]], Expression]] = {
    ProjectOperator.SUM: _sum,
    ProjectOperator.ADD: lambda amounts: functools.reduce(sql.add, amounts),
    ProjectOperator.SUBTRACT: lambda amounts: functools.reduce(sql.sub, amounts),
    ProjectOperator.MULTIPLY: lambda amounts: functools.reduce(sql.mul, amounts),
    ProjectOperator.DIVIDE: _quotient,
}
