"""Which plugins there are: the built-in ones, and those that installed packages offer in the group `tocsin.plugins`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from types import MappingProxyType
from typing import Any

import structlog

from dispatch.network import Network
from dispatch.plugins import Closing, Plugin

GROUP = "tocsin.plugins"
METHODS = ("init", "verify", "dispatch")
NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})

# In brackets: the extra whose packages one needs.
BUILT_IN = EntryPoints(
    (
        EntryPoint("apprise", "dispatch.plugins.apprise:Apprise [apprise]", GROUP),
        EntryPoint("email", "dispatch.plugins.email:Email", GROUP),
        EntryPoint("log", "dispatch.plugins.log:Log", GROUP),
        EntryPoint("spaceone", "dispatch.plugins.spaceone:SpaceONE [spaceone]", GROUP),
        EntryPoint("webhook", "dispatch.plugins.webhook:Webhook", GROUP),
    )
)

log = structlog.get_logger()


class Plugins(Mapping[str, Plugin]):
    """Every plugin by its id. A built-in one is loaded when it is asked for: few servers use them all.

    One that cannot be loaded is logged and left out: it stops nothing else.
    """

    def __init__(
        self, network: Network, settings: Mapping[str, Mapping[str, Any]], others: Mapping[str, Plugin]
    ) -> None:
        self.loaded: dict[str, Plugin] = dict(others)
        self._network = network
        self._settings = settings
        self._unloaded = {entry_point.name: entry_point for entry_point in BUILT_IN}

    def __getitem__(self, plugin_id: str) -> Plugin:
        if entry_point := self._unloaded.pop(plugin_id, None):
            plugin = _built_in(entry_point, self._network, self._settings.get(plugin_id, NO_SETTINGS))
            if plugin is not None:
                self.loaded[plugin_id] = plugin
        return self.loaded[plugin_id]

    def __iter__(self) -> Iterator[str]:
        for plugin_id in list(self._unloaded):
            self.get(plugin_id)
        return iter(self.loaded)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def discover(network: Network, settings: Mapping[str, Mapping[str, Any]] = NO_SETTINGS) -> Plugins:
    """Those of packages are loaded at once, so that it is soon known which of them cannot be.

    `settings` are the operator's for built-in plugins: by id, what a plugin is called with besides the network.
    """
    offered = [(entry_point.name, _foreign(entry_point, network)) for entry_point in entry_points(group=GROUP)]
    others: dict[str, Plugin] = {}
    for plugin_id, plugin in offered:
        if plugin is not None:
            others.setdefault(plugin_id, plugin)
    return Plugins(network, settings, others)


async def close(plugins: Iterable[Plugin]) -> None:
    """At the end, once nothing is sent any more: let go of what plugins hold."""
    for plugin in plugins:
        if isinstance(plugin, Closing):
            await plugin.close()


def _built_in(entry_point: EntryPoint, network: Network, settings: Mapping[str, Any]) -> Plugin | None:
    try:
        plugin: Plugin = entry_point.load()(network, **settings)
    except ImportError:
        if not entry_point.extras:
            raise
        log.info("plugin_not_installed", plugin_id=entry_point.name, extra=f"tocsin[{','.join(entry_point.extras)}]")
        return None
    return plugin


def _foreign(entry_point: EntryPoint, network: Network) -> Plugin | None:
    try:
        plugin: Plugin = entry_point.load()(network)
    except Exception as error:
        log.exception("plugin_broken", plugin_id=entry_point.name, error=type(error).__name__)
        return None
    missing = [method for method in METHODS if not callable(getattr(plugin, method, None))]
    is_built_in = entry_point.name in BUILT_IN.names
    if missing or is_built_in:
        log.error("plugin_refused", plugin_id=entry_point.name, missing=missing, built_in=is_built_in)
        return None
    return plugin
