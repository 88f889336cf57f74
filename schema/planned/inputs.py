"""Values on their way in: compiles the types of variables and arguments into functions that read them.

They read what is right exactly as graphql-core and Strawberry do, from a JSON value or a literal to what a resolver is
called with. What is not right they do not explain: StepAside is raised, and the ordinary path says what is wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING
from typing import Any, cast

from graphql import (
    ArgumentNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    GraphQLString,
    ListValueNode,
    Node,
    NullValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    Undefined,
    ValueNode,
    VariableNode,
    is_required_argument,
    is_required_input_field,
    type_from_ast,
)
from graphql.utilities.coerce_input_value import coerce_default_value, coerce_input_literal
from strawberry.types.base import StrawberryMaybe
from strawberry.types.field import StrawberryField

from schema.projection import BACKREF, Unknown

Values = Mapping[str, Any]  # of an operation's variables, as resolvers take them; absent ones are not in it
Read = Callable[[Any], Any]  # from a JSON value
Written = Callable[[Values], Any]  # from the document, in which there may be variables

ABSENT = object()


class StepAside(Exception):
    """A value is not as it should be: the ordinary path says how."""


def variables(schema: GraphQLSchema, operation: OperationDefinitionNode) -> Callable[[Values], Values]:
    """Reads all variables of an operation. Raises Unknown; what is returned raises StepAside and anything else."""
    reads: list[tuple[str, Read, Written | None, bool]] = []
    for definition in operation.variable_definitions or ():
        type_ = cast(GraphQLInputType, type_from_ast(schema, definition.type))
        default = None if definition.default_value is None else _literal(definition.default_value, type_)
        is_required = isinstance(type_, GraphQLNonNull)
        reads.append((definition.variable.name.value, _reader(type_), default, is_required))

    def read_all(given: Values) -> Values:
        values = {}
        for name, read, default, is_required in reads:
            if name in given:
                values[name] = read(given[name])
            elif default is not None:
                values[name] = default({})
            elif is_required:
                raise StepAside
        return values

    return read_all


def arguments(field: GraphQLField, nodes: Sequence[ArgumentNode] | None) -> Callable[[Values], dict[str, Any]]:
    """Makes what a resolver is called with, by its parameters' names, of the variables' values. Raises Unknown."""
    given = {node.name.value: node.value for node in nodes or ()}
    written: list[tuple[str, Written]] = []
    defaults: dict[str, Any] = {}
    for name, argument in field.args.items():
        definition = argument.extensions[BACKREF]
        if isinstance(definition.type, StrawberryMaybe):
            raise Unknown
        otherwise = _otherwise(argument, is_required=is_required_argument(argument))
        if name in given:
            written.append((definition.python_name, _placed(given[name], argument.type, otherwise)))
        elif (default := otherwise({})) is not ABSENT:
            defaults[definition.python_name] = default

    def make(values: Values) -> dict[str, Any]:
        made = defaults.copy()
        for name, write in written:
            if (value := write(values)) is not ABSENT:
                made[name] = value
        return made

    return make


def _reader(type_: GraphQLInputType) -> Read:
    if isinstance(type_, GraphQLNonNull):
        return _required(_present(type_.of_type))
    read = _present(type_)
    return lambda value: None if value is None else read(value)


def _required(read: Read) -> Read:
    def required(value: Any) -> Any:
        if value is None:
            raise StepAside
        return read(value)

    return required


def _present(type_: GraphQLInputType) -> Read:
    """Reads what is not null."""
    if isinstance(type_, GraphQLList):
        read = _reader(type_.of_type)
        return lambda value: [read(item) for item in value] if isinstance(value, list) else [read(value)]
    if isinstance(type_, GraphQLInputObjectType):
        return _object(type_)
    if type_ is GraphQLString:
        return _text
    if isinstance(type_, GraphQLEnumType):
        return {name: type_.coerce_input_value(name) for name in type_.values}.__getitem__
    coerce = cast(GraphQLLeafType, type_).coerce_input_value

    def read_leaf(value: Any) -> Any:
        coerced = coerce(value)
        if coerced is Undefined:
            raise StepAside
        return coerced

    return read_leaf


def _text(value: Any) -> str:
    if type(value) is not str:
        raise StepAside
    return value


def _object(type_: GraphQLInputObjectType) -> Read:
    make = _Input(type_)
    reads = {name: _reader(field.type) for name, field in type_.fields.items()}

    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise StepAside
        return make({name: reads[name](item) for name, item in value.items()})

    return read


class _Input:
    """Makes an input of its fields' values by their names."""

    def __init__(self, type_: GraphQLInputObjectType) -> None:
        definition = type_.extensions[BACKREF]
        if type_.is_one_of or definition.from_input is not None:
            raise Unknown
        fields = {name: field.extensions[BACKREF] for name, field in type_.fields.items()}
        if any(isinstance(field.type, StrawberryMaybe) for field in fields.values()):
            raise Unknown
        self._origin = definition.origin
        self._names = {name: field.python_name for name, field in fields.items()}
        self._otherwise = [
            (field.python_name, otherwise)
            for name, field in fields.items()
            if (otherwise := _missing(type_.fields[name], field)) is not _OWN_DEFAULT
        ]

    def __call__(self, values: Mapping[str, Any]) -> Any:
        names = self._names
        given = {names[name]: value for name, value in values.items()}
        for name, otherwise in self._otherwise:
            if name not in given:
                given[name] = otherwise({})
        return self._origin(**given)


