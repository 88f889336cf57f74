"""Everything that can be asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import strawberry
from strawberry import ID, argument

from resolvers import channels, deliveries, notifications, protocols, quotas
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import InvalidArgument, PermissionDenied
from schema import selection
from schema.channel import PROJECT_CHANNEL, USER_CHANNEL, ChannelQuery, ProjectChannel, UserChannel
from schema.context import Info
from schema.event import EventQuery
from schema.inbox import InboxQuery
from schema.node import Node, parse_global_id
from schema.notification import DELIVERY, NOTIFICATION, Delivery, Notification, NotificationQuery
from schema.protocol import PROTOCOL, Protocol, ProtocolQuery
from schema.quota import QUOTA, Quota, QuotaQuery
from schema.selection import Fields
from schema.statistics import StatisticsQueries
from schema.steering import SteeringQuery
from schema.viewer import ViewerQuery
from storage.channels import Kind
from storage.selected import Row, Selected

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


def _finder(fields: Fields, find: Callable[..., Awaitable[Row | None]], type_: Any) -> Finder:
    async def found(info: Info, raw_id: str) -> Node | None:
        selected = selection.of_one(info, fields, type_.__name__)
        row = await find(info.context.server, info.context.caller, raw_id, selected=selected)
        return None if row is None else type_.from_row(row)

    return found


async def _project_channel(server: Server, caller: Caller, channel_id: str, *, selected: Selected) -> Row | None:
    return await channels.find(server, caller, Kind.PROJECT, channel_id, selected=selected)


async def _user_channel(server: Server, caller: Caller, channel_id: str, *, selected: Selected) -> Row | None:
    return await channels.find(server, caller, Kind.USER, channel_id, selected=selected)


_FINDERS = {
    "Notification": _finder(NOTIFICATION, notifications.find, Notification),
    "Delivery": _finder(DELIVERY, deliveries.find, Delivery),
    "Protocol": _finder(PROTOCOL, protocols.find, Protocol),
    "ProjectChannel": _finder(PROJECT_CHANNEL, _project_channel, ProjectChannel),
    "UserChannel": _finder(USER_CHANNEL, _user_channel, UserChannel),
    "Quota": _finder(QUOTA, quotas.find, Quota),
}
