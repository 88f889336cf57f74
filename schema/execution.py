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
    OperationType,
    Undefined,
    ValuesOfCorrectTypeRule,
    get_operation_ast,
    specified_rules,
    validate,
)
from graphql.validation.rules import overlapping_fields_can_be_merged
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.execution import ExecutionContext, ParseOptions

from schema import errors, inputs, limits, projection
from schema.documents import Documents
from schema.subscribing import ValidSubscription

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
        self.documents = Documents()
        self.execution_context_class = projection.Executor
        for type_ in self._schema.type_map.values():
            if isinstance(type_, GraphQLInputObjectType):
                definition = type_.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
                type_.is_one_of = bool(definition and definition.is_one_of)  # so that graphql-core checks it
            _leave_out_null_defaults(type_)

    def get_extensions(self, sync: bool = False) -> list[SchemaExtension]:
        return [Preparation(), *super().get_extensions(sync)]

    async def stream(  # type: ignore[override]
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any | None = None,
        root_value: Any | None = None,
        operation_name: str | None = None,
        **more: Any,
    ) -> Any:
        """Strawberry's, but for a subscription to a kept document where there are no extensions to see to it."""
        kept = self.documents.find(query) if query and not self.extensions else None
        operation = kept and get_operation_ast(kept.parsed, operation_name)
        if kept is None or not operation or operation.operation is not OperationType.SUBSCRIPTION:
            return await super().stream(query, variable_values, context_value, root_value, operation_name, **more)
        return ValidSubscription(
            self._schema,
            kept.parsed,
            name=operation_name,
            variables=variable_values,
            context=context_value,
            root=root_value,
            present=self.presented,
        ).results()

    def process_errors(self, found: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        document = execution_context.graphql_document if execution_context else None
        found[:] = self.presented(found, document)  # in place: Strawberry answers with this very list

    def presented(self, found: list[GraphQLError], document: DocumentNode | None) -> list[GraphQLError]:
        """The errors as a caller may see them."""
        if document is not None:
            found = [inputs.explained(error, self._schema, document) for error in found]
        return errors.presented(found)


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


class Preparation(SchemaExtension):
    """Parses and validates within the limits, and once what is kept."""

    _is_kept = False

    def on_operation(self) -> Iterator[None]:
        context = self.execution_context
        context.parse_options = cast(ParseOptions, limits.PARSE_OPTIONS)
        if context.query and (kept := self._documents.find(context.query)):
            context.graphql_document, self._is_kept = kept.parsed, True
        yield

    def on_validate(self) -> Iterator[None]:
        context = self.execution_context
        assert context.query
        assert context.graphql_document
        # Strawberry takes the first of several operations where the specification asks for a name.
        named = context._provided_operation_name is not None
        context.pre_execution_errors = _unnamed(context.graphql_document, named=named) or (
            [] if self._is_kept else validated(context.schema._schema, context.graphql_document)
        )
        if not context.pre_execution_errors and not self._is_kept and _is_known(context.context):
            self._documents.keep(context.query, context.graphql_document)
        yield

    @property
    def _documents(self) -> Documents:
        schema = self.execution_context.schema
        assert isinstance(schema, Schema)
        return schema.documents


def _is_known(context: object) -> bool:
    """Whether it has a caller with a valid token."""
    return getattr(context, "user", None) is not None


def _unnamed(document: DocumentNode, *, named: bool) -> list[GraphQLError]:
    """What is wrong with asking for a document's only operation, if there are several."""
    operations = _operations(document)
    if named or not 1 < operations <= limits.MAX_OPERATIONS:
        return []
    message = "The document has several operations: operationName says which one is to be run."
    return [errors.invalid(message, "operationName")]


def _operations(document: DocumentNode) -> int:
    return sum(isinstance(definition, OperationDefinitionNode) for definition in document.definitions)


def validated(schema: GraphQLSchema, document: DocumentNode) -> list[GraphQLError]:
    """What is wrong with a document, the cheap checks first."""
    if _operations(document) > limits.MAX_OPERATIONS:
        message = f"The document has more than {limits.MAX_OPERATIONS} operations."
        return [errors.invalid(message, "query")]
    return validate(schema, document, [limits.LimitsRule], max_errors=limits.MAX_ERRORS) or validate(
        schema, document, RULES, max_errors=limits.MAX_ERRORS
    )
