"""Compiles what is selected of a resolver's outcome into functions: from the outcome to what is answered for it.

Attributes are read by `schema.projection`. Fields with resolvers are called, but not in lists: there the ordinary path
calls those of all items together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from graphql import GraphQLNonNull, GraphQLObjectType, GraphQLOutputType
from graphql.execution.collect_fields import FieldDetails

from schema.planned import calls
from schema.planned.calls import Run
from schema.projection import Read, Selection, Unknown

Answer = Callable[[Any, Run], Awaitable[Any]]


def of_field(selection: Selection, type_: GraphQLObjectType, details: list[FieldDetails]) -> Answer:
    """What is answered for a field of a value of this type. Raises Unknown."""
    field = type_.fields[details[0].node.name.value]
    call, answer = calls.of(field, details), _of_value(selection, field.type, details)

    async def answered(value: Any, run: Run) -> Any:
        return await answer(await call(value, run), run)

    return answered


def constant(value: Any) -> Answer:
    return _at_once(lambda _value: value)


def _of_value(selection: Selection, type_: GraphQLOutputType, details: list[FieldDetails]) -> Answer:
    try:
        return _at_once(selection.value(type_, details))
    except Unknown:
        inner = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
        if not isinstance(inner, GraphQLObjectType):
            raise
        return _of_object(selection, inner, details, is_required=inner is not type_)


def _at_once(read: Read) -> Answer:
    async def answered(value: Any, _run: Run) -> Any:
        return read(value)

    return answered


def _of_object(
    selection: Selection, type_: GraphQLObjectType, details: list[FieldDetails], *, is_required: bool
) -> Answer:
    parts = [(key, *_part(selection, type_, each)) for key, each in selection.fields(type_, details).items()]

    async def answered(value: Any, run: Run) -> Any:
        if value is None:
            if is_required:
                raise TypeError("there has to be a value")
            return None
        return {key: await later(value, run) if later else read(value) for key, read, later in parts}

    return answered


def _part(selection: Selection, type_: GraphQLObjectType, details: list[FieldDetails]) -> tuple[Read, Answer | None]:
    """A field of an object: read at once, or answered later."""
    try:
        return selection.field(type_, details), None
    except Unknown:
        return _nothing, of_field(selection, type_, details)


def _nothing(_value: Any) -> None:
    return None
