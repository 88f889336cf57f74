"""Everything that can be watched."""

from __future__ import annotations

import strawberry

from schema.event import EventSubscription
from schema.feed import FeedSubscription
from schema.notification import NotificationSubscription
from schema.steering import SteeringSubscription


@strawberry.type(description="Everything that can be watched, over graphql-transport-ws or as an event stream.")
class Subscription(NotificationSubscription, EventSubscription, FeedSubscription, SteeringSubscription):
    pass
