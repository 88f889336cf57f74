"""The schema is what clients rely on: it is committed as text, and every part of it is explained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    is_introspection_type,
    is_specified_scalar_type,
)

import schema
from tests.schema.operations import TYPES

COMMITTED = Path(schema.__file__).parent / "schema.graphql"
OURS = [
    type_
    for type_ in TYPES.type_map.values()
    if not is_introspection_type(type_) and not is_specified_scalar_type(type_)
]


def test_the_committed_schema_is_the_one_that_is_served() -> None:
    """`python main.py export-schema > schema/schema.graphql` writes it anew."""
    assert COMMITTED.read_text().rstrip("\n") == schema.build().as_str().rstrip("\n")


def test_everything_is_described() -> None:
    assert [name for type_ in OURS for name, description in _parts(type_) if not (description or "").strip()] == []


def test_what_may_be_left_out_has_no_default_of_null() -> None:
    """Absent and null mean the same, so that a default of null would only say twice what nullable says."""
    assert " = null" not in COMMITTED.read_text()


def _parts(type_: GraphQLNamedType) -> Iterator[tuple[str, str | None]]:
    """The type, its fields, arguments and values, by name, each with its description."""
    yield type_.name, type_.description
    if isinstance(type_, GraphQLEnumType):
        yield from ((f"{type_.name}.{name}", value.description) for name, value in type_.values.items())
    elif isinstance(type_, GraphQLInputObjectType):
        yield from ((f"{type_.name}.{name}", field.description) for name, field in type_.fields.items())
    elif isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
        for name, field in type_.fields.items():
            yield f"{type_.name}.{name}", field.description
            yield from (
                (f"{type_.name}.{name}({argument})", value.description) for argument, value in field.args.items()
            )
