"""What can be set about signals between processes and about deliveries. Reads no environment."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, ValidatorFunctionWrapHandler, field_validator

from dispatch import retry
from dispatch.hub import Hub
from dispatch.worker import WorkerSettings
from storage.settings import COMMA_SEPARATED


class DispatchSettings(BaseModel):
    broadcast_url: str = Field("memory://", description="How processes signal each other; several: `redis://host`.")
    dispatch_worker: bool = Field(True, description="Whether this process sends deliveries.")
    dispatch_concurrency: int = Field(32, ge=1, le=1000, description="Sends at once.")
    dispatch_per_destination: int = Field(8, ge=1, le=1000, description="Of these, to one destination.")
    dispatch_timeout: float = Field(15.0, gt=0, le=600, description="Seconds that a plugin has for one attempt.")
    dispatch_retry_schedule: Annotated[tuple[float, ...], *COMMA_SEPARATED] = Field(
        retry.SCHEDULE, description="Seconds before each retry, comma separated."
    )
    dispatch_allow_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], *COMMA_SEPARATED] = Field(
        (), description="Private networks that deliveries may reach: CIDRs, comma separated."
    )
    apprise_allow: Annotated[tuple[str, ...], *COMMA_SEPARATED] = Field(
        (), description="Apprise services that may be used though they reach any host: `jsons,mailtos`, for example."
    )

    @field_validator("broadcast_url")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        Hub(value)
        return value

    @field_validator("dispatch_retry_schedule")
    @classmethod
    def _not_negative(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 <= seconds < float("inf") for seconds in value):
            raise ValueError("must be seconds, none of them negative")
        return value

    @field_validator("dispatch_allow_networks", mode="wrap")
    @classmethod
    def _networks(cls, value: Any, parse: ValidatorFunctionWrapHandler) -> Any:
        try:
            return parse(value)
        except ValidationError:
            raise ValueError("must be networks such as 10.0.0.0/8 or fd00::/8") from None

    @field_validator("apprise_allow")
    @classmethod
    def _schemas(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(name.isascii() and name.isalnum() for name in value):
            raise ValueError("must be schemas such as jsons or mailtos, without ://")
        return value

    @property
    def worker(self) -> WorkerSettings:
        return WorkerSettings(
            concurrency=self.dispatch_concurrency,
            per_destination=self.dispatch_per_destination,
            timeout=self.dispatch_timeout,
            retry_schedule=self.dispatch_retry_schedule,
        )
