"""Everything that can be changed."""

from __future__ import annotations

import strawberry

from schema.channel import ChannelMutation
from schema.creation import NotificationMutation
from schema.inbox import InboxMutation
from schema.protocol import ProtocolMutation
from schema.quota import QuotaMutation
from schema.steering import SteeringMutation
from schema.token import TokenMutation


@strawberry.type(description="Everything that can be changed.")
class Mutation(
    NotificationMutation,
    InboxMutation,
    SteeringMutation,
    ProtocolMutation,
    ChannelMutation,
    QuotaMutation,
    TokenMutation,
):
    pass
