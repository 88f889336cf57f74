"""Which columns a selection needs, and how the rows that are read for it become values of the API's types.

Of each field of a type `Made` says which columns (`storage.selected`) it is made of and how. A row that was read for a
selection makes the fields that it has the columns of, and the others are not there: an operation that asks for one all
the same fails, and is not answered with a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeVar

from strawberry import ID
from strawberry.types.nodes import SelectedField, Selection
from strawberry.utils.str_converters import to_camel_case

from schema.context import Info
from schema.node import Node, global_id
from storage.selected import Row, Selected

Value = TypeVar("Value")
Read = Callable[[Any], Any]

CURSORS = frozenset({"cursor", "startCursor", "endCursor"})
ENDS = frozenset({"hasNextPage", "hasPreviousPage"})
INBOX = "inbox"  # that a list of notifications is of


@dataclass(frozen=True)
class Made:
    """One field: its columns, and what it is of a row of values.

    `as_text` is what is answered for it of a row that was read as text; None where that is left to the ordinary path.
    Of a field that `is_column`, it is made of the column's value instead. A field whose resolver reads more has columns
    only.
    """

    columns: Sequence[str]
    value: Read | None = None
    as_text: Read | None = None
    is_column: bool = False


@dataclass(frozen=True, eq=False)
class Fields:
    """A type's fields by their names in Python."""

    made: Mapping[str, Made]
    _by_api_name: Mapping[str, Made] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_api_name", {to_camel_case(name): made for name, made in self.made.items()})

    def columns(self, names: Iterable[str]) -> frozenset[str]:
        """What these fields, named as the API does, are made of."""
        made = (self._by_api_name[name] for name in names if name in self._by_api_name)
        return frozenset().union(*(each.columns for each in made))

    def named(self, name: str) -> Made | None:
        """The field that the API calls so."""
        return self._by_api_name.get(name)

    def instance(self, type_: type[Value], row: Any) -> Value:
        """A value of the API's type, of a model's row or of one that was read for a selection."""
        value = object.__new__(type_)
        kind: Any = type(row)
        for name, read in _reads(self, kind):
            setattr(value, name, read(row))
        return value


@lru_cache
def _reads(fields: Fields, kind: Any) -> list[tuple[str, Read]]:
    """The fields that rows of this class make."""
    has = kind.__dict__ if issubclass(kind, Row) else None
    return [
        (name, made.value)
        for name, made in fields.made.items()
        if made.value is not None and (has is None or has.keys() >= set(made.columns))
    ]


def column(name: str, *, within: str = "", text: Read | None = None) -> Made:
    """A field that is a column: as it is, or what `text` makes of its value that was read as text."""
    return Made((name,), attrgetter(f"{within}.{name}" if within else name), text or as_it_is, is_column=True)


def as_it_is(value: Any) -> Any:
    return value


def relay_id(type_name: str, name: str) -> Made:
    """The field `id` of a type whose own ids are in this column."""
    read = attrgetter(name)

    def made(row: Any) -> ID:
        return global_id(type_name, read(row))

    return Made((name,), made, made)


def of_one(info: Info, fields: Fields, type_name: str | None = None) -> Selected:
    """What is selected of a single value; of a node, where it turns out to be of this type."""
    if planned := _planned(info):
        return planned
    selections = _selections(info)
    if selections is None:
        return Selected()
    return Selected(fields.columns(each.name for each in _flat(selections, type_name)))


def of_connection(info: Info, fields: Fields) -> Selected:
    """What is selected of the rows of a connection, and of their places in it."""
    if planned := _planned(info):
        return planned
    selections = _selections(info)
    if selections is None:
        return Selected()
    parts = [each for each in _flat(selections) if each.selections]
    edges = [inner for each in parts if each.name == "edges" for inner in _flat(each.selections)]
    nodes = [each for each in parts if each.name == "nodes"] + [each for each in edges if each.name == "node"]
    pages = {inner.name for each in parts if each.name == "pageInfo" for inner in _flat(each.selections)}
    return Selected(
        fields.columns(inner.name for node in nodes for inner in _flat(node.selections)),
        cursors=not CURSORS.isdisjoint(pages.union(each.name for each in edges)),
        beyond=not ENDS.isdisjoint(pages),
        inbox=any(each.name == INBOX for each in parts),
    )


def found(row: Any, selected: Selected, shown: Callable[[Any], Value]) -> Value | None:
    """What is shown of a row, if there is one; the row itself where a plan reads it."""
    return row if row is None or selected.as_text else shown(row)


def _planned(info: Any) -> Selected | None:
    """What `schema.planned` reads of the rows itself, as text."""
    return getattr(info, "selected", None)


def _selections(info: Info) -> list[Selection] | None:
    """What is selected of a field; None for one whose resolver is called without a selection: then all is read."""
    selected = getattr(info, "selected_fields", None)
    return None if selected is None else [inner for each in selected for inner in each.selections]


def _flat(selections: Iterable[Selection], type_name: str | None = None) -> Iterator[SelectedField]:
    """The fields, those of fragments among them; none that @skip or @include leaves out, or that another type has."""
    for each in selections:
        if _is_left_out(each):
            continue
        if isinstance(each, SelectedField):
            yield each
        elif type_name is None or each.type_condition in (None, Node.__name__, type_name):
            yield from _flat(each.selections, type_name)


def _is_left_out(selection: Selection) -> bool:
    skip, include = selection.directives.get("skip"), selection.directives.get("include")
    return bool(skip and skip["if"]) or bool(include and not include["if"])
