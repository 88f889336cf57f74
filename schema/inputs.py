"""Says which field of an input has a wrong value, for values in variables as for those in the document.

graphql-core finds them, but its messages repeat the values: what is said here must not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from graphql import (
    SKIP,
    ArgumentNode,
    DocumentNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLSchema,
    ListValueNode,
    Node,
    ObjectValueNode,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    VisitorAction,
    get_named_type,
    get_nullable_type,
    type_from_ast,
    visit,
)
from graphql.utilities.validate_input_value import validate_input_literal

from resolvers.errors import Refused
from schema import errors

MAX_FIELD_NAME_CHARACTERS = 100

Place = tuple[str | int, ...]

# What graphql-core 3.3 says. tests/protocol/test_errors.py fails if it comes to say it otherwise.
_VARIABLE = re.compile(r"Variable '\$(\w+)' has invalid (?:default )?value(?: at ([\w.\[\]]+))?: ")
_ARGUMENT = re.compile(r"Argument '(\w+)' (?:has invalid value(?: at ([\w.\[\]]+))?:|of required type)")
_FIELD = re.compile(
    r"Expected value of type '\w+' (not )?to include (?:required|unknown) field '(.*?)'(?:, found|\. Did)", re.DOTALL
)
_NULL = re.compile(r"Expected (?:a )?value of non-null type")
_KEY = re.compile(r"\.(\w+)|\[([0-9]+)\]")


class ValuesRule(ValuesOfCorrectTypeRule):
    """The rule of the specification about values in the document, telling the field and not the value."""

    place: Place = ()

    def enter_argument(self, node: ArgumentNode, *_args: Any) -> None:
        self.place = (node.name.value,)

    def enter_variable_definition(self, node: VariableDefinitionNode, *_args: Any) -> None:
        self.place = _use(self.context.document, node.variable.name.value)

    def is_valid_value_node(self, node: ValueNode, input_type: GraphQLInputType | None) -> VisitorAction:
        def report(error: GraphQLError, path: list[str | int]) -> None:
            assert input_type
            self.report_error(_mistake(error, error, self.place, (*path,), input_type))

        if input_type:
            validate_input_literal(node, input_type, report, hide_suggestions=True)
        return SKIP


def explained(error: GraphQLError, schema: GraphQLSchema, document: DocumentNode) -> GraphQLError:
    """The error, with its field if it is about a variable's value."""
    if error.path:
        return _argument_mistake(error) or error
    found = _VARIABLE.match(error.message)
    definition = error.nodes[0] if error.nodes else None
    if not found or not isinstance(definition, VariableDefinitionNode):
        return error
    type_ = cast(GraphQLInputType, type_from_ast(schema, definition.type))
    inner = error.original_error if isinstance(error.original_error, GraphQLError) else error
    return _mistake(error, inner, _use(document, found[1]), _path(found[2]), type_)


def _argument_mistake(error: GraphQLError) -> GraphQLError | None:
    """What no validation can see: a variable that may be absent, in a place where a value is required."""
    raised = errors.cause(error)
    found = _ARGUMENT.match(raised.message) if isinstance(raised, GraphQLError) else None
    if found is None:
        return None
    field = _spelled((found[1], *_path(found[2])))
    return errors.invalid(f"{field}: this is required", field, at=error)


def _mistake(
    error: GraphQLError, found: GraphQLError, place: Place, path: Place, type_: GraphQLInputType
) -> GraphQLError:
    """`place` is where a value of this type goes, `path` leads from there to what `found` is about."""
    inner = _type_at(type_, path)
    raised = errors.cause(found)
    message = f"this is not a valid {inner}{_choices(inner)}"
    if missed := _FIELD.match(found.message):
        unknown, name = missed.groups()
        message = f"{get_named_type(inner)} has no such field" if unknown else "this is required"
        path = (*path, *_name(name))
    elif _NULL.match(found.message):
        message = "this is required"
    elif found.message.startswith("Within OneOf"):
        message = "exactly one field is required, and it must not be null"
    elif isinstance(raised, Refused):
        message = raised.message
    field = _spelled((*place, *path))
    return errors.invalid(f"{field}: {message}", field, at=error)


def _path(printed: str | None) -> Place:
    """A path as graphql-core prints it: `.plugin.tags[3]`."""
    return tuple(key or int(index) for key, index in _KEY.findall(printed or ""))


def _type_at(type_: GraphQLInputType, path: Place) -> GraphQLInputType:
    for key in path:
        if isinstance(key, int):
            type_ = cast(GraphQLList[GraphQLInputType], get_nullable_type(type_)).of_type
        else:  # a list may have been written as its only item
            type_ = cast(GraphQLInputObjectType, get_named_type(type_)).fields[key].type
    return type_


def _choices(type_: GraphQLInputType) -> str:
    named = get_named_type(type_)
    return f": {', '.join(named.values)}" if isinstance(named, GraphQLEnumType) else ""


def _name(name: str) -> tuple[str, ...]:
    """That of a field there is not, unless it is no name at all but a value out of place."""
    fits = len(name) <= MAX_FIELD_NAME_CHARACTERS and name.isidentifier()
    return (name,) if fits else ()


def _spelled(place: Place) -> str:
    """The path as clients know it: inside of the one `input` that most mutations take, its name goes without saying."""
    inside = place[1:] if len(place) > 1 and place[0] == "input" else place
    return ".".join(map(str, inside))


def _use(document: DocumentNode, variable: str) -> Place:
    """Where the document puts a variable first: the argument, and the path inside of it."""
    uses = _Uses()
    visit(document, uses)
    return uses.places.get(variable, (variable,))


class _Uses(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, Place] = {}

    def enter_argument(self, node: ArgumentNode, *_args: Any) -> None:
        for variable, place in _variables(node.value, (node.name.value,)):
            self.places.setdefault(variable, place)


def _variables(node: Node, place: Place) -> Iterator[tuple[str, Place]]:
    if isinstance(node, VariableNode):
        yield node.name.value, place
    elif isinstance(node, ObjectValueNode):
        for field in node.fields:
            yield from _variables(field.value, (*place, field.name.value))
    elif isinstance(node, ListValueNode):
        for index, item in enumerate(node.values):
            yield from _variables(item, (*place, index))
