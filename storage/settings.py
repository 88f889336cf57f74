"""What can be set about keys and the database, and how settings spell lists. Reads no environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from storage import keys
from storage.engine import Database
from storage.keys import KeyFile
from storage.secrets import Vault

SHORTEST_SIGNING_KEY = 32  # characters: HMAC-SHA256 is as strong as 32 bytes


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


COMMA_SEPARATED = (NoDecode, BeforeValidator(_split))  # how a setting with several values is spelled


class StorageSettings(BaseModel):
    data_dir: Path = Field(Path("data"), description="Where keys and the embedded database are kept.")
    encryption_key: SecretStr | None = Field(
        None, description="What secrets are stored under: 32 bytes in Base64; `new,old` to rotate. Absent: a key file."
    )
    signing_key: SecretStr | None = Field(
        None, description="What tokens are signed with: 32 characters or more. Absent: a key file."
    )
    database_url: str | None = Field(None, description="`sqlite:///path` or `postgresql://...`; absent: embedded.")

    @field_validator("encryption_key")
    @classmethod
    def _known_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                keys.check(_listed(value))
            except ValueError:
                raise ValueError("must be 32 bytes in Base64; several, the newest first, comma separated") from None
        return value

    @field_validator("signing_key")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < SHORTEST_SIGNING_KEY:
            raise ValueError(f"must have {SHORTEST_SIGNING_KEY} characters at least")
        return value

    @field_validator("database_url")
    @classmethod
    def _known_engine(cls, value: str | None) -> str | None:
        if value is not None:
            Database(value)
        return value

    @property
    def given_keys(self) -> list[bytes]:
        """The encryption keys of the setting, the newest first; none where there is a key file instead."""
        return [] if self.encryption_key is None else _listed(self.encryption_key)

    @property
    def key_file(self) -> KeyFile:
        return KeyFile(self.data_dir / "encryption.key")

    def database(self) -> Database:
        """A closed one. Raises ValueError."""
        return Database(self.database_url or f"sqlite:///{self.data_dir / 'tocsin.db'}")

    def vault(self) -> Vault:
        """Raises OSError, WrongKey."""
        return Vault(*self.given_keys) if self.given_keys else Vault(file=self.key_file)

    def load_signing_key(self) -> bytes:
        """Raises OSError, WrongKey."""
        given = self.signing_key
        return keys.load_key(self.data_dir / "signing.key") if given is None else given.get_secret_value().encode()


def _listed(given: SecretStr) -> list[bytes]:
    return [key.strip().encode() for key in given.get_secret_value().split(",")]
