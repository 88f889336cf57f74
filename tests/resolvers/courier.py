"""A plugin for tests: small, but it works. Its settings can be wrong, its secrets are secrets, and it can break."""

from __future__ import annotations

import asyncio

from dispatch.plugins import DispatchRequest, JsonObject, PluginInfo, Result, Verification
from storage.models import AttemptOutcome

GOOD_TOKEN = "open sesame"
INFO = PluginInfo(
    name="Courier",
    data_schema={
        "type": "object",
        "properties": {"door": {"type": "string", "minLength": 3}, "code": {"type": "string"}},
        "required": ["door"],
        "additionalProperties": False,
    },
    options_schema={
        "type": "object",
        "properties": {"region": {"type": "string"}, "vans": {"type": "integer", "minimum": 1}},
    },
    secret_schema={
        "type": "object",
        "properties": {"token": {"type": "string", "minLength": 4}, "pin": {"type": "string"}},
        "required": ["token"],
    },
    data_is_secret=True,
)


class Courier:
    """Knows every region but the moon, takes GOOD_TOKEN and no other, and counts how often it is asked.

    While `go_on` is cleared it keeps whoever asks waiting; `asked` tells that somebody does.
    """

    def __init__(self) -> None:
        self.inits = 0
        self.verified: list[tuple[JsonObject, JsonObject]] = []
        self.broken = False
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def init(self, options: JsonObject) -> PluginInfo:
        self.inits += 1
        await self._think()
        if self.broken or options.get("region") == "moon":
            raise LookupError(f"no way there, with {options}")
        return INFO

    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        await self._think()
        self.verified.append((options, secret_data))
        if self.broken:
            raise ConnectionError(f"lost with {secret_data}")
        if secret_data["token"] != GOOD_TOKEN:
            return Verification(ok=False, detail="The token is not known.")
        return Verification(ok=True, detail="Ready.")

    async def dispatch(self, request: DispatchRequest) -> Result:
        return Result(AttemptOutcome.OK)

    async def _think(self) -> None:
        self.asked.set()
        await self.go_on.wait()
