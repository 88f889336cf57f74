"""What can be set about what the server does by itself. Reads no environment."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, Field, field_validator

from resolvers import alerts
from resolvers.errors import InvalidArgument
from resolvers.retention import Keep


class ResolverSettings(BaseModel):
    mark_read_on_fetch: bool = Field(True, description="Whether a user's reads mark notifications as read.")
    log_keep_days: int = Field(30, ge=1, le=36_500, description="How long changes are kept for streams to go on from.")
    log_keep_changes: int = Field(10_000, ge=1, description="Of these, how many of one inbox.")
    notification_keep_days: int | None = Field(
        None, ge=1, le=36_500, description="How long notifications are kept; absent: until they are deleted."
    )
    # Not less than three days: a push that is repeated with its key is answered with its delivery.
    delivery_keep_days: int = Field(
        90, ge=3, le=36_500, description="How long deliveries are kept after they ended, with their attempts."
    )
    alert_resource: str | None = Field(
        None, description="Who is told of a project's channel that was disabled: `identity.Project:ops`, for example."
    )

    @field_validator("alert_resource")
    @classmethod
    def _known_resource(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                alerts.resource(value)
            except InvalidArgument:
                raise ValueError("must be identity.Project:... or identity.User:...") from None
        return value

    @property
    def keep(self) -> Keep:
        age = self.notification_keep_days
        return Keep(
            log_age=timedelta(days=self.log_keep_days),
            log_changes=self.log_keep_changes,
            notification_age=None if age is None else timedelta(days=age),
            delivery_age=timedelta(days=self.delivery_keep_days),
        )
