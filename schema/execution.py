"""The Strawberry schema class that this API is built with: bounded before it validates, coded when it fails.

It must not know a type of the API, nor the transport.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import strawberry
from graphql import (
    ASTValidationRule,
    DocumentNode,
    GraphQLArgument,
    GraphQLError,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    Undefined,
    ValuesOfCorrectTypeRule,
    specified_rules,
    validate,
)
from graphql.validation.rules import overlapping_fields_can_be_merged
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.execution import ExecutionContext, ParseOptions

from schema import errors, inputs, limits, projection

# How graphql-core wants it told; each comparison costs two of these.
overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = 2 * limits.MAX_COMPARISONS

# Strawberry's two rules are left out. graphql-core has the one for @oneOf, and does not fail on variables in fragments;
# what the one for Maybe finds in a document is found when the field is resolved, as it is for variables.
RULES: tuple[type[ASTValidationRule], ...] = tuple(
    inputs.ValuesRule if rule is ValuesOfCorrectTypeRule else rule for rule in specified_rules
)


class Schema(strawberry.Schema):
    """To be used exactly as strawberry.Schema; the API's scalars are in `schema.scalars.MAP`.

    Schema(query=Query, mutation=..., subscription=..., config=StrawberryConfig(scalar_map=scalars.MAP))
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.execution_context_class = projection.Executor
        for type_ in self._schema.type_map.values():
            if isinstance(type_, GraphQLInputObjectType):
                definition = type_.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
                type_.is_one_of = bool(definition and definition.is_one_of)  # so that graphql-core checks it
            _leave_out_null_defaults(type_)

    def get_extensions(self, sync: bool = False) -> list[SchemaExtension]:
        return [_Preparation(), *super().get_extensions(sync)]

    def process_errors(self, found: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        if execution_context and (document := execution_context.graphql_document):
            explained = [inputs.explained(error, self._schema, document) for error in found]
        else:
            explained = found
        found[:] = errors.presented(explained)  # in place: Strawberry answers with this very list


def _leave_out_null_defaults(type_: GraphQLNamedType) -> None:
    """Absent and null are the same to a resolver whose parameter is None by default: that is nothing to publish."""
    inputs_of: list[GraphQLInputField | GraphQLArgument] = []
    if isinstance(type_, GraphQLInputObjectType):
        inputs_of = [*type_.fields.values()]
    elif isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
        inputs_of = [argument for field in type_.fields.values() for argument in field.args.values()]
    for value in inputs_of:
        if value.default_value is None:
            value.default_value = Undefined


class _Preparation(SchemaExtension):
    """Parses and validates within the limits."""

    def on_operation(self) -> Iterator[None]:
        self.execution_context.parse_options = cast(ParseOptions, limits.PARSE_OPTIONS)
        yield

    def on_validate(self) -> Iterator[None]:
        context = self.execution_context
        assert context.graphql_document
        # Strawberry takes the first of several operations where the specification asks for a name.
        named = context._provided_operation_name is not None
        context.pre_execution_errors = validated(context.schema._schema, context.graphql_document, named=named)
        yield


def validated(schema: GraphQLSchema, document: DocumentNode, *, named: bool) -> list[GraphQLError]:
    """What is wrong with a document, the cheap checks first; `named` says whether the operation to run was named."""
    operations = sum(isinstance(definition, OperationDefinitionNode) for definition in document.definitions)
    if operations > limits.MAX_OPERATIONS:
        message = f"The document has more than {limits.MAX_OPERATIONS} operations."
        return [errors.invalid(message, "query")]
    if operations > 1 and not named:
        message = "The document has several operations: operationName says which one is to be run."
        return [errors.invalid(message, "operationName")]
    return validate(schema, document, [limits.LimitsRule], max_errors=limits.MAX_ERRORS) or validate(
        schema, document, RULES, max_errors=limits.MAX_ERRORS
    )
