"""What the server does with protocols: make, change, verify, show and delete them. Administrators only.

Plugins are asked before a transaction, never within one: they may take their time.
"""

from __future__ import annotations

from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from dispatch.plugins import Plugin, Verification
from resolvers import access, checks, plugins, transaction
from resolvers.access import Caller
from resolvers.asking import NOTHING, Asking, listing
from resolvers.context import Server
from resolvers.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from resolvers.paging import Listing, Window
from storage import ids, protocols
from storage.models import JsonObject, Protocol, ProtocolType, ResourceState
from storage.protocols import Filter
from storage.scope import Scope
from storage.selected import ALL, Row, Selected


async def create(
    server: Server,
    caller: Caller,
    *,
    name: str,
    plugin_id: str,
    options: Any = None,
    secret_data: Any = None,
    tags: Any = None,
    domain_id: str | None = None,
    verify: bool = True,
) -> Protocol:
    """Make an EXTERNAL protocol whose options and secret its plugin takes, and, if it is to `verify`, finds working."""
    access.require(caller, access.ADMINS)
    domain = access.domain_of(caller, domain_id)
    checks.text(name, "name")
    labels = _object(tags, "tags")
    plugin = server.plugins.get(plugin_id)
    if plugin is None:
        raise InvalidArgument("No such plugin is installed; the query plugins lists them.", field="plugin.pluginId")
    settings = _object(options, "plugin.options")
    secret = {} if secret_data is None else plugins.unmasked(secret_data, None, "plugin.secretData")
    await plugins.check_settings(plugin, settings, secret, within="plugin.")
    if verify:
        await _require_verified(plugin, settings, secret)
    now = server.clock()

    async def work(session: AsyncSession) -> Protocol:
        await protocols.ensure_internal(session, domain)
        await _require_free_name(session, domain, name)
        protocol = Protocol(
            protocol_id=ids.new(ids.PROTOCOL),
            domain_id=domain,
            name=name,
            protocol_type=ProtocolType.EXTERNAL,
            plugin_id=plugin_id,
            options=settings,
            secret_data=_sealed(server, secret),
            tags=labels,
            created_at=now,
        )
        await protocols.create(session, protocol)
        return protocol

    return await transaction.write(server, caller, work)


async def update(
    server: Server, caller: Caller, *, protocol_id: str, name: str | None = None, tags: Any = None
) -> Protocol:
    """Change what is given, also of the INTERNAL protocol."""
    access.require(caller, access.ADMINS)
    checks.identifier(protocol_id, "protocolId")
    if name is not None:
        checks.text(name, "name")
    labels = None if tags is None else checks.json_object(tags, "tags")

    async def work(session: AsyncSession) -> Protocol:
        protocol = await _lock(session, caller, protocol_id)
        if name is not None:
            await _require_free_name(session, protocol.domain_id, name, besides=protocol_id)
            protocol.name = name
        if labels is not None:
            protocol.tags = labels
        return protocol

    return await transaction.write(server, caller, work)


async def update_plugin(
    server: Server,
    caller: Caller,
    *,
    protocol_id: str,
    options: Any = None,
    secret_data: Any = None,
    verify: bool = True,
) -> Protocol:
    """Change the options or the secret; what is not given, and what is given as the mask, stays."""
    access.require(caller, access.ADMINS)
    seen = await _require(server, caller, protocol_id)
    plugin = _plugin(server, seen)
    settings = seen.options if options is None else checks.json_object(options, "options")
    secret = _secret(server, seen)
    if secret_data is not None:
        secret = plugins.unmasked(secret_data, secret, "secretData")
    await plugins.check_settings(plugin, settings, secret)
    if verify:
        await _require_verified(plugin, settings, secret)

    async def work(session: AsyncSession) -> Protocol:
        protocol = await _lock(session, caller, protocol_id)
        if (protocol.options, protocol.secret_data) != (seen.options, seen.secret_data):
            # What was verified would be mixed with what somebody else has written since.
            raise FailedPrecondition("The protocol was changed meanwhile. Try again.", field="protocolId")
        protocol.options = settings
        protocol.secret_data = _sealed(server, secret)
        return protocol

    return await transaction.write(server, caller, work)


async def set_state(server: Server, caller: Caller, *, protocol_id: str, state: ResourceState) -> Protocol:
    access.require(caller, access.ADMINS)
    checks.identifier(protocol_id, "protocolId")

    async def work(session: AsyncSession) -> Protocol:
        protocol = await _lock(session, caller, protocol_id)
        protocol.state = state
        return protocol

    return await transaction.write(server, caller, work)


