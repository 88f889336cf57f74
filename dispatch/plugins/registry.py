"""Which plugins there are: the built-in ones, and those that installed packages offer in the group `tocsin.plugins`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

import structlog

from dispatch.network import Network
from dispatch.plugins import Plugin
from dispatch.plugins.log import Log
from dispatch.plugins.webhook import Webhook

GROUP = "tocsin.plugins"
BUILT_IN: dict[str, Callable[[Network], Plugin]] = {"log": Log, "webhook": Webhook}
METHODS = ("init", "verify", "dispatch")

log = structlog.get_logger()


def discover(network: Network) -> dict[str, Plugin]:
    """Every plugin by its id. One that cannot be loaded is logged and left out: it stops nothing else."""
    plugins = {plugin_id: make(network) for plugin_id, make in BUILT_IN.items()}
    for entry_point in entry_points(group=GROUP):
        plugin = _load(entry_point, network)
        if plugin is not None:
            plugins.setdefault(entry_point.name, plugin)
    return plugins


def _load(entry_point: EntryPoint, network: Network) -> Plugin | None:
    try:
        plugin: Plugin = entry_point.load()(network)
    except Exception as error:
        log.exception("plugin_broken", plugin_id=entry_point.name, error=type(error).__name__)
        return None
    missing = [method for method in METHODS if not callable(getattr(plugin, method, None))]
    if missing or entry_point.name in BUILT_IN:
        log.error("plugin_refused", plugin_id=entry_point.name, missing=missing, built_in=entry_point.name in BUILT_IN)
        return None
    return plugin
