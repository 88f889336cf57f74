"""Writes random operations over the real schema, each with several sets of values for its variables.

All of it comes from one `random.Random`. Documents are well formed; a few are not valid, and some values never are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLUnionType,
    get_named_type,
    is_composite_type,
    is_required_argument,
    is_required_input_field,
)

from tests.schema.operations import ROOTS, TYPES

PLANNED = ("viewer", "inbox", "notification", "notifications", "notifications", "delivery", "deliveries")
OTHERS = ("plugins", "protocols", "protocol", "node", "inboxChanges", "quotas", "userChannels")
DEPTH = 4

Json = Any


KEY = "idempotencyKey"  # without which a create cannot be compared with itself


@dataclass(frozen=True)
class Operation:
    text: str
    runs: Sequence[Mapping[str, Json]]  # values of its variables


@dataclass(frozen=True)
class _Variable:
    type: GraphQLInputType
    place: str  # the name of the argument or the field that it is for
    default: str | None


class Author:
    """`known`: values of worth by the name of the argument or field, or of the scalar."""

    def __init__(self, chance: Random, known: Mapping[str, Sequence[Json]]) -> None:
        self._chance = chance
        self._known = known
        self._variables: dict[str, _Variable] = {}
        self._fragments: list[str] = []
        self._count = 0
        self._left = 0  # how many fields there is still room for

    def query(self, *, runs: int) -> Operation:
        return self._operation("query", lambda: self._roots(), runs)

    def creation(self, *, runs: int) -> Operation:
        """A create that its key makes repeatable."""
        return self._operation("mutation", lambda: [self._field("createNotification", ROOTS["mutation"], 3)], runs)

    def _operation(self, kind: str, fields: Any, runs: int) -> Operation:
        self._variables, self._fragments, self._left = {}, [], self._chance.randint(3, 60)
        selected = " ".join(fields())
        defined = ", ".join(f"${name}: {each.type}{each.default or ''}" for name, each in self._variables.items())
        head = f"{kind} Random({defined})" if defined else self._one_of([kind, f"{kind} Random"])
        text = " ".join([f"{head} {{ {selected} }}", *self._fragments])
        return Operation(text, [self._values() for _ in range(runs)])

    def _roots(self) -> list[str]:
        number = self._one_of([1, 1, 1, 1, 2, 3])
        names = [self._one_of(OTHERS if self._is(0.06) else PLANNED) for _ in range(number)]
        return [self._field(name, ROOTS["query"], DEPTH, is_alone=number == 1) for name in names]

    def _selection(self, type_: GraphQLNamedType, depth: int) -> str:
        if isinstance(type_, GraphQLUnionType):
            return f"{{ __typename {' '.join(self._inline(each, depth) for each in TYPES.get_possible_types(type_))} }}"
        assert isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
        number = min(self._chance.randint(1, 6), self._left)
        self._left -= number
        parts = [self._part(type_, depth) for _ in range(number)]
        return f"{{ {' '.join(['__typename' if self._is(0.1) else '', *parts, self._leaf(type_)])} }}"

    def _part(self, type_: GraphQLObjectType | GraphQLInterfaceType, depth: int) -> str:
        if self._is(0.1):
            return self._inline(type_, depth)
        if self._is(0.07):
            return self._spread(type_, depth)
        if isinstance(type_, GraphQLInterfaceType) and self._is(0.5):
            return self._inline(self._one_of(TYPES.get_possible_types(type_)), depth)
        name = self._one_of([*type_.fields])
        return self._field(name, type_, depth) if depth or not _is_composite(type_.fields[name]) else ""

    def _leaf(self, type_: GraphQLObjectType | GraphQLInterfaceType) -> str:
        """Something that is no object, so that no selection is empty."""
        leaves = [name for name, field in type_.fields.items() if not _is_composite(field)]
        return self._one_of(leaves) if leaves else "__typename"

    def _inline(self, type_: GraphQLNamedType, depth: int) -> str:
        on = f"on {type_.name}" if self._is(0.8) else ""
        return f"... {on} {self._directive()} {self._selection(type_, depth)}"

    def _spread(self, type_: GraphQLObjectType | GraphQLInterfaceType, depth: int) -> str:
        name = f"Part{self._next()}"
        self._fragments.append(f"fragment {name} on {type_} {self._selection(type_, depth)}")
        return f"...{name} {self._directive()}"

    def _field(
        self, name: str, type_: GraphQLObjectType | GraphQLInterfaceType, depth: int, *, is_alone: bool = False
    ) -> str:
        field = type_.fields[name]
        has_alias = self._is(0.2) or (bool(field.args) and not is_alone)
        alias = f"a{self._next()}: " if has_alias else ""
        inner = self._selection(get_named_type(field.type), depth - 1) if _is_composite(field) else ""
        return f"{alias}{name}{self._arguments(field)} {self._directive()} {inner}"

    def _directive(self) -> str:
        if self._is(0.93):
            return ""
        condition = self._one_of(["true", "false"]) if self._is(0.5) else self._variable(_YES_OR_NO, "if")
        return f"@{self._one_of(['skip', 'include'])}(if: {condition})"

    def _arguments(self, field: GraphQLField) -> str:
        chosen = [
            f"{name}: {self._place(argument.type, name)}"
            for name, argument in field.args.items()
            if is_required_argument(argument) or self._is(_share(name))
        ]
        return f"({', '.join(chosen)})" if chosen else ""

    def _place(self, type_: GraphQLInputType, name: str) -> str:
        """What the document has in a place for a value of this type."""
        if name == KEY:
            return self._literal(type_, name)
        if self._is(0.35):
            return self._variable(type_, name)
        if isinstance(type_, GraphQLNonNull):
            return self._literal(type_.of_type, name)
        return "null" if self._is(0.08) else self._literal(type_, name)

    def _literal(self, type_: GraphQLInputType, name: str) -> str:
        if isinstance(type_, GraphQLList):
            if self._is(0.15):
                return self._literal(cast(GraphQLInputType, get_named_type(type_)), name)
            return f"[{', '.join(self._place(type_.of_type, name) for _ in range(self._chance.randint(0, 3)))}]"
        if isinstance(type_, GraphQLNonNull):
            return self._literal(type_.of_type, name)
        if isinstance(type_, GraphQLInputObjectType):
            chosen = [f"{key}: {self._place(field.type, key)}" for key, field in self._chosen(type_)]
            return f"{{{', '.join(chosen)}}}"
        if isinstance(type_, GraphQLEnumType):
            return str(self._one_of([*type_.values]))
        return _spelled(self._leaf_value(type_, name))

    def _variable(self, type_: GraphQLInputType, place: str) -> str:
        name = f"v{self._next()}"
        default = None
        if isinstance(type_, GraphQLNonNull):
            if self._is(0.3):
                inner: GraphQLInputType = type_.of_type
                type_, default = inner, f" = {self._without_variables(inner, place)}"
        elif self._is(0.2):
            type_ = GraphQLNonNull(type_)
        elif self._is(0.3):
            default = f" = {self._without_variables(type_, place)}"
        self._variables[name] = _Variable(type_, place, default)
        return f"${name}"

    def _without_variables(self, type_: GraphQLInputType, place: str) -> str:
        if isinstance(type_, GraphQLNonNull):
            return self._without_variables(type_.of_type, place)
        if isinstance(type_, GraphQLList):
            return f"[{self._without_variables(type_.of_type, place)}]"
        if isinstance(type_, GraphQLInputObjectType):
            inner = (f"{key}: {self._without_variables(field.type, key)}" for key, field in self._chosen(type_))
            return f"{{{', '.join(inner)}}}"
        return self._literal(type_, place)

    def _values(self) -> dict[str, Json]:
        values = {}
        for name, variable in self._variables.items():
            may_be_absent = variable.default is not None or not isinstance(variable.type, GraphQLNonNull)
            if not self._is(0.25 if may_be_absent else 0.003):
                values[name] = self._value(variable.type, variable.place)
        return values

    def _value(self, type_: GraphQLInputType, name: str) -> Json:
        if name == KEY:
            return self._leaf_value(type_, name)
        if isinstance(type_, GraphQLNonNull):
            return None if self._is(0.005) else self._value(type_.of_type, name)
        if self._is(0.01):
            return self._one_of(JUNK)
        if self._is(0.08):
            return None
        if isinstance(type_, GraphQLList):
            if self._is(0.1):
                return self._value(type_.of_type, name)
            return [self._value(type_.of_type, name) for _ in range(self._chance.randint(0, 3))]
        if isinstance(type_, GraphQLInputObjectType):
            return {key: self._value(field.type, key) for key, field in self._chosen(type_)}
        return self._leaf_value(type_, name)

    def _chosen(self, type_: GraphQLInputObjectType) -> Iterator[tuple[str, Any]]:
        for name, field in type_.fields.items():
            if is_required_input_field(field) or name == KEY or self._is(_share(name)):
                yield name, field

    def _leaf_value(self, type_: GraphQLInputType, name: str) -> Json:
        if isinstance(type_, GraphQLEnumType):
            return self._one_of([*type_.values])
        return self._one_of(self._known.get(name) or self._known[get_named_type(type_).name])

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _is(self, share: float) -> bool:
        return self._chance.random() < share

    def _one_of(self, choices: Sequence[Any]) -> Any:
        return self._chance.choice(choices)


_YES_OR_NO = cast(GraphQLInputType, GraphQLNonNull(TYPES.type_map["Boolean"]))
JUNK: Sequence[Json] = (True, 0, 1.5, 2**70, "", "INFO", [], [None], {}, {"a": 1}, [[1]], "\ud800", "ü")


def _share(name: str) -> float:
    """How often a place that may be left out is not."""
    return 0.04 if name == "query" else 0.3


def _is_composite(field: GraphQLField) -> bool:
    return is_composite_type(get_named_type(field.type))


def _spelled(value: Json) -> str:
    """A JSON value as a document has it: the names of an object's members stand without quotes."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_spelled(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_spelled, value))}]"
    return json.dumps(value, ensure_ascii=False)
