"""What a channel's data may be: the users of an INTERNAL channel, or what its protocol's plugin asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dispatch.plugins import Addressing, Plugin, Splitting, schemas
from resolvers import checks, plugins
from resolvers.context import Server
from resolvers.errors import FailedPrecondition, InvalidArgument
from storage.models import JsonObject, Protocol, ProtocolType

MAX_USERS = 10_000  # of one INTERNAL channel
MAX_PARTS = 50  # recipients of one EXTERNAL channel, each a delivery of every notification

# What `_internal` holds to, for clients that build a form from it.
INTERNAL_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "users": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": checks.MAX_ID_LENGTH, "not": {"const": "*"}},
            "minItems": 1,
            "maxItems": MAX_USERS,
            "uniqueItems": True,
        }
    },
    "required": ["users"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class ChannelData:
    """What a channel stores."""

    data: JsonObject | None  # as it is shown, with masks for secret values; None where it is secret as a whole
    secret_data: bytes | None  # all of it, sealed, where anything of it is secret
    users: tuple[str, ...] = ()  # whom an INTERNAL channel names
    destination: str | None = None  # what its deliveries are limited together with; None: each other
    part_count: int = 1  # deliveries that one notification makes

    @property
    def columns(self) -> dict[str, Any]:
        """What of it is in a channel's row."""
        return {
            "data": self.data,
            "secret_data": self.secret_data,
            "destination": self.destination,
            "part_count": self.part_count,
        }


async def schema(
    server: Server, protocol_type: ProtocolType, *, plugin_id: str | None, options: Any
) -> JsonObject | None:
    """The JSON Schema of the data of such a protocol's channels; None where its plugin cannot be asked (any more)."""
    if protocol_type is ProtocolType.INTERNAL:
        return INTERNAL_SCHEMA
    plugin = server.plugins.get(plugin_id or "")
    if plugin is None:
        return None
    try:
        return (await plugins.info(plugin, options)).data_schema
    except plugins.PluginFailed:
        return None


async def check(server: Server, protocol: Protocol, data: Any, *, kept: bytes | None = None) -> ChannelData:
    """The data as it is to be stored. `kept` is the sealed data that a mask stands for. Raises InvalidArgument."""
    if protocol.protocol_type is ProtocolType.INTERNAL:
        return _internal(checks.json_object(data, "data"))
    plugin = server.plugins.get(protocol.plugin_id or "")
    if plugin is None:
        raise FailedPrecondition("The protocol's plugin is not installed (any more).", field="protocolId")
    try:
        info = await plugins.info(plugin, protocol.options)
        whole = plugins.unmasked(data, None if kept is None else server.vault.unseal(kept), "data")
        plugins.check(whole, info.data_schema, "data")
        await plugins.inspect(plugin, whole, "data")
        destination, part_count = _destination(plugin, whole), _part_count(plugin, whole)
    except plugins.PluginFailed as error:
        raise FailedPrecondition(f"The protocol's plugin does not answer ({error}).", field="protocolId") from error
    shown = None if info.data_is_secret else schemas.concealed(whole, info.data_schema)
    sealed = None if shown == whole else server.vault.seal(whole)
    return ChannelData(shown, sealed, destination=destination, part_count=part_count)


def _destination(plugin: Plugin, data: JsonObject) -> str | None:
    with plugins.failing():
        return plugin.destination(data) if isinstance(plugin, Addressing) else None


def _part_count(plugin: Plugin, data: JsonObject) -> int:
    with plugins.failing():
        count = len(plugin.parts(data)) if isinstance(plugin, Splitting) else 1
    if not 1 <= count <= MAX_PARTS:
        raise InvalidArgument(f"A channel leads to one recipient at least and {MAX_PARTS} at most.", field="data")
    return count


def _internal(data: JsonObject) -> ChannelData:
    if data.keys() - {"users"}:
        raise InvalidArgument("An INTERNAL channel's data has users and nothing else.", field="data")
    users = data.get("users")
    if not isinstance(users, list) or not users or not all(isinstance(user, str) for user in users):
        raise InvalidArgument("This must be a list of user ids, and not empty.", field="data.users")
    if "*" in users:
        raise InvalidArgument("Every user must be named: * stands for nobody.", field="data.users")
    distinct = checks.identifiers(users, "data.users", most=MAX_USERS)
    if len(distinct) < len(users):
        raise InvalidArgument("A user may be named once only.", field="data.users")
    return ChannelData(data, None, tuple(distinct))
