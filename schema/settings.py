"""What can be set about who may call from where, and how much at a time. Reads no environment."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from schema.sockets import Limits
from storage.settings import COMMA_SEPARATED


class SchemaSettings(BaseModel):
    allowed_origins: Annotated[tuple[str, ...], *COMMA_SEPARATED] = Field(
        (), description="Origins of browser pages on other hosts that may call, comma separated."
    )
    socket_timeout: float = Field(
        12.0, gt=0, le=600, description="Seconds between pings of a socket, and that it may take to answer or to read."
    )
    socket_limit: int = Field(10_000, ge=1, description="Sockets of one process.")
    socket_limit_per_user: int = Field(5_000, ge=1, description="Of these, one user's.")
    subscription_limit: int = Field(50_000, ge=1, description="Operations at a time over the sockets of one process.")
    subscription_limit_per_user: int = Field(10_000, ge=1, description="Of these, one user's.")

    @property
    def limits(self) -> Limits:
        return Limits(
            sockets=self.socket_limit,
            sockets_per_user=self.socket_limit_per_user,
            subscriptions=self.subscription_limit,
            subscriptions_per_user=self.subscription_limit_per_user,
        )
