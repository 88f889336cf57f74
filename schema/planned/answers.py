"""Compiles what is selected of a resolver's outcome into functions: from the outcome to what is answered for it.

Attributes are read by `schema.projection`. Fields with resolvers are called, but not in lists: there the ordinary path
calls those of all items together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from graphql import GraphQLNonNull, GraphQLObjectType, GraphQLOutputType

from schema.planned import calls
from schema.planned.calls import Call, Run
from schema.projection import Group, Read, Selection, Unknown, name_of

Answer = Callable[[Any, Run], Awaitable[Any]]


def of_field(selection: Selection, type_: GraphQLObjectType, details: Group) -> Answer:
    """What is answered for a field of a value of this type. Raises Unknown."""
    field = type_.fields[name_of(details)]
    call = calls.of(field, details)
    try:
        return _read(call, selection.value(field.type, details))
    except Unknown:
        return _awaited(call, _of_object(selection, field.type, details))


def constant(value: Any) -> Answer:
    async def answered(_value: Any, _run: Run) -> Any:
        return value

    return answered


def _read(call: Call, read: Read) -> Answer:
    async def answered(value: Any, run: Run) -> Any:
        called = call.resolve(**call.make(value, run))
        return read(await called if call.is_async else called)

    return answered


def _awaited(call: Call, answer: Answer) -> Answer:
    async def answered(value: Any, run: Run) -> Any:
        return await answer(await call(value, run), run)

    return answered


def _of_object(selection: Selection, type_: GraphQLOutputType, details: Group) -> Answer:
    inner = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    if not isinstance(inner, GraphQLObjectType):
        raise Unknown
    parts = [(key, *_part(selection, inner, each)) for key, each in selection.fields(inner, details).items()]

    async def answered(value: Any, run: Run) -> Any:
        if value is None:
            if inner is not type_:
                raise TypeError("there has to be a value")
            return None
        return {key: await later(value, run) if later else read(value) for key, read, later in parts}

    return answered


def _part(selection: Selection, type_: GraphQLObjectType, details: Group) -> tuple[Read, Answer | None]:
    """A field of an object: read at once, or answered later."""
    try:
        return selection.field(type_, details), None
    except Unknown:
        return _nothing, of_field(selection, type_, details)


def _nothing(_value: Any) -> None:
    return None
