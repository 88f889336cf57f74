"""The groups of a pipeline's rows, and what is made of each: lists, sums, the first and the last. No other stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import (
    ColumnElement,
    Double,
    FromClause,
    Integer,
    String,
    and_,
    case,
    cast,
    func,
    literal,
    select,
    true,
    type_coerce,
)

from storage.columns import Text
from storage.pipelines import dates, documents
from storage.pipelines.documents import Expression
from storage.pipelines.rows import Gathering, Ordering, Rows, labelled, produced
from storage.pipelines.stages import Group, GroupField, GroupOperator, Key
from storage.pipelines.values import Value
from storage.queries.fields import Kind
from storage.queries.operators import Question, Unaskable, conditions

COLLECTING = frozenset({GroupOperator.PUSH, GroupOperator.ADD_TO_SET, GroupOperator.MERGE_OBJECTS})
EDGES = frozenset({GroupOperator.FIRST, GroupOperator.LAST})
PLACED = EDGES | {GroupOperator.PUSH, GroupOperator.MERGE_OBJECTS}  # what the order of the rows matters to


@dataclass(frozen=True)
class _Operand:
    """What a field of a group is made of, in each row."""

    value: Value
    condition: ColumnElement[bool]
    position: Expression  # of the row in its group, where that matters


def of(rows: Rows, stage: Group) -> Rows:
    """A row for each group, in the order of the keys. Raises Unaskable."""
    keys = {key.name: _key(rows, key, f"keys.{index}") for index, key in enumerate(stage.keys)}
    by = [key.expression for key in keys.values()]
    operands = [_operand(rows, field, by, f"fields.{index}") for index, field in enumerate(stage.fields)]
    members = _members(rows, by, operands)
    made = [_made(field, operands[index], members, index) for index, field in enumerate(stage.fields)]
    table = _grouped(members, len(by), [value.expression for value in made])
    by_name = {name: Value(table.c[f"k{index}"], key.kind) for index, (name, key) in enumerate(keys.items())}
    others = {field.name: Value(table.c[f"f{i}"], made[i].kind) for i, field in enumerate(stage.fields)}
    return replace(
        rows,
        statement=select().select_from(table),
        fields=produced(by_name | others),
        order=_order([*by_name.values()]),
        keys=[*keys],
        gatherings=[*rows.gatherings, *_gatherings(rows, stage, operands)],
    )


def _order(keys: Sequence[Value]) -> list[Ordering]:
    """By the keys' ranks, and by whole values where these are alike: no two groups have one place, so pages fit."""
    wholes = [documents.spelled(key.expression) for key in keys if key.kind is Kind.JSON]
    return [*(Ordering(key.rank) for key in keys), *(Ordering(whole) for whole in wholes)]


def _members(rows: Rows, by: Sequence[Expression], operands: Sequence[_Operand]) -> FromClause:
    """The rows with their keys (k0, ...), and with the value, condition and position of each operand (v0, c0, p0)."""
    return rows.statement.add_columns(
        *labelled("k", by),
        *labelled("v", [operand.value.expression for operand in operands]),
        *labelled("c", [operand.condition for operand in operands]),
        *labelled("p", [operand.position for operand in operands]),
    ).cte()


def _grouped(members: FromClause, keys: int, made: Sequence[Expression]) -> FromClause:
    by = [members.c[f"k{index}"] for index in range(keys)]
    statement = select(*labelled("k", by), *labelled("f", made)).select_from(members)
    # Without keys there is one group, and none where there are no rows.
    return (statement.group_by(*by) if by else statement.having(func.count() > 0)).cte()


def _key(rows: Rows, key: Key, place: str) -> Value:
    value = rows.value(key.key, f"{place}.key")
    if key.date_format is None:
        return value
    if value.kind is not Kind.DATE:
        raise Unaskable("Only dates have a format.", field=f"{place}.dateFormat")
    form = dates.PARTS.get(key.date_format, key.date_format)
    text = documents.formatted(value.expression, literal(form, Text()), literal(dates.template(form), Text()))
    return Value(cast(text, Integer), Kind.NUMBER) if key.date_format in dates.PARTS else Value(text, Kind.TEXT)


# What the fields are made of, in each row.


