"""Plans: an operation compiled, once for each way in which its @skip and @include go.

It must not know a type of the API, but for the names of the root fields that it takes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Set
from contextlib import suppress
from typing import Any

import orjson
from graphql import (
    DirectiveNode,
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    VariableNode,
    Visitor,
    located_error,
    visit,
)
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.values import VariableValues

from schema.asked import Asked
from schema.documents import stepping_aside
from schema.planned import answers, calls, inputs, rows
from schema.planned.answers import Answer
from schema.planned.calls import Run
from schema.planned.inputs import StepAside
from schema.planned.kept_answers import Execute, KeptAnswers
from schema.projection import Group, Selection, Unknown, name_of

QUERIES = frozenset({"viewer", "inbox", "notification", "notifications", "delivery", "deliveries"})
MUTATIONS = frozenset({"createNotification"})  # none that may be null: an error would leave only its place null
MAX_CONDITIONS = 3  # variables that decide about fields: each doubles the plans

Present = Callable[[list[GraphQLError], DocumentNode], list[GraphQLError]]  # as a caller may see them


class Operation:
    """One operation: its variables, and its plans."""

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        node: OperationDefinitionNode,
        present: Present,
        kept: KeptAnswers,
    ) -> None:
        """Raises Unknown."""
        self._schema = schema
        self._document = document
        self._node = node
        self._present = present
        self._kept = kept
        self._conditions = _conditions(document, node)
        self._read = inputs.variables(schema, node)
        self._plans: dict[tuple[bool, ...], Execute | None] = {}

    def __call__(self, asked: Asked, context: Any) -> Awaitable[bytes | None]:
        try:
            values = self._read(asked.variables or {})
            going = tuple([_decided(values[name]) for name in self._conditions])
        except Exception:  # the ordinary path says what is wrong with the variables
            return stepping_aside()
        if going not in self._plans:
            self._plans[going] = self._compiled(dict(zip(self._conditions, going, strict=True)))
        plan = self._plans[going]
        return stepping_aside() if plan is None else plan(Run(context, values, None, asked.variables))

    def _compiled(self, conditions: Mapping[str, bool]) -> Execute | None:
        fragments = {
            definition.name.value: FragmentDetails(definition)
            for definition in self._document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        selection = Selection(self._schema, fragments, self._node, VariableValues({}, dict(conditions)))
        try:
            return self._query(selection) if self._node.operation is OperationType.QUERY else self._mutation(selection)
        except Unknown:
            return None

    def _query(self, selection: Selection) -> Execute:
        root = self._schema.query_type
        assert root
        fields = [(key, _root(selection, root, details)) for key, details in selection.root(root).items()]

        async def execute(run: Run) -> bytes | None:
            data = {}
            try:
                for key, answer in fields:
                    data[key] = await answer(None, run)
                return _written(data)
            except Exception:  # nothing was changed: the ordinary path says what is wrong
                run.context.not_shown()
                return None

        return self._kept.keeping(execute, selection, root)

    def _mutation(self, selection: Selection) -> Execute:
        """Of one field, never null. Once its resolver is called it is answered from here: it must not run twice."""
        root = self._schema.mutation_type
        assert root
        key, details = _only(selection.root(root))
        field = root.fields[_taken(details, MUTATIONS)]
        call, read = calls.of(field, details), selection.value(field.type, details)

        async def execute(run: Run) -> bytes | None:
            if run.context.via == "GET":
                return None  # which the ordinary path refuses
            try:
                made = call.make(None, run)
            except Exception:  # nothing was changed yet
                return None
            try:
                return _written({key: read(await call.run(made))})
            except Exception as error:
                return self._failed(error, key, details)

        return execute

    def _failed(self, error: Exception, key: str, details: Group) -> bytes:
        located = located_error(error, [each.node for each in details], [key])
        presented = self._present([located], self._document)
        return orjson.dumps({"data": None, "errors": [each.formatted for each in presented]})


def _decided(value: Any) -> bool:
    if not isinstance(value, bool):
        raise StepAside
    return value


def _root(selection: Selection, root: GraphQLObjectType, details: Group) -> Answer:
    if name_of(details) == "__typename":
        return answers.constant(root.name)
    if _taken(details, QUERIES) in rows.TAKEN:
        with suppress(Unknown):
            return rows.of_root(selection, root, details)
    return answers.of_field(selection, root, details)


def _only(fields: Mapping[str, Group]) -> tuple[str, Group]:
    if len(fields) != 1:
        raise Unknown
    [only] = fields.items()
    return only


def _taken(details: Group, names: Set[str]) -> str:
    name = name_of(details)
    if name not in names:
        raise Unknown
    return name


def _written(data: dict[str, Any]) -> bytes:
    return orjson.dumps({"data": data})


def _conditions(document: DocumentNode, operation: OperationDefinitionNode) -> list[str]:
    """The operation's variables that decide about its fields. Raises Unknown for too many."""
    found = _Conditions()
    visit(document, found)
    names = [each.variable.name.value for each in operation.variable_definitions or ()]
    conditions = [name for name in names if name in found.names]
    if len(conditions) > MAX_CONDITIONS:
        raise Unknown
    return conditions


class _Conditions(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_directive(self, node: DirectiveNode, *_args: Any) -> None:
        self.names |= {each.value.name.value for each in node.arguments or () if isinstance(each.value, VariableNode)}