def _refused(_values: Values) -> Any:
    raise StepAside


def _null(_values: Values) -> None:
    return None


def _absent(_values: Values) -> Any:
    return ABSENT


_OWN_DEFAULT = _absent  # what the class of an input has for a field that is not given


def _missing(field: GraphQLInputField, definition: StrawberryField) -> Written:
    """What an input's field that is not given is."""
    otherwise = _otherwise(field, is_required=is_required_input_field(field))
    has_own = definition.default_value is not MISSING  # nor is it where there is a factory
    return otherwise if otherwise is not _absent else (_OWN_DEFAULT if has_own else _null)


def _otherwise(field: Any, *, is_required: bool) -> Written:
    """What an argument or field is for which no value is given."""
    if is_required:
        return _refused
    default = coerce_default_value(field)
    if default is Undefined:
        return _absent
    if isinstance(default, list | dict):
        raise Unknown
    return lambda _values: default


def _placed(node: ValueNode, type_: GraphQLInputType, otherwise: Written) -> Written:
    """The value in a place where none has to be; `otherwise` is for when its variable has none."""
    if not isinstance(node, VariableNode):
        return _literal(node, type_)
    name, is_required = node.name.value, isinstance(type_, GraphQLNonNull)

    def place(values: Values) -> Any:
        value = values.get(name, ABSENT)
        if value is ABSENT:
            return otherwise(values)
        if value is None and is_required:
            raise StepAside
        return value

    return place


def _literal(node: ValueNode, type_: GraphQLInputType) -> Written:
    if isinstance(type_, GraphQLNonNull):
        return _literal(node, type_.of_type)
    if isinstance(node, NullValueNode):
        return _null
    if isinstance(type_, GraphQLList):
        return _list(node, type_)
    if isinstance(type_, GraphQLInputObjectType):
        return _written_object(node, type_)
    return _constant(node, type_)


def _list(node: ValueNode, type_: GraphQLList[Any]) -> Written:
    nodes = node.values if isinstance(node, ListValueNode) else [node]
    otherwise = _refused if isinstance(type_.of_type, GraphQLNonNull) else _null
    items = [_placed(item, type_.of_type, otherwise) for item in nodes]
    return lambda values: [item(values) for item in items]


def _written_object(node: ValueNode, type_: GraphQLInputObjectType) -> Written:
    if not isinstance(node, ObjectValueNode):
        raise Unknown
    make = _Input(type_)
    fields = [(name, _placed(value, type_.fields[name].type, _absent)) for name, value in _items(node)]

    def write(values: Values) -> Any:
        written = [(name, field(values)) for name, field in fields]
        return make({name: value for name, value in written if value is not ABSENT})

    return write


def _items(node: ObjectValueNode) -> list[tuple[str, ValueNode]]:
    return [(field.name.value, field.value) for field in node.fields]


def _constant(node: ValueNode, type_: GraphQLInputType) -> Written:
    if _has_variables(node):
        raise Unknown
    value = coerce_input_literal(node, type_)
    if value is Undefined:
        raise Unknown
    return (lambda _values: copy.deepcopy(value)) if isinstance(value, list | dict) else (lambda _values: value)


def _has_variables(node: Node) -> bool:
    if isinstance(node, ListValueNode):
        return any(map(_has_variables, node.values))
    if isinstance(node, ObjectValueNode):
        return any(_has_variables(field.value) for field in node.fields)
    return isinstance(node, VariableNode)
