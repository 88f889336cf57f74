"""What deliveries are made of and asked by. The delivery itself is in `schema.notification`, which it refers to."""

from __future__ import annotations

from datetime import datetime

import strawberry
from strawberry import ID

from dispatch import planner
from schema.enums import AttemptOutcome, Decision, DecisionReason, DeliveryState
from storage import models
from storage.deliveries import Filter


@strawberry.type(description="One call of a plugin for a delivery.")
class Attempt:
    started_at: datetime = strawberry.field(description="When it began.")
    duration_ms: int = strawberry.field(description="How long it took, in milliseconds.")
    outcome: AttemptOutcome = strawberry.field(description="What came of it.")
    status_code: int | None = strawberry.field(description="The far side's status, where it has one.")
    error: str | None = strawberry.field(description="What went wrong, without secrets.")
    response_excerpt: str | None = strawberry.field(description="The beginning of what the far side answered.")

    @classmethod
    def from_row(cls, row: models.Attempt) -> Attempt:
        return cls(
            started_at=row.started_at,
            duration_ms=row.duration_ms,
            outcome=row.outcome,
            status_code=row.status_code,
            error=row.error,
            response_excerpt=row.response_excerpt,
        )


@strawberry.type(description="What was decided for one channel.")
class DispatchDecision:
    channel_id: ID | None = strawberry.field(description="The channel; null for a push.")
    protocol_id: ID = strawberry.field(description="The channel's protocol.")
    decision: Decision = strawberry.field(description="What was decided.")
    reason: DecisionReason | None = strawberry.field(description="Why it does not go out; null when it does.")
    detail: str | None = strawberry.field(description="The same, for people.")
    defer_until: datetime | None = strawberry.field(description="When it goes out, if it is deferred.")

    @classmethod
    def from_decision(cls, decision: planner.DispatchDecision) -> DispatchDecision:
        return cls(
            channel_id=None if decision.channel_id is None else ID(decision.channel_id),
            protocol_id=ID(decision.protocol_id),
            decision=decision.decision,
            reason=decision.reason,
            detail=decision.detail,
            defer_until=decision.defer_until,
        )


@strawberry.input(description="Which deliveries: all that is given has to match, and an empty list matches nothing.")
class DeliveryFilter:
    delivery_ids: list[ID] | None = strawberry.field(default=None, description="One of these ids.")
    notification_id: ID | None = strawberry.field(default=None, description="Those of this notification.")
    channel_id: ID | None = strawberry.field(default=None, description="Those through this channel.")
    protocol_id: ID | None = strawberry.field(default=None, description="Those through this protocol.")
    states: list[DeliveryState] | None = strawberry.field(default=None, description="Those in one of these states.")
    domain_id: ID | None = strawberry.field(default=None, description="The domain; null: the caller's.")
    created_after: datetime | None = strawberry.field(default=None, description="Created after this, exclusively.")
    created_before: datetime | None = strawberry.field(default=None, description="Created before this, exclusively.")

    def to_filter(self) -> Filter:
        return Filter(
            delivery_ids=self.delivery_ids,
            notification_id=self.notification_id,
            channel_id=self.channel_id,
            protocol_id=self.protocol_id,
            states=self.states,
            created_after=self.created_after,
            created_before=self.created_before,
        )
