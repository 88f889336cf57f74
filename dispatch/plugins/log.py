"""The plugin `log`: one log line for each message, for a first try without an external system."""

from __future__ import annotations

import structlog

from dispatch import message
from dispatch.network import Network
from dispatch.plugins import DispatchRequest, JsonObject, PluginInfo, Result, Verification
from storage.models import AttemptOutcome

INFO = PluginInfo(name="Log", data_schema={"type": "object"})

log = structlog.get_logger()


class Log:
    def __init__(self, _network: Network) -> None: ...

    async def init(self, options: JsonObject) -> PluginInfo:
        return INFO

    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        return Verification(ok=True)

    async def dispatch(self, request: DispatchRequest) -> Result:
        envelope = request.envelope
        # Of the message the title alone: the channel's data and the rest may hold what no log should.
        log.info(
            "notification",
            delivery_id=envelope.delivery_id,
            notification_id=envelope.notification_id,
            domain_id=envelope.domain_id,
            topic=envelope.topic,
            notification_type=request.notification_type.value,
            notification_level=envelope.notification_level.value,
            title=message.read(request.message, topic=envelope.topic).title,
        )
        return Result(AttemptOutcome.OK)
