"""Calls a field's resolver as the ordinary path does, with arguments that were compiled.

It must not call what has extensions or permission classes of its own, nor give a resolver more than the context.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from graphql import GraphQLField
from strawberry.types.field import StrawberryField

from schema.planned import inputs
from schema.planned.inputs import Values
from schema.projection import BACKREF, Group, Unknown
from storage.selected import Selected

Make = Callable[[Any, "Run"], dict[str, Any]]  # a resolver's arguments, of the value that its field is of


class Run(NamedTuple):
    """One request. Resolvers are given it as their Info, of which they may ask for the context, and `selected`."""

    context: Any
    values: Values
    selected: Selected | None = None  # of a field whose rows the plan reads itself
    given: Any = None  # the variables as they came

    def reading(self, selected: Selected) -> Run:
        return Run(self.context, self.values, selected)


@dataclass(frozen=True, slots=True)
class Call:
    """Of one field's resolver."""

    make: Make
    resolve: Callable[..., Any]
    is_async: bool

    def __call__(self, value: Any, run: Run) -> Awaitable[Any]:
        return self.run(self.make(value, run))

    def run(self, made: dict[str, Any]) -> Awaitable[Any]:
        called: Any = self.resolve(**made)
        return called if self.is_async else _at_once(called)


async def _at_once(called: Any) -> Any:
    return called


def of(field: GraphQLField, details: Group) -> Call:
    """Raises Unknown."""
    definition: StrawberryField = field.extensions[BACKREF]
    if definition.extensions or definition.base_resolver is None:
        raise Unknown
    resolver = definition.base_resolver
    arguments = inputs.arguments(field, details[0].node.arguments)
    itself = resolver.self_parameter and resolver.self_parameter.name
    info = resolver.info_parameter and resolver.info_parameter.name

    def make(value: Any, run: Run) -> dict[str, Any]:
        made = arguments(run.values)
        if itself:
            made[itself] = value
        if info:
            made[info] = run
        return made

    return Call(make, cast(Callable[..., Any], resolver.wrapped_func), resolver.is_async)
