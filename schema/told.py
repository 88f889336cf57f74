"""Compiles what a subscription selects of live events into one function, which reads it off rows of text.

What a field is made of is said beside its type (`schema.selection`). What cannot be made of text is left to
`schema.projection`. It must not know to whom an event is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLNamedType, GraphQLObjectType, get_named_type, is_abstract_type

from resolvers.events import Event, EventKind
from schema import row_source
from schema.projection import Group, Selection, Unknown, name_of
from schema.row_source import RowSource
from schema.selection import Fields
from storage.added_rows import POSITIONS

EVENT, ROW = "event", "row"

Read = Callable[[Event], Any]


@dataclass(frozen=True)
class Told:
    """A type as events tell it. What is none of its fields here is a type of its own."""

    fields: Fields
    subject: str  # what its fields are made of: EVENT, or the ROW that it brings
    kind: EventKind | None = None  # of the events that are of this type, where others are of others


Types = Mapping[str, Told]  # by their names


def compiled(selection: Selection, types: Types) -> Read | None:
    """What makes the answer to an event; None where that takes more than texts."""
    root = selection.schema.subscription_type
    assert root
    [(key, details)] = selection.root(root).items()
    source = _Source(selection, types, key)
    type_ = get_named_type(root.fields[name_of(details)].type)
    try:
        if not is_abstract_type(type_):
            return source.answer(type_, details)
        return _by_kind({types[each.name].kind: source.answer(each, details) for each in source.possible(type_)})
    except Unknown:
        return None


def _by_kind(answers: Mapping[EventKind | None, Read]) -> Read:
    return lambda event: answers[event.kind](event)


class _Source:
    """Python for what is selected."""

    def __init__(self, selection: Selection, types: Types, key: str) -> None:
        self._selection = selection
        self._types = types
        self._key = key  # of what is answered
        self._source = RowSource(POSITIONS)

    def possible(self, type_: Any) -> list[GraphQLObjectType]:
        return self._selection.schema.get_possible_types(type_)

    def answer(self, type_: GraphQLNamedType, details: Group) -> Read:
        """Raises Unknown."""
        data = row_source.display([(self._key, self._object(type_, details))])
        # The row is named once, in front: an event has it by name, and most fields are of it.
        answer = f"lambda event: (row := event.notification, {row_source.display([('data', data)])})[1]"
        read: Read = self._source.compiled(answer)
        return read

    def _object(self, type_: GraphQLNamedType, details: Group) -> str:
        if not isinstance(type_, GraphQLObjectType) or type_.name not in self._types:
            raise Unknown
        fields = self._selection.fields(type_, details)
        return row_source.display((key, self._field(type_, group)) for key, group in fields.items())

    def _field(self, type_: GraphQLObjectType, details: Group) -> str:
        name, told = name_of(details), self._types[type_.name]
        if name == "__typename":
            return row_source.text(type_.name)
        made = told.fields.named(name)
        if made is None:
            return self._object(get_named_type(type_.fields[name].type), details)
        if made.as_text is None:
            raise Unknown
        return self._source.field(made, told.subject)
