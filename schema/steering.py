"""Seeing what would be sent, steering what is, and watching it: root fields over deliveries. No rules."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import ID, argument

from resolvers import deliveries, explanations, steering
from schema.context import Info
from schema.creation import CreateNotificationInput
from schema.delivery import DeliveryFilter, DispatchDecision
from schema.notification import Delivery
from schema.scalars import JSON
from storage import models

DeliveryId = Annotated[ID, argument(description="Which delivery.")]


@strawberry.type(description="The delivery after the change.")
class DeliveryPayload:
    delivery: Delivery = strawberry.field(description="The delivery.")

    @classmethod
    def from_row(cls, row: models.Delivery) -> DeliveryPayload:
        return cls(delivery=Delivery.from_row(row))


@strawberry.type(description="What a replay set going.")
class ReplayPayload:
    replayed_count: int = strawberry.field(description="How many deliveries are sent again: 1000 at most.")


@strawberry.type
class SteeringQuery:
    @strawberry.field(
        description="What would be decided for each channel if this were created: nothing is stored or sent. Of users, "
        "the first 100. Not for users."
    )
    async def explain_dispatch(
        self, info: Info, input: Annotated[CreateNotificationInput, argument(description="What, and to whom.")]
    ) -> list[DispatchDecision]:
        decisions = await explanations.explain(info.context.server, info.context.caller, input.to_creation())
        return [DispatchDecision.from_decision(decision) for decision in decisions]


@strawberry.type
class SteeringMutation:
    @strawberry.mutation(
        description="Send one message through a channel, whatever its schedule, topics and level. It must be enabled, "
        "and its protocol too. Users: through their own."
    )
    async def test_channel(
        self,
        info: Info,
        channel_id: Annotated[ID, argument(description="A project's or a user's channel.")],
        message: Annotated[
            JSON | None, argument(description="A JSON object; null: a title that names the channel.")
        ] = None,
    ) -> DeliveryPayload:
        row = await steering.try_channel(
            info.context.server, info.context.caller, channel_id=channel_id, message=message
        )
        return DeliveryPayload.from_row(row)

    @strawberry.mutation(
        description="Send a delivery that is DEAD, SKIPPED or RETRYING at once, with every retry ahead of it again. "
        "Users: those of their own channels."
    )
    async def retry_delivery(self, info: Info, delivery_id: DeliveryId) -> DeliveryPayload:
        row = await steering.retry(info.context.server, info.context.caller, delivery_id=delivery_id)
        return DeliveryPayload.from_row(row)

    @strawberry.mutation(
        description="Hold a delivery that is PENDING or RETRYING: it becomes SKIPPED. One that is SENDING may still "
        "arrive, but is not tried again. Users: those of their own channels."
    )
    async def cancel_delivery(self, info: Info, delivery_id: DeliveryId) -> DeliveryPayload:
        row = await steering.cancel(info.context.server, info.context.caller, delivery_id=delivery_id)
        return DeliveryPayload.from_row(row)

    @strawberry.mutation(
        description="Send deliveries that died again, 1000 at once; call it until it answers fewer. Those of whose "
        "message nothing is kept are left out. Administrators only."
    )
    async def replay_deliveries(
        self,
        info: Info,
        since: Annotated[datetime, argument(description="Created then or later.")],
        filter: Annotated[
            DeliveryFilter | None,
            argument(description="Which of them; states may name DEAD and SKIPPED, and null means DEAD."),
        ] = None,
    ) -> ReplayPayload:
        wanted = filter or DeliveryFilter()
        count = await steering.replay(
            info.context.server,
            info.context.caller,
            wanted.to_filter(),
            since=since,
            domain_id=wanted.domain_id,
        )
        return ReplayPayload(replayed_count=count)


@strawberry.type
class SteeringSubscription:
    @strawberry.subscription(
        description="Deliveries that the caller may see, whenever one is made or changes, as it is by then. It cannot "
        "be resumed: list them after subscribing. It ends with UNAVAILABLE when the client is too slow."
    )
    async def delivery_updated(
        self,
        info: Info,
        filter: Annotated[
            DeliveryFilter | None, argument(description="Which ones, by what they are by then; null: all.")
        ] = None,
    ) -> AsyncGenerator[Delivery, None]:
        wanted = filter or DeliveryFilter()
        updates = deliveries.updated(
            info.context.server, info.context.caller, wanted.to_filter(), domain_id=wanted.domain_id
        )
        async for row in updates:
            yield Delivery.from_row(row)
