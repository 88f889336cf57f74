"""What plugins ask for, and whether what callers send meets it. Changes nothing and stores nothing.

A plugin may be somebody else's: it is given a deadline, and of what it raises only the class's name is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from dispatch import redaction
from dispatch.plugins import Inspecting, JsonObject, Plugin, PluginInfo, Unusable, Verification, schemas
from dispatch.redaction import Redactor
from resolvers import access, checks
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import FailedPrecondition, InvalidArgument
from storage.secrets import MASK

ANSWER_SECONDS = 15.0  # within which `init` and `verify` answer
MAX_DETAIL_LENGTH = 500  # of what a plugin says about a verification
MAX_KEPT_ANSWERS = 1_000  # of `init`: one for each plugin and each protocol's options

log = structlog.get_logger()

# Answers of `init`, each with its plugin: while that is held, its id stands for no other.
_answers: dict[tuple[int, bytes], tuple[Plugin, PluginInfo]] = {}


class PluginFailed(Exception):
    """A plugin did not answer in time, or raised. The message is what it says, or the name of what it raised."""


@dataclass(frozen=True)
class InstalledPlugin:
    plugin_id: str
    info: PluginInfo


async def installed(server: Server, caller: Caller) -> list[InstalledPlugin]:
    """The plugins that protocols can be made of, but for those that do not answer."""
    access.require(caller, access.ADMINS)
    infos = {plugin_id: await _ask(plugin_id, plugin) for plugin_id, plugin in sorted(server.plugins.items())}
    return [InstalledPlugin(plugin_id, info) for plugin_id, info in infos.items() if info is not None]


async def info(plugin: Plugin, options: JsonObject) -> PluginInfo:
    """What the plugin needs with these options; asked for once. Raises PluginFailed."""
    key = id(plugin), orjson.dumps(options, option=orjson.OPT_SORT_KEYS)
    if key in _answers:
        return _answers[key][1]
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await plugin.init(options)
        _require_schemas(answer)
    except Unusable as error:
        raise PluginFailed(str(error)) from error
    except Exception as error:
        raise PluginFailed(type(error).__name__) from error
    if len(_answers) >= MAX_KEPT_ANSWERS:
        _answers.clear()
    _answers[key] = plugin, answer
    return answer


async def check_settings(plugin: Plugin, options: JsonObject, secret_data: JsonObject, *, within: str = "") -> None:
    """That the plugin takes these options and this secret. Raises InvalidArgument, its field prefixed by `within`."""
    try:
        general = await info(plugin, {})
    except PluginFailed as error:
        raise FailedPrecondition(f"The plugin does not answer ({error}).", field=f"{within}options") from error
    check(options, general.options_schema, f"{within}options")
    _require_no_secrets(options, general, f"{within}options")
    check(secret_data, general.secret_schema, f"{within}secretData")
    try:
        await info(plugin, options)
    except PluginFailed as error:
        raise InvalidArgument(f"The plugin refuses these options ({error}).", field=f"{within}options") from error


def check(value: JsonObject, schema: JsonObject, field: str) -> None:
    """That the value meets a plugin's JSON Schema. Raises InvalidArgument, whose field leads to what does not."""
    try:
        schemas.validate(value, schema)
    except schemas.SchemaViolation as violation:
        raise _invalid(violation, field) from violation


def _require_no_secrets(options: JsonObject, info: PluginInfo, field: str) -> None:
    """That no secret is among the options, which are shown. Raises InvalidArgument."""
    known, secret = (schema.get("properties", {}) for schema in (info.options_schema, info.secret_schema))
    for name in options:
        if name in secret and name not in known:
            raise InvalidArgument("A secret goes into secretData, which is hidden.", field=f"{field}.{name}")


async def inspect(plugin: Plugin, channel_data: JsonObject, field: str) -> None:
    """That the plugin itself sees nothing wrong with channel data. Raises InvalidArgument as above, PluginFailed."""
    if not isinstance(plugin, Inspecting):
        return
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await plugin.inspect(channel_data)
    except schemas.SchemaViolation as violation:
        raise _invalid(violation, field) from violation
    except Exception as error:
        raise PluginFailed(type(error).__name__) from error


@contextmanager
def failing() -> Iterator[None]:
    """What a plugin raises becomes PluginFailed: its text may hold what the plugin was given."""
    try:
        yield
    except Exception as error:
        raise PluginFailed(type(error).__name__) from error


def _invalid(violation: schemas.SchemaViolation, field: str) -> InvalidArgument:
    return InvalidArgument(violation.message, field=".".join([field, *violation.path]))


async def verify(plugin: Plugin, options: JsonObject, secret_data: JsonObject) -> Verification:
    """Whether these settings work, as the plugin sees it."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            verification = await plugin.verify(options, secret_data)
    except TimeoutError:
        return Verification(False, f"The plugin did not answer within {ANSWER_SECONDS:.0f} seconds.")
    except Exception as error:
        return Verification(False, f"The plugin failed ({type(error).__name__}).")
    redactor = Redactor(redaction.strings(secret_data))
    return Verification(verification.ok, redactor.redact(verification.detail or "")[:MAX_DETAIL_LENGTH] or None)


def unmasked(given: Any, kept: JsonObject | None, field: str) -> JsonObject:
    """A secret as it was sent, with what is kept in the places of the mask: of the whole, or of a value inside.

    Raises InvalidArgument, also where nothing is kept that the mask could stand for.
    """
    if given == MASK and kept is not None:
        return kept
    return _filled_in(checks.json_object(given, field), kept or {}, field)


def _filled_in(given: JsonObject, kept: JsonObject, field: str) -> JsonObject:
    return {name: _value(value, kept, name, f"{field}.{name}") for name, value in given.items()}


def _value(value: Any, kept: JsonObject, name: str, field: str) -> Any:
    if isinstance(value, dict):
        inside = kept.get(name)
        return _filled_in(value, inside if isinstance(inside, dict) else {}, field)
    if value != MASK:
        return value
    if name not in kept:
        raise InvalidArgument("Nothing is kept here yet that the mask could stand for.", field=field)
    return kept[name]


def _require_schemas(info: PluginInfo) -> None:
    """That values can be checked against them. Raises Unusable."""
    try:
        for schema in (info.data_schema, info.options_schema, info.secret_schema):
            schemas.require_valid(schema)
    except schemas.SchemaViolation as violation:
        raise Unusable("one of its schemas is no JSON Schema, or refers to others") from violation


async def _ask(plugin_id: str, plugin: Plugin) -> PluginInfo | None:
    try:
        return await info(plugin, {})
    except PluginFailed as error:
        log.warning("plugin_failed", plugin_id=plugin_id, error=str(error))
        return None
