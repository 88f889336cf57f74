"""What can be set about who may call from where, and how much at a time. Reads no environment."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationInfo, field_validator
from strawberry.http.websocket_origin import normalize_allowed_origins

from schema import trusted as documents
from schema.documents import Trusted
from schema.sockets import Limits
from storage.settings import COMMA_SEPARATED


class TrustedDocuments(StrEnum):
    OFF = "off"  # every document is run
    ONLY = "only"  # no other is


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

    answers_kept_bytes: int = Field(
        16 * 1024 * 1024,
        ge=0,
        description="Memory of one process for answers of lists whose inbox did not change; 0: none is kept.",
    )

    trusted_documents: TrustedDocuments = Field(
        TrustedDocuments.OFF, description="`only`: nothing but the documents of TOCSIN_TRUSTED_DOCUMENTS_FILE is run."
    )
    trusted_documents_file: Path | None = Field(
        None,
        validate_default=True,
        description="Documents known from the start: a JSON object of ids and documents, or Apollo's manifest.",
    )

    @field_validator("allowed_origins")
    @classmethod
    def _as_browsers_say(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """As the browser would say them: pages and sockets are judged alike then."""
        try:
            origins = sorted(normalize_allowed_origins(value))
        except ValueError:
            origins = [""]
        if not all(origin and origin.isascii() for origin in origins):
            raise ValueError("must be origins such as https://app.example.com, or *")
        return tuple(origins)

    @field_validator("trusted_documents_file")
    @classmethod
    def _documents_to_trust(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None:
            documents.read(value)
        elif info.data.get("trusted_documents") is TrustedDocuments.ONLY:
            raise ValueError("must name a file: only its documents are run")
        return value

    @property
    def trusted(self) -> Trusted:
        path = self.trusted_documents_file
        listed = {} if path is None else documents.read(path)
        return Trusted(listed, only=self.trusted_documents is TrustedDocuments.ONLY)

    @property
    def limits(self) -> Limits:
        return Limits(
            sockets=self.socket_limit,
            sockets_per_user=self.socket_limit_per_user,
            subscriptions=self.subscription_limit,
            subscriptions_per_user=self.subscription_limit_per_user,
        )
