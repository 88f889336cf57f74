"""Compiles what an operation selects of a value into one function, for a stream asks the same of thousands of events.

It knows how to read attributes, and nothing else: a selection with more to it is left to graphql-core, and so is every
value that the function fails on. So the two never differ in what they answer. `schema.planned` builds on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any
from weakref import WeakValueDictionary

from graphql import (
    ExecutionResult,
    FragmentDefinitionNode,
    GraphQLAbstractType,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationDefinitionNode,
    Undefined,
    VariableNode,
    Visitor,
    is_abstract_type,
    is_leaf_type,
    visit,
)
from graphql.execution.collect_fields import (
    CollectedFields,
    FieldDetails,
    FragmentDetails,
    collect_fields,
    collect_subfields,
)
from graphql.execution.values import VariableValues
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter

Read = Callable[[Any], Any]  # from a value to what is answered for it
Group = list[FieldDetails]  # what one key of an answer is: a field, as often as it is selected

BACKREF = GraphQLCoreConverter.DEFINITION_BACKREF


def name_of(details: Group) -> str:
    """The field's own name, whatever its key is."""
    return details[0].node.name.value


class Unknown(Exception):
    """The selection has something that is more than reading attributes."""


class Executor(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's, but for the events of a subscription, wherever their selection can be compiled."""

    _projection: Projection | None = None
    _is_compiled = False

    def compiled(self) -> Projection | None:
        """What all of its events are read with; None where there is more to them."""
        if not self._is_compiled:
            fragments = {name: details.definition for name, details in self.fragments.items()}
            self._projection = shared(self.schema, fragments, self.operation, self.variable_values)
            self._is_compiled = True
        return self._projection

    def build_per_event_executor(self, payload: Any) -> Executor:
        self.compiled()
        executor = super().build_per_event_executor(payload)
        assert isinstance(executor, Executor)
        return executor

    def execute_operation(self, serially: bool | None = None) -> Any:
        if self._projection is not None:
            try:
                return ExecutionResult(self._projection.read(self.root_value), None)
            except Exception:  # graphql-core will say what is wrong with it, and where
                return super().execute_operation(serially)
        return super().execute_operation(serially)


class Projection:
    """What is answered for the events of a subscription. Those that select the same share one."""

    __slots__ = ("__weakref__", "encoder", "read", "selection")

    def __init__(self, selection: Selection, read: Read) -> None:
        self.selection = selection
        self.read = read
        self.encoder: Any = None  # that `schema.live` keeps here, for as long as they listen


_in_use: WeakValueDictionary[tuple[object, ...], Projection] = WeakValueDictionary()


def shared(
    schema: GraphQLSchema,
    fragments: Mapping[str, FragmentDefinitionNode],
    operation: OperationDefinitionNode,
    variables: VariableValues,
) -> Projection | None:
    """The one for a subscription, for as long as it is in use; None where there is more to it."""
    assert operation.loc
    deciding = [(name, repr(variables.coerced.get(name))) for name in _deciding(fragments, operation)]
    key = schema, operation.loc.source.body, operation.loc.start, *deciding
    found = _in_use.get(key)
    if found is None:
        details = {name: FragmentDetails(fragment) for name, fragment in fragments.items()}
        selection = Selection(schema, details, operation, variables)
        read = _compiled(selection)
        if read is not None:
            found = _in_use[key] = Projection(selection, read)
    return found


class _Variables(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, None] = {}

    def enter_variable(self, node: VariableNode, *_where: Any) -> None:
        self.names[node.name.value] = None


def _deciding(fragments: Mapping[str, FragmentDefinitionNode], operation: OperationDefinitionNode) -> Iterable[str]:
    """The variables on which it depends what is selected: all, but for the arguments of the subscription itself."""
    found = _Variables()
    for node in operation.selection_set.selections:
        for part in (*(node.directives or ()), getattr(node, "selection_set", None)):
            if part is not None:
                visit(part, found)
    for fragment in fragments.values():
        visit(fragment, found)
    return found.names


def _compiled(selection: Selection) -> Read | None:
    """Of the one field that a subscription has, whose value the event is."""
    root = selection.schema.subscription_type
    assert root
    try:
        [(key, details)] = selection.root(root).items()
        read = selection.value(root.fields[name_of(details)].type, details)
    except Unknown:
        return None
    return lambda event: {key: read(event)}


class Selection:
    """What one operation selects, for these values of its variables: those that fields and fragments depend on."""

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: dict[str, FragmentDetails],
        operation: OperationDefinitionNode,
        variables: VariableValues,
    ) -> None:
        self.schema = schema
        self._fragments = fragments
        self._operation = operation
        self._variables = variables

    def root(self, type_: GraphQLObjectType) -> Mapping[str, Group]:
        """The fields of the operation itself, by their keys in the answer."""
        return _fields(collect_fields(self.schema, self._fragments, self._variables, type_, self._operation))

    def fields(self, type_: GraphQLObjectType, details: Group) -> Mapping[str, Group]:
        """The fields of a value of this type, by their keys in the answer."""
        collected = collect_subfields(self.schema, self._fragments, self._variables, self._operation, type_, details)
        return _fields(collected)

    def value(self, type_: GraphQLOutputType, details: Group) -> Read:
        """Raises Unknown."""
        if isinstance(type_, GraphQLNonNull):
            return _not_null(self.value(type_.of_type, details))
        if isinstance(type_, GraphQLList):
            return _each(self.value(type_.of_type, details))
        if is_leaf_type(type_):
            return leaf(type_)
        return _unless_null(self._abstract(type_, details) if is_abstract_type(type_) else self._object(type_, details))

    def _object(self, type_: GraphQLOutputType, details: Group) -> Read:
        assert isinstance(type_, GraphQLObjectType)
        reads = [(key, self.field(type_, group)) for key, group in self.fields(type_, details).items()]
        return lambda value: {key: read(value) for key, read in reads}

    def _abstract(self, type_: GraphQLAbstractType, details: Group) -> Read:
        """By the class of the value."""
        possible = self.schema.get_possible_types(type_)
        reads = {each.extensions[BACKREF].origin: self._object(each, details) for each in possible}
        return lambda value: reads[type(value)](value)

    def field(self, type_: GraphQLObjectType, details: Group) -> Read:
        name = name_of(details)
        if name == "__typename":
            return lambda _value: type_.name
        field = type_.fields[name]
        definition = field.extensions.get(BACKREF)
        if definition is None or not definition.is_basic_field:
            raise Unknown
        attribute, read = attrgetter(definition.python_name), self.value(field.type, details)
        return lambda value: read(attribute(value))


def _fields(collected: CollectedFields) -> Mapping[str, Group]:
    if collected.new_defer_usages or collected.forbidden_directive_instances:
        raise Unknown
    return collected.grouped_field_set


def leaf(type_: GraphQLLeafType) -> Read:
    """As the type answers it. What is not null is not answered with null."""
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
