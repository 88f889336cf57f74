"""Runs subscriptions to documents that are known to be valid, with little kept while nothing happens.

Strawberry keeps all that an operation was opened with for as long as its stream lasts, and graphql-core as much again:
that is most of what an idle socket takes. It must not know a type of the API, nor the transport.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

import graphql
from graphql import DocumentNode, GraphQLError, GraphQLSchema, execute_subscription_event
from graphql.execution import create_source_event_stream
from strawberry.types.execution import ExecutionResult, PreExecutionError

from schema.projection import Executor, Projection

Present = Callable[[list[GraphQLError], DocumentNode], list[GraphQLError]]  # errors as a caller may see them


class ValidSubscription:
    """A subscription of a valid document, which has no other operation of this name."""

    __slots__ = (
        "_context",
        "_document",
        "_executor",
        "_name",
        "_present",
        "_projection",
        "_root",
        "_schema",
        "_variables",
    )

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        *,
        name: str | None,
        variables: dict[str, Any] | None,
        context: Any,
        root: Any,
        present: Present,
    ) -> None:
        self._schema = schema
        self._document = document
        self._name = name
        self._variables = variables
        self._context = context
        self._root = root
        self._present = present
        self._projection: Projection | None = None
        self._executor: Executor | None = None  # kept where there is more to an event than reading attributes

    async def results(self) -> AsyncGenerator[ExecutionResult | PreExecutionError, None]:
        source = None
        try:
            source = await self._open()
            if isinstance(source, list):
                yield PreExecutionError(None, self._present(source, self._document))
                return
            async for event in source:
                yield await self._result(event)
        except Exception as error:
            yield ExecutionResult(None, self._present([_coerced(error)], self._document))
        finally:
            if source is not None and not isinstance(source, list):
                await source.aclose()

    async def _open(self) -> AsyncGenerator[Any, None] | list[GraphQLError]:
        executor = self._built()
        if isinstance(executor, list):
            return executor
        source: Any = create_source_event_stream(executor)
        if executor.is_awaitable(source):
            source = await source
        if isinstance(source, graphql.ExecutionResult):
            return source.errors or []
        self._projection = executor.compiled()
        if self._projection is None:
            self._executor = executor
        else:
            del executor.async_helpers  # which hold it in their turn: only the garbage collector would find that
        return source  # type: ignore[no-any-return]

    def _built(self) -> Executor | list[GraphQLError]:
        return Executor.build(  # type: ignore[return-value]
            self._schema,
            self._document,
            self._root,
            self._context,
            self._variables,
            self._name,
            operation_extensions=None,
        )

    async def _result(self, event: Any) -> ExecutionResult:
        if self._projection is not None:
            try:
                return ExecutionResult(self._projection.read(event), None)
            except Exception:  # graphql-core will say what is wrong with it, and where
                return await self._executed(event)
        return await self._executed(event)

    async def _executed(self, event: Any) -> ExecutionResult:
        executor = self._executor or self._built()
        assert isinstance(executor, Executor)  # as it was built before
        result: Any = execute_subscription_event(executor.build_per_event_executor(event))
        if executor.is_awaitable(result):
            result = await result
        found = self._present(result.errors, self._document) if result.errors else None
        return ExecutionResult(result.data, found)


def _coerced(error: Exception) -> GraphQLError:
    return error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)
