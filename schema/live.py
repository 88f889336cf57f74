"""Live events on their way to a socket: encoded once for all who select the same, and sent at once where it has room.

What an operation selects decides whether that is possible; else its events are executed one by one, as everything is.
It must not know what an event says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from graphql.execution.values import VariableValues

from resolvers.events import Event
from resolvers.logs import Tell
from schema import projection
from schema.context import Info
from schema.execution import Preparation


class Outlet(Protocol):
    """Where an operation's live events go: the root value of those that run over a socket."""

    def push(self, payload: bytes) -> bool:
        """Send an answer, given as JSON, at once; False where it has to wait its turn."""


def tell(info: Info, shown: Callable[[Event], Any]) -> Tell | None:
    """What takes the events of a subscription; None where they are to be yielded. `shown` makes its value of one."""
    outlet: Outlet | None = info.root_value
    if outlet is None or _has_more_to_see_to(info):
        return None
    core = info._raw_info
    values: Any = core.variable_values  # which are all that Strawberry's executor gives
    variables = VariableValues({}, values)
    read = projection.shared(core.schema, core.fragments, core.operation, variables)
    if read is None:
        return None
    return lambda event: outlet.push(read.encoded(event, lambda: shown(event)))


def _has_more_to_see_to(info: Info) -> bool:
    """Whether the schema has extensions, which have to see each result."""
    return [type(extension) for extension in info.schema.get_extensions()] != [Preparation]