async def delete(server: Server, caller: Caller, *, protocol_id: str) -> str:
    """Delete a protocol that no channel uses, and return its id."""
    access.require(caller, access.ADMINS)
    checks.identifier(protocol_id, "protocolId")

    async def work(session: AsyncSession) -> str:
        protocol = await _lock(session, caller, protocol_id)
        _require_external(protocol)
        if await protocols.is_used(session, protocol_id):
            raise FailedPrecondition("Channels use this protocol: delete them first.", field="protocolId")
        await protocols.remove(session, protocol)
        return protocol_id

    return await transaction.write(server, caller, work)


async def verify(server: Server, caller: Caller, *, protocol_id: str) -> Verification:
    """Whether the protocol's settings work now. The INTERNAL one has none that could fail."""
    access.require(caller, access.ADMINS)
    protocol = await _require(server, caller, protocol_id)
    if protocol.protocol_type is ProtocolType.INTERNAL:
        return Verification(True)
    return await plugins.verify(_plugin(server, protocol), protocol.options, _secret(server, protocol))


async def find(server: Server, caller: Caller, protocol_id: str, *, selected: Selected = ALL) -> Row | None:
    """The protocol, or None when there is none to see."""
    access.require(caller, access.ADMINS)
    checks.identifier(protocol_id, "protocolId")
    async with server.database.read() as session:
        seen = protocols.in_scope(_scope_of(caller, protocol_id))
        return await seen.find(session, Filter(protocol_id=protocol_id), selected)


async def page(
    server: Server,
    caller: Caller,
    *,
    wanted: Filter,
    window: Window,
    domain_id: str | None = None,
    asking: Asking = NOTHING,
    selected: Selected = ALL,
) -> Listing[Row]:
    """The domain's protocols, newest first."""
    access.require(caller, access.ADMINS)
    domain = access.domain_of(caller, domain_id, field="filter.domainId")
    checks.given(checks.text, {"filter.protocolId": wanted.protocol_id, "filter.name": wanted.name})
    return await listing(server, asking, window, protocols.in_scope(Scope(domain)), wanted, selected=selected)


async def _require(server: Server, caller: Caller, protocol_id: str) -> Protocol:
    checks.identifier(protocol_id, "protocolId")
    async with server.database.read() as session:
        protocol = await protocols.find(session, protocol_id, _scope_of(caller, protocol_id))
    if protocol is None:
        raise NotFound("There is no such protocol.", field="protocolId")
    return protocol


async def _lock(session: AsyncSession, caller: Caller, protocol_id: str) -> Protocol:
    scope = _scope_of(caller, protocol_id)
    if scope.domain_id is not None:
        await protocols.ensure_internal(session, scope.domain_id)
    protocol = await protocols.lock(session, protocol_id, scope)
    if protocol is None:
        raise NotFound("There is no such protocol.", field="protocolId")
    return protocol


def _scope_of(caller: Caller, protocol_id: str) -> Scope:
    # Without a domain only stored rows are seen: for SYSTEM's own INTERNAL protocol the domain is known by the id.
    if protocol_id == ids.internal_protocol(caller.domain_id):
        return access.scope(caller)
    return access.scope_of_id(caller)


async def _require_free_name(session: AsyncSession, domain_id: str, name: str, *, besides: str | None = None) -> None:
    if await protocols.is_name_taken(session, domain_id, name, besides=besides):
        raise AlreadyExists("Another protocol of the domain has this name.", field="name")


async def _require_verified(plugin: Plugin, options: JsonObject, secret_data: JsonObject) -> None:
    verification = await plugins.verify(plugin, options, secret_data)
    if not verification.ok:
        raise FailedPrecondition(verification.detail or "The plugin finds that this does not work.", field="plugin")


def _require_external(protocol: Protocol) -> None:
    if protocol.protocol_type is ProtocolType.INTERNAL:
        raise FailedPrecondition("The INTERNAL protocol has no plugin and cannot be deleted.", field="protocolId")


def _plugin(server: Server, protocol: Protocol) -> Plugin:
    _require_external(protocol)
    plugin = server.plugins.get(protocol.plugin_id or "")
    if plugin is None:
        raise FailedPrecondition("The protocol's plugin is not installed (any more).", field="protocolId")
    return plugin


def _secret(server: Server, protocol: Protocol) -> JsonObject:
    return {} if protocol.secret_data is None else server.vault.unseal(protocol.secret_data)


def _sealed(server: Server, secret_data: JsonObject) -> bytes | None:
    return server.vault.seal(secret_data) if secret_data else None


def _object(value: Any, field: str) -> JsonObject:
    return {} if value is None else checks.json_object(value, field)
