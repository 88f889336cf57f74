"""Plugins that do with each request what a test planned."""

from __future__ import annotations

import asyncio

from dispatch.plugins import DispatchRequest, JsonObject, PluginInfo, Result, Verification
from storage.models import (
    AttemptOutcome,
)
from tests.sink import PATIENCE


class Plan:
    """What a plugin of the test does with each request, in turn, and the last one for ever."""

    def __init__(self, *results: Result | Exception | object) -> None:
        self.requests: list[DispatchRequest] = []
        self._called = asyncio.Event()
        self._results = list(results)

    async def until_called(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._called.wait()

    async def init(self, options: JsonObject) -> PluginInfo:
        return PluginInfo(name="Plan", data_schema={})

    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        return Verification(ok=True)

    async def dispatch(self, request: DispatchRequest) -> Result:
        self.requests.append(request)
        self._called.set()
        result = self._results.pop(0) if len(self._results) > 1 else self._results[0]
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[return-value]


class Held(Plan):
    """A plugin that answers when it is let go."""

    def __init__(self, *results: Result) -> None:
        super().__init__(*results)
        self.gate = asyncio.Event()

    async def dispatch(self, request: DispatchRequest) -> Result:
        result = await super().dispatch(request)
        await self.gate.wait()
        return result


OK = Result(AttemptOutcome.OK)
AGAIN = Result(AttemptOutcome.RETRY, error="Not now.")
