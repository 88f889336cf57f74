"""The column types whose meaning must be the same on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import JSON, BigInteger, Dialect, Integer, LargeBinary, String, TypeDecorator
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import TypeEngine

MAX_SPELLED = 1_024
INT64 = range(-(2**63), 2**63)  # what a Number can be


class Text(TypeDecorator[str]):
    """Text that sorts by code point on both engines, as Python sorts it: lock order depends on that."""

    impl = String
    cache_ok = True

    @property
    def python_type(self) -> type[str]:
        return str

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return String(collation="C") if dialect.name == "postgresql" else String()


class UtcDateTime(TypeDecorator[datetime]):
    """An instant in UTC, to the millisecond. On SQLite the API's own spelling, which sorts by time."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return TIMESTAMP(timezone=True, precision=3) if dialect.name == "postgresql" else String(24)

    @property
    def python_type(self) -> type[datetime]:
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return value if value is None or dialect.name == "postgresql" else spelled(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return datetime.fromisoformat(value) if isinstance(value, str) else value.astimezone(UTC)


@lru_cache(MAX_SPELLED)
def spelled(value: datetime) -> str:
    """The API's spelling. What is written together has few instants, each in several rows."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


class Json(TypeDecorator[Any]):
    """JSON kept as the text that was written, so that what comes back is equal to what was given."""

    impl = JSON(none_as_null=True)
    cache_ok = True


class Number(TypeDecorator[int]):
    """A 64-bit integer; as a primary key the database's own sequence."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        # SQLite makes only INTEGER, not BIGINT, an alias of its row id.
        return BigInteger() if dialect.name == "postgresql" else Integer()


class Sealed(TypeDecorator[bytes]):
    """Bytes that only a `storage.secrets.Vault` can read."""

    impl = LargeBinary
    cache_ok = True


class EnumText(TypeDecorator[StrEnum]):
    """A `StrEnum` stored by value, so that a new value needs no migration."""

    impl = String
    cache_ok = True
    enum: type[StrEnum]

    @property
    def python_type(self) -> type[StrEnum]:
        return self.enum

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return String(24, collation="C") if dialect.name == "postgresql" else String(24)

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:
        return None if value is None else value.value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.enum(value)


def enum_text(enum: type[StrEnum]) -> type[EnumText]:
    """The column type that stores `enum`."""
    return type(f"{enum.__name__}Text", (EnumText,), {"enum": enum, "cache_ok": True})
