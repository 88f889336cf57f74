"""Compiles what an operation selects of an event into one function, for a stream asks the same of thousands of them.

It knows how to read attributes, and nothing else: a selection with more to it is left to graphql-core, and so is every
event that the function fails on. So the two never differ in what they answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any

from graphql import (
    ExecutionResult,
    GraphQLAbstractType,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    Undefined,
    is_abstract_type,
    is_leaf_type,
)
from graphql.execution.collect_fields import CollectedFields, FieldDetails, collect_fields
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter

Read = Callable[[Any], Any]  # from a value to what is answered for it

BACKREF = GraphQLCoreConverter.DEFINITION_BACKREF


class Unknown(Exception):
    """The selection has something that is more than reading attributes."""


class Executor(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's, but for the events of a subscription, wherever their selection can be compiled."""

    _read: Read | None = None
    _is_compiled = False

    def build_per_event_executor(self, payload: Any) -> Executor:
        if not self._is_compiled:
            self._read, self._is_compiled = _compiled(self), True
        executor = super().build_per_event_executor(payload)
        assert isinstance(executor, Executor)
        return executor

    def execute_operation(self, serially: bool | None = None) -> Any:
        if self._read is not None:
            try:
                return ExecutionResult(self._read(self.root_value), None)
            except Exception:  # graphql-core will say what is wrong with it, and where
                return super().execute_operation(serially)
        return super().execute_operation(serially)


def _compiled(executor: Executor) -> Read | None:
    root = executor.schema.subscription_type
    assert root
    try:
        return _Compiler(executor).root(root)
    except Unknown:
        return None


class _Compiler:
    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def root(self, type_: GraphQLObjectType) -> Read:
        """Of the one field that a subscription has, whose value the event is."""
        executor = self._executor
        variables, operation = executor.variable_values, executor.operation
        collected = collect_fields(executor.schema, executor.fragments, variables, type_, operation)
        [(key, details)] = _fields(collected).items()
        read = self._value(type_.fields[details[0].node.name.value].type, details)
        return lambda event: {key: read(event)}

    def _value(self, type_: GraphQLOutputType, details: list[FieldDetails]) -> Read:
        if isinstance(type_, GraphQLNonNull):
            return _not_null(self._value(type_.of_type, details))
        if isinstance(type_, GraphQLList):
            return _each(self._value(type_.of_type, details))
        if is_leaf_type(type_):
            return _leaf(type_)
        return _unless_null(self._abstract(type_, details) if is_abstract_type(type_) else self._object(type_, details))

    def _object(self, type_: GraphQLOutputType, details: list[FieldDetails]) -> Read:
        assert isinstance(type_, GraphQLObjectType)
        fields = _fields(self._executor.collect_subfields(type_, details))
        reads = [(key, self._field(type_, group)) for key, group in fields.items()]
        return lambda value: {key: read(value) for key, read in reads}

    def _abstract(self, type_: GraphQLAbstractType, details: list[FieldDetails]) -> Read:
        """By the class of the value."""
        possible = self._executor.schema.get_possible_types(type_)
        reads = {each.extensions[BACKREF].origin: self._object(each, details) for each in possible}
        return lambda value: reads[type(value)](value)

    def _field(self, type_: GraphQLObjectType, details: list[FieldDetails]) -> Read:
        name = details[0].node.name.value
        if name == "__typename":
            return lambda _value: type_.name
        field = type_.fields[name]
        definition = field.extensions.get(BACKREF)
        if definition is None or not definition.is_basic_field:
            raise Unknown
        attribute, read = attrgetter(definition.python_name), self._value(field.type, details)
        return lambda value: read(attribute(value))


def _fields(collected: CollectedFields) -> Mapping[str, list[FieldDetails]]:
    if collected.new_defer_usages or collected.forbidden_directive_instances:
        raise Unknown
    return collected.grouped_field_set


def _leaf(type_: GraphQLLeafType) -> Read:
    coerce = type_.coerce_output_value

    def read(value: Any) -> Any:
        if value is None:
            return None
        answered = coerce(value)
        if answered is None or answered is Undefined:
            raise TypeError("a value that is not null has to be answered with one")
        return answered

    return read


def _unless_null(read: Read) -> Read:
    return lambda value: None if value is None else read(value)


def _not_null(read: Read) -> Read:
    def checked(value: Any) -> Any:
        answered = read(value)
        if answered is None:
            raise TypeError("there has to be a value")
        return answered

    return checked


def _each(read: Read) -> Read:
    def read_all(values: Iterable[Any] | None) -> Any:
        return None if values is None else [read(value) for value in values]

    return read_all
