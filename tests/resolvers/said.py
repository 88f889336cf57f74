"""What the tests of resolvers say, and to whom, without the parts that a test does not care about."""

from __future__ import annotations

from typing import Any

from resolvers import channels, notifications, protocols
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.notifications import Creation
from resolvers.once import Said
from storage import ids
from storage.channels import Kind
from storage.models import Channel, NotificationLevel, Protocol
from tests.resolvers.callers import ADMIN, SERVICE

MESSAGE = {"title": "Not running pods", "tags": {"urgency": "LOW"}}


def creation(resource_id: str = "alice", *, resource_type: str = "identity.User", **changes: Any) -> Creation:
    values = {"topic": "monitoring.Alert", "message": MESSAGE, **changes}
    return Creation(resource_type=resource_type, resource_id=resource_id, **values)


async def say(server: Server, resource_id: str = "alice", *, caller: Caller = SERVICE, **changes: Any) -> Said:
    return await notifications.create(server, caller, creation(resource_id, **changes))


async def say_to_project(server: Server, project_id: str = "p1", **changes: Any) -> Said:
    return await say(server, project_id, resource_type="identity.Project", **changes)


async def inside(server: Server, *users: str, project_id: str = "p1", **changes: Any) -> Channel:
    """An INTERNAL channel of a project, for these users."""
    return await channels.create(
        server,
        ADMIN,
        Kind.PROJECT,
        protocol_id=ids.internal_protocol(ADMIN.domain_id),
        owner_id=project_id,
        name="inside",
        data={"users": list(users)},
        **changes,
    )


async def log_protocol(server: Server, *, name: str = "log") -> Protocol:
    return await protocols.create(server, ADMIN, name=name, plugin_id="log", options=None, secret_data=None)


async def outside(
    server: Server, protocol: Protocol, *, project_id: str = "p1", level: NotificationLevel | None = None
) -> Channel:
    """A channel of a project through an EXTERNAL protocol."""
    return await channels.create(
        server,
        ADMIN,
        Kind.PROJECT,
        protocol_id=protocol.protocol_id,
        owner_id=project_id,
        name="outside",
        data={},
        notification_level=level,
    )


async def of_user(server: Server, caller: Caller, protocol: Protocol, **changes: Any) -> Channel:
    return await channels.create(
        server, caller, Kind.USER, protocol_id=protocol.protocol_id, owner_id=None, name="mine", data={}, **changes
    )
