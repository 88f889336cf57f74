"""Everything that can be watched."""

from __future__ import annotations

import strawberry

from schema.notification import NotificationSubscription


@strawberry.type(description="Everything that can be watched, over graphql-transport-ws.")
class Subscription(NotificationSubscription):
    pass
