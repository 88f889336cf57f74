"""What a plugin is. Which ones there are, `dispatch.plugins.registry` knows.

A plugin is the code that reaches an external system. Its three methods are the original's: `init` says what it needs,
`verify` whether a protocol's credentials work, `dispatch` delivers one message. A package offers one as an entry point
in the group `tocsin.plugins`, whose name is the plugin's id and whose object is called with a `Network`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

from dispatch.network import Blocked, Malformed, NoAnswer, TimedOut
from storage.models import AttemptOutcome, NotificationLevel, NotificationType
from storage.models import JsonObject as JsonObject

UNANSWERED = {
    Blocked: AttemptOutcome.BLOCKED,
    TimedOut: AttemptOutcome.TIMEOUT,
    Malformed: AttemptOutcome.REFUSED,
}


@dataclass(frozen=True)
class PluginInfo:
    """What a plugin needs, as JSON Schemas, and how to show it.

    Of channel data that is not secret as a whole, values whose schema says `writeOnly` are, and are masked alone.
    """

    name: str
    data_schema: JsonObject  # of a channel's data
    options_schema: JsonObject = field(default_factory=lambda: {"type": "object"})
    secret_schema: JsonObject = field(default_factory=lambda: {"type": "object"})
    data_is_secret: bool = False  # whether channel data is encrypted and masked


@dataclass(frozen=True)
class Envelope:
    """What the message is about, beyond the original's five fields."""

    delivery_id: str  # the same for every attempt: what the far side tells repeats by
    notification_id: str
    domain_id: str
    topic: str
    notification_level: NotificationLevel
    created_at: datetime
    attempted_at: datetime


@dataclass(frozen=True)
class DispatchRequest:
    """The original's PluginDispatchRequest, and the envelope."""

    options: JsonObject
    message: JsonObject
    notification_type: NotificationType
    secret_data: JsonObject
    channel_data: JsonObject
    envelope: Envelope


@dataclass(frozen=True)
class Result:
    """What came of one attempt. `error` and `response_excerpt` carry no secrets."""

    outcome: AttemptOutcome
    status_code: int | None = None
    error: str | None = None
    response_excerpt: str | None = None
    retry_after: float | None = None  # seconds that the far side asks to be left alone

    @classmethod
    def unanswered(cls, failure: NoAnswer) -> Result:
        """What comes of a connection through the Network that brought no answer."""
        return cls(UNANSWERED.get(type(failure), AttemptOutcome.RETRY), error=str(failure))


@dataclass(frozen=True)
class Verification:
    ok: bool
    detail: str | None = None


class Unusable(Exception):
    """Raised by `init` for options that lead nowhere: half a sentence for people, without values or secrets."""


class Plugin(Protocol):
    async def init(self, options: JsonObject) -> PluginInfo:
        """What the plugin needs. The answer is kept, not asked for on each send. Raises Unusable."""

    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        """Whether these credentials work, without sending anything to anybody."""

    async def dispatch(self, request: DispatchRequest) -> Result:
        """Deliver one message. The worker sets the deadline; expected failures are results, not exceptions."""


@runtime_checkable
class Addressing(Protocol):
    """What a plugin may offer beside: deliveries to one destination are limited together, whatever their channels."""

    def destination(self, channel_data: JsonObject) -> str:
        """A name for where this data leads, without anything secret. Called with data that meets the schema."""


@runtime_checkable
class Splitting(Protocol):
    """What a plugin may offer beside: a delivery of its own for each recipient, so that none waits for another's."""

    def parts(self, channel_data: JsonObject) -> Sequence[JsonObject]:
        """The channel data of each recipient, in the order given; one at least. Called with data that meets the schema.

        `dispatch` is then given one of these. A delivery remembers its recipient by the place in this order.
        """


@runtime_checkable
class Inspecting(Protocol):
    """What a plugin may offer beside: it sees more of channel data than its schema says, before anything is sent."""

    async def inspect(self, channel_data: JsonObject) -> None:
        """Called with data that meets the schema. Raises schemas.SchemaViolation, with the path to what is wrong."""


@runtime_checkable
class Closing(Protocol):
    """What a plugin may offer beside: it is told when the server ends."""

    async def close(self) -> None:
        """Let go of connections, threads and the like. Nothing is asked of the plugin afterwards."""
