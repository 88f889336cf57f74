"""What the server does with channels: make, change, show and delete them, projects' and users' alike.

Projects' channels are the administrators' business. Users' channels are each user's own, and the administrators'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from dispatch.schedules import Schedule
from resolvers import access, channel_data, channel_rules, checks, transaction
from resolvers.access import Caller, Role
from resolvers.asking import NOTHING, Asking, listing
from resolvers.context import Server
from resolvers.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from resolvers.paging import Listing, Window
from storage import channels, deliveries, ids, inboxes, protocols
from storage.channels import Filter, Kind
from storage.models import (
    Channel,
    DecisionReason,
    Delivery,
    LevelMatch,
    NotificationLevel,
    Protocol,
    ProtocolType,
    ResourceState,
)
from storage.scope import Scope
from storage.selected import ALL, Row, Selected


@dataclass(frozen=True)
class _Kind:
    """What differs between a project's and a user's channels."""

    roles: frozenset[Role]
    id_field: str
    owner_field: str


_KINDS = {
    Kind.PROJECT: _Kind(access.ADMINS, "projectChannelId", "projectId"),
    Kind.USER: _Kind(access.PEOPLE, "userChannelId", "userId"),
}


async def create(
    server: Server,
    caller: Caller,
    kind: Kind,
    *,
    protocol_id: str,
    owner_id: str | None,
    name: str,
    data: Any,
    topics: Sequence[str] | None = None,
    schedule: Schedule | None = None,
    notification_level: NotificationLevel | None = None,
    level_match: LevelMatch | None = None,
    tags: Any = None,
    domain_id: str | None = None,
) -> Channel:
    """Make a channel of the project or user `owner_id`; without one, of the calling user."""
    access.require(caller, _KINDS[kind].roles)
    domain = access.domain_of(caller, domain_id)
    owner = _owner(caller, kind, owner_id)
    values: dict[str, Any] = {
        "name": checks.text(name, "name"),
        "topics": channel_rules.topics(topics),
        "schedule": channel_rules.schedule(schedule),
        "tags": {} if tags is None else checks.json_object(tags, "tags"),
    }
    if kind is Kind.PROJECT:
        values["notification_level"] = channel_rules.level(notification_level or NotificationLevel.LV1)
        values["level_match"] = level_match or LevelMatch.EXACT
    protocol = await _usable_protocol(server, kind, checks.identifier(protocol_id, "protocolId"), Scope(domain))
    address = await channel_data.check(server, protocol, data)
    now = server.clock()

    async def work(session: AsyncSession) -> Channel:
        await inboxes.register(session, domain, address.users)
        await _require_stored(session, protocol)
        channel = Channel(
            channel_id=ids.new(kind.value),
            domain_id=domain,
            protocol_id=protocol_id,
            project_id=owner if kind is Kind.PROJECT else None,
            user_id=owner if kind is Kind.USER else None,
            created_at=now,
            **address.columns,
            **values,
        )
        await channels.create(session, channel)
        return channel

    return await transaction.write(server, caller, work)


async def update(
    server: Server,
    caller: Caller,
    kind: Kind,
    *,
    channel_id: str,
    name: str | None = None,
    data: Any = None,
    notification_level: NotificationLevel | None = None,
    level_match: LevelMatch | None = None,
    tags: Any = None,
) -> Channel:
    """Change what is given. Where data is secret, what is given as the mask stays."""
    access.require(caller, _KINDS[kind].roles)
    if name is not None:
        checks.text(name, "name")
    if notification_level is not None:
        channel_rules.level(notification_level)
    if tags is not None:
        checks.json_object(tags, "tags")
    given = {"name": name, "notification_level": notification_level, "level_match": level_match, "tags": tags}
    values = {column: value for column, value in given.items() if value is not None}
    if data is None:
        return await _change(server, caller, kind, channel_id, values)
    return await _change_data(server, caller, kind, channel_id, values, data)


async def set_schedule(
    server: Server, caller: Caller, kind: Kind, *, channel_id: str, schedule: Schedule | None
) -> Channel:
    """When the channel is open; None: always."""
    access.require(caller, _KINDS[kind].roles)
    return await _change(server, caller, kind, channel_id, {"schedule": channel_rules.schedule(schedule)})


async def set_subscription(
    server: Server, caller: Caller, kind: Kind, *, channel_id: str, topics: Sequence[str] | None
) -> Channel:
    """Which topics the channel takes; None: every one, an empty list: none."""
    access.require(caller, _KINDS[kind].roles)
    return await _change(server, caller, kind, channel_id, {"topics": channel_rules.topics(topics)})


async def set_state(server: Server, caller: Caller, kind: Kind, *, channel_id: str, state: ResourceState) -> Channel:
    """Enabling it begins anew: how long it has failed before is forgotten."""
    access.require(caller, _KINDS[kind].roles)
    begins_anew = {"failing_since": None} if state is ResourceState.ENABLED else {}
    return await _change(server, caller, kind, channel_id, {"state": state, **begins_anew})


async def delete(server: Server, caller: Caller, kind: Kind, *, channel_id: str) -> str:
    """Delete a channel and return its id. What was still on its way through it is held, and says so."""
    access.require(caller, _KINDS[kind].roles)
    checks.identifier(channel_id, _KINDS[kind].id_field)
    now = server.clock()

    async def work(session: AsyncSession) -> Sequence[Delivery]:
        channel = await _lock(session, caller, kind, channel_id)
        held = await deliveries.skip_open(
            session, channel_id=channel_id, reason=DecisionReason.CHANNEL_DELETED, now=now
        )
        await channels.remove(session, channel)
        return held

    held = await transaction.write(server, caller, work)
    await server.hub.publish_deliveries(held)
    return channel_id


async def find(server: Server, caller: Caller, kind: Kind, channel_id: str, *, selected: Selected = ALL) -> Row | None:
    """The channel, or None when there is none to see."""
    access.require(caller, _KINDS[kind].roles)
    checks.identifier(channel_id, _KINDS[kind].id_field)
    async with server.database.read() as session:
        mine = channels.in_scope(kind, access.scope_of_id(caller))
        return await mine.find(session, Filter(channel_id=channel_id), selected)


async def page(
    server: Server,
    caller: Caller,
    kind: Kind,
    *,
    wanted: Filter,
    window: Window,
    domain_id: str | None = None,
    asking: Asking = NOTHING,
    selected: Selected = ALL,
) -> Listing[Row]:
    """The channels that the caller sees, newest first."""
    access.require(caller, _KINDS[kind].roles)
    records = channels.in_scope(kind, access.scope(caller, domain_id))
    _check_filter(caller, kind, wanted)
    return await listing(server, asking, window, records, wanted, selected=selected)


async def _change(server: Server, caller: Caller, kind: Kind, channel_id: str, values: Mapping[str, Any]) -> Channel:
    checks.identifier(channel_id, _KINDS[kind].id_field)

    async def work(session: AsyncSession) -> Channel:
        return _set(await _lock(session, caller, kind, channel_id), values)

    return await transaction.write(server, caller, work)


async def _change_data(
    server: Server, caller: Caller, kind: Kind, channel_id: str, values: Mapping[str, Any], data: Any
) -> Channel:
    seen, protocol = await _require_with_protocol(server, caller, kind, channel_id)
    address = await channel_data.check(server, protocol, data, kept=seen.secret_data)

    async def work(session: AsyncSession) -> Channel:
        await inboxes.register(session, seen.domain_id, address.users)
        channel = await _lock(session, caller, kind, channel_id)
        if channel.secret_data != seen.secret_data:
            # A mask would bring back what somebody else has replaced since.
            raise FailedPrecondition("The channel was changed meanwhile. Try again.", field=_KINDS[kind].id_field)
        return _set(channel, {**values, **address.columns, "failing_since": None})

    return await transaction.write(server, caller, work)


def _set(channel: Channel, values: Mapping[str, Any]) -> Channel:
    for column, value in values.items():
        setattr(channel, column, value)
    return channel


async def _lock(session: AsyncSession, caller: Caller, kind: Kind, channel_id: str) -> Channel:
    channel = await channels.lock(session, kind, channel_id, access.scope_of_id(caller))
    if channel is None:
        raise _not_found(kind)
    return channel


async def _require_with_protocol(server: Server, caller: Caller, kind: Kind, channel_id: str) -> tuple[Row, Protocol]:
    channel = await find(server, caller, kind, channel_id)
    if channel is None:
        raise _not_found(kind)
    async with server.database.read() as session:
        protocol = await protocols.find(session, channel.protocol_id, Scope(channel.domain_id))
    if protocol is None:  # both were deleted since
        raise _not_found(kind)
    return channel, protocol


def _not_found(kind: Kind) -> NotFound:
    return NotFound("There is no such channel.", field=_KINDS[kind].id_field)


async def _usable_protocol(server: Server, kind: Kind, protocol_id: str, scope: Scope) -> Protocol:
    async with server.database.read() as session:
        protocol = await protocols.find(session, protocol_id, scope)
    if protocol is None:
        raise NotFound("There is no such protocol.", field="protocolId")
    if protocol.protocol_type is ProtocolType.INTERNAL and kind is Kind.USER:
        raise InvalidArgument("A user's inbox needs no channel: this is for EXTERNAL protocols.", field="protocolId")
    if protocol.state is ResourceState.DISABLED:
        raise FailedPrecondition("The protocol is disabled.", field="protocolId")
    return protocol


async def _require_stored(session: AsyncSession, protocol: Protocol) -> None:
    """That the protocol still exists. One that is deleted at the same time fails this transaction, which runs again."""
    if protocol.protocol_type is ProtocolType.INTERNAL:
        await protocols.ensure_internal(session, protocol.domain_id)
    elif await protocols.find(session, protocol.protocol_id, Scope(protocol.domain_id)) is None:
        raise NotFound("There is no such protocol.", field="protocolId")


def _owner(caller: Caller, kind: Kind, owner_id: str | None) -> str:
    if kind is Kind.USER and owner_id is None:
        return caller.user_id
    field = _KINDS[kind].owner_field
    if owner_id is None:
        raise InvalidArgument("Whose channel it is must be said.", field=field)
    _require_own(caller, owner_id, field)
    return checks.identifier(owner_id, field)


def _require_own(caller: Caller, owner_id: str, field: str) -> None:
    if caller.role is Role.USER and owner_id != caller.user_id:
        raise PermissionDenied("Other users' channels are out of reach.", field=field)


def _check_filter(caller: Caller, kind: Kind, wanted: Filter) -> None:
    terms = _KINDS[kind]
    texts = {
        f"filter.{terms.id_field}": wanted.channel_id,
        f"filter.{terms.owner_field}": wanted.owner_id,
        "filter.name": wanted.name,
        "filter.protocolId": wanted.protocol_id,
    }
    checks.given(checks.text, texts)
    if wanted.owner_id is not None:
        _require_own(caller, wanted.owner_id, f"filter.{terms.owner_field}")
