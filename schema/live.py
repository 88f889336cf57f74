"""Live events on their way to a socket: encoded once for all who select the same, and sent at once where it has room.

What an operation selects decides whether that is possible; else its events are executed one by one, as everything is.
It must not know what an event says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import orjson
from graphql.execution.values import VariableValues

from resolvers.events import Event
from resolvers.logs import Tell
from schema import projection, told
from schema.context import Info
from schema.execution import Preparation
from schema.told import Types


class Outlet(Protocol):
    """Where an operation's live events go: the root value of those that run over a socket."""

    def push(self, payload: bytes) -> bool:
        """Send an answer, given as JSON, at once; False where it has to wait its turn."""


class Encoder:
    """The answers to all who select the same, as `read` makes them. Events come one by one, each to all who listen."""

    __slots__ = ("_encoded", "_event", "_read")

    def __init__(self, read: Callable[[Event], Any]) -> None:
        self._read = read
        self._event: object = None
        self._encoded = b""

    def encoded(self, event: Event) -> bytes:
        """As JSON. Raises what there is wrong with it."""
        if self._event is not event:
            self._encoded, self._event = orjson.dumps(self._read(event)), event
        return self._encoded


def tell(info: Info, shown: Callable[[Event], Any], types: Types) -> Tell | None:
    """What takes the events of a subscription; None where they are to be yielded.

    `shown` makes the subscription's value of one, `types` say what of it can be read off the event itself.
    """
    outlet: Outlet | None = info.root_value
    if outlet is None or _has_more_to_see_to(info):
        return None
    encoder = _encoder(info, shown, types)
    if encoder is None:
        return None
    push, encoded = outlet.push, encoder.encoded
    return lambda event: push(encoded(event))


def _encoder(info: Info, shown: Callable[[Event], Any], types: Types) -> Encoder | None:
    core = info._raw_info
    values: Any = core.variable_values  # which are all that Strawberry's executor gives
    shared = projection.shared(core.schema, core.fragments, core.operation, VariableValues({}, values))
    if shared is None:
        return None
    if shared.encoder is None:
        read = shared.read
        shared.encoder = Encoder(told.compiled(shared.selection, types) or (lambda event: {"data": read(shown(event))}))
    return shared.encoder  # type: ignore[no-any-return]


def _has_more_to_see_to(info: Info) -> bool:
    """Whether the schema has extensions, which have to see each result."""
    return [type(extension) for extension in info.schema.get_extensions()] != [Preparation]
