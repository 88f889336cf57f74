"""Everything that can be changed."""

from __future__ import annotations

import strawberry

from schema.channel import ChannelMutation
from schema.inbox import InboxMutation
from schema.notification import NotificationMutation
from schema.protocol import ProtocolMutation


@strawberry.type(description="Everything that can be changed.")
class Mutation(NotificationMutation, InboxMutation, ProtocolMutation, ChannelMutation):
    pass
