"""The plugin `apprise`: the services that the library Apprise knows, each by the library's URL for it.

The library blocks, so it runs in threads of the plugin's own, whose connections a guard judges and, when an attempt is
over, breaks. Loading it takes half a second and 40 MB: the first channel or delivery does that, in such a thread.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import TypeVar

from dispatch import message
from dispatch.guard import Guard
from dispatch.network import Blocked, Network
from dispatch.plugins import DispatchRequest, JsonObject, PluginInfo, Result, Verification
from dispatch.plugins.schemas import SchemaViolation
from storage.models import AttemptOutcome

if importlib.util.find_spec("apprise") is None:
    raise ImportError("The package apprise is not installed.", name="apprise")

T = TypeVar("T")

THREADS = 32  # attempts at once; more wait, within their deadlines
MAX_URL_LENGTH = 4_096
MAX_URLS = 50

URL: JsonObject = {
    "type": "string",
    "title": "Apprise URL",
    "description": "As Apprise spells it: slack://..., tgram://..., or a service's own webhook address.",
    "pattern": "^[A-Za-z0-9]+://",
    "not": {"pattern": "[\\s\\x00-\\x1f\\x7f]"},
    "maxLength": MAX_URL_LENGTH,
}
DATA_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "url": URL,
        "urls": {
            "type": "array",
            "title": "Apprise URLs",
            "description": "Several at once: each is a delivery of its own.",
            "items": URL,
            "minItems": 1,
            "maxItems": MAX_URLS,
            "uniqueItems": True,
        },
    },
    "minProperties": 1,
    "maxProperties": 1,  # one or the other
    "additionalProperties": False,
}
INFO = PluginInfo(name="Apprise", data_schema=DATA_SCHEMA, data_is_secret=True)


class Apprise:
    def __init__(self, network: Network, *, allow: Sequence[str] = ()) -> None:
        """`allow` names the schemas that may be used besides those of services at an address of their own."""
        self._network = network
        self._allow = frozenset(name.lower() for name in allow)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="apprise")

    async def init(self, options: JsonObject) -> PluginInfo:
        return INFO

    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        return Verification(ok=True)  # the protocol holds nothing: the credentials are in the channel's URL

    async def inspect(self, channel_data: JsonObject) -> None:
        """A URL of no service, of one that is not allowed, or with a host that can be seen to be refused."""
        for path, url in _located(channel_data):
            fault = await self._run(self._guard(), functools.partial(self._fault, url))
            if fault is not None:
                raise SchemaViolation(path, fault)

    def destination(self, channel_data: JsonObject) -> str:
        """The services, and nothing else of the URLs: their hosts may be tokens."""
        return ",".join(sorted({url.partition("://")[0].lower() for _, url in _located(channel_data)}))

    def parts(self, channel_data: JsonObject) -> Sequence[JsonObject]:
        return [{"url": url} for _, url in _located(channel_data)]

    async def dispatch(self, request: DispatchRequest) -> Result:
        guard = self._guard()
        result = await self._run(guard, functools.partial(self._send, request))
        return Result(AttemptOutcome.BLOCKED, error=str(Blocked())) if guard.has_blocked else result

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _guard(self) -> Guard:
        return Guard(self._network.permits)

    async def _run(self, guard: Guard, work: Callable[[], T]) -> T:
        """Blocking work in a thread, which is freed again when nobody waits for it any longer."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, guard.run, work)
        finally:
            guard.end()

    def _fault(self, url: str) -> str | None:
        fault: str | None = _services().fault(url, allow=self._allow, refuses=self._network.refuses)
        return fault

    def _send(self, request: DispatchRequest) -> Result:
        said = message.read(request.message, topic=request.envelope.topic)
        result: Result = _services().send(
            request.channel_data["url"],
            said,
            notification_type=request.notification_type,
            allow=self._allow,
            timeout=self._network.timeout,
        )
        return result


@functools.cache
def _services() -> ModuleType:
    """What needs the library. It is loaded here, and not with this module, for what that takes."""
    return importlib.import_module("dispatch.plugins.apprise_services")


def _located(channel_data: JsonObject) -> list[tuple[tuple[str, ...], str]]:
    """Every URL with the path that leads to it."""
    if "url" in channel_data:
        return [(("url",), channel_data["url"])]
    return [(("urls", str(index)), url) for index, url in enumerate(channel_data["urls"])]