def _operand(rows: Rows, field: GroupField, by: Sequence[Expression], place: str) -> _Operand:
    condition = _condition(rows, field, place)
    is_placed = field.operator in PLACED
    position = _position(rows, field, by, condition) if is_placed else literal(1, Integer)
    return _Operand(_value(rows, field, place), condition, position)


def _condition(rows: Rows, field: GroupField, place: str) -> ColumnElement[bool]:
    try:
        return and_(true(), *conditions(rows.fields, Question(filter=field.conditions, now=rows.now)))
    except Unaskable as error:
        inside = error.field.removeprefix("filter")
        raise Unaskable(error.message, field=f"{place}.conditions{inside}") from None


def _position(
    rows: Rows, field: GroupField, by: Sequence[Expression], condition: ColumnElement[bool]
) -> ColumnElement[int]:
    backwards = field.operator is GroupOperator.LAST
    # The first row is that for which the condition holds.
    partition = [*by, case((condition, 1), else_=0)] if field.operator in EDGES and field.conditions else by
    order = [term.clause(backwards=backwards) for term in rows.order]
    return func.row_number().over(partition_by=partition or None, order_by=order or None)


def _value(rows: Rows, field: GroupField, place: str) -> Value:
    if field.operator is GroupOperator.COUNT:
        return Value(literal(1, Integer), Kind.NUMBER)
    if field.members:
        return _object(rows, field, place)
    value = rows.value(field.key or "", f"{place}.key")
    match field.operator:
        case GroupOperator.SUM | GroupOperator.AVERAGE:
            return Value(value.amount(f"{place}.key"), Kind.NUMBER)
        case GroupOperator.PUSH | GroupOperator.ADD_TO_SET:
            return Value(value.document, Kind.JSON)
        case GroupOperator.MERGE_OBJECTS if value.kind is not Kind.JSON:
            raise Unaskable("This is no object.", field=f"{place}.key")
        case GroupOperator.MAX | GroupOperator.MIN if value.kind is Kind.BOOLEAN:
            return Value(value.document, Kind.JSON)
    return value


def _object(rows: Rows, field: GroupField, place: str) -> Value:
    members = enumerate(field.members)
    values = {each.name: rows.value(each.key, f"{place}.fields.{index}.key") for index, each in members}
    return Value(documents.obj({name: value.document for name, value in values.items()}), Kind.JSON)


# What is made of a group.


def _made(field: GroupField, operand: _Operand, members: FromClause, index: int) -> Value:
    value, condition, position = (members.c[f"{column}{index}"] for column in "vcp")
    kind = operand.value.kind
    match field.operator:
        case GroupOperator.COUNT:
            return Value(func.count().filter(condition), Kind.NUMBER)
        case GroupOperator.SUM:
            return Value(func.coalesce(func.sum(value).filter(condition), 0.0, type_=Double), Kind.NUMBER)
        case GroupOperator.AVERAGE:
            return Value(func.avg(value, type_=Double).filter(condition), Kind.NUMBER)
        case GroupOperator.MAX:
            largest = documents.largest(value, condition) if kind is Kind.JSON else func.max(value).filter(condition)
            return Value(largest, kind)
        case GroupOperator.MIN:
            smallest = documents.smallest(value, condition) if kind is Kind.JSON else func.min(value).filter(condition)
            return Value(smallest, kind)
        case GroupOperator.FIRST | GroupOperator.LAST:
            return Value(type_coerce(documents.only(value, and_(condition, position == 1)), value.type), kind)
        case GroupOperator.PUSH:
            return Value(documents.gathered(value, position, condition), Kind.JSON)
        case GroupOperator.ADD_TO_SET:
            return Value(documents.distinct(value, condition), Kind.JSON)
        case GroupOperator.MERGE_OBJECTS:
            return Value(documents.merged(value, position, condition), Kind.JSON)


def _gatherings(rows: Rows, stage: Group, operands: Sequence[_Operand]) -> Iterator[Gathering]:
    for index, (field, operand) in enumerate(zip(stage.fields, operands, strict=True)):
        if field.operator in COLLECTING:
            value = operand.value.expression
            statement = rows.statement.add_columns(func.length(cast(value, String)).label("size"))
            if field.operator is GroupOperator.ADD_TO_SET:
                statement = statement.add_columns(value.label("value")).distinct()
            yield Gathering(statement.where(operand.condition), f"fields.{index}")
