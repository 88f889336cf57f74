"""Everything that can be asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import strawberry
from strawberry import ID, argument

from resolvers import channels, deliveries, notifications, protocols, quotas
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import InvalidArgument, PermissionDenied
from schema.channel import ChannelQuery, ProjectChannel, UserChannel
from schema.context import Info
from schema.event import EventQuery
from schema.inbox import InboxQuery
from schema.node import Node, parse_global_id
from schema.notification import Delivery, Notification, NotificationQuery
from schema.protocol import Protocol, ProtocolQuery
from schema.quota import Quota, QuotaQuery
from schema.statistics import StatisticsQueries
from schema.steering import SteeringQuery
from schema.viewer import ViewerQuery
from storage.channels import Kind
from storage.models import Channel

Row = TypeVar("Row")
Finder = Callable[[Info, str], Awaitable[Node | None]]


@strawberry.type(description="Everything that can be asked.")
class Query(
    ViewerQuery,
    InboxQuery,
    EventQuery,
    NotificationQuery,
    SteeringQuery,
    ProtocolQuery,
    ChannelQuery,
    QuotaQuery,
    StatisticsQueries,
):
    @strawberry.field(description="Anything by its Relay global id; null when there is none that the caller may see.")
    async def node(self, info: Info, id: Annotated[ID, argument(description="The global id.")]) -> Node | None:
        type_name, raw_id = parse_global_id(id)
        if type_name not in _FINDERS:
            return None
        try:
            return await _FINDERS[type_name](info, raw_id)
        except (PermissionDenied, InvalidArgument):  # a global id tells its type, not whether there is such a thing
            return None


def _finder(find: Callable[[Server, Caller, str], Awaitable[Row | None]], show: Callable[[Row], Node]) -> Finder:
    async def found(info: Info, raw_id: str) -> Node | None:
        row = await find(info.context.server, info.context.caller, raw_id)
        return None if row is None else show(row)

    return found


async def _project_channel(server: Server, caller: Caller, channel_id: str) -> Channel | None:
    return await channels.find(server, caller, Kind.PROJECT, channel_id)


async def _user_channel(server: Server, caller: Caller, channel_id: str) -> Channel | None:
    return await channels.find(server, caller, Kind.USER, channel_id)


_FINDERS = {
    "Notification": _finder(notifications.find, Notification.from_row),
    "Delivery": _finder(deliveries.find, Delivery.from_row),
    "Protocol": _finder(protocols.find, Protocol.from_row),
    "ProjectChannel": _finder(_project_channel, ProjectChannel.from_row),
    "UserChannel": _finder(_user_channel, UserChannel.from_row),
    "Quota": _finder(quotas.find, Quota.from_row),
}
