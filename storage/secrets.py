"""Encryption of secrets at rest. What is sealed here leaves only through `Vault.unseal`, towards a plugin."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
from cryptography.fernet import Fernet, InvalidToken

from storage.errors import WrongKey

MASK = "********"  # what every reader sees of a secret; written back, it means "unchanged"


class Vault:
    """Seals JSON objects with Fernet (AES-128-CBC and HMAC-SHA256), whose tokens cannot be altered unnoticed."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(key)

    def seal(self, data: dict[str, Any]) -> bytes:
        return self._fernet.encrypt(orjson.dumps(data))

    def unseal(self, sealed: bytes) -> dict[str, Any]:
        """The object that was sealed. Raises WrongKey."""
        try:
            data: dict[str, Any] = orjson.loads(self._fernet.decrypt(sealed))
        except InvalidToken as error:
            raise WrongKey("A stored secret cannot be read with this encryption key.") from error
        return data


def load_key(path: Path) -> bytes:
    """The key kept in this file, made on first use and readable by its owner alone. Raises OSError, WrongKey."""
    if not path.exists():
        _write_once(path, Fernet.generate_key())
    key = path.read_bytes().strip()
    try:
        Fernet(key)
    except ValueError as error:
        raise WrongKey(f"What is in {path} is not a key.") from error
    return key


def _write_once(path: Path, key: bytes) -> None:
    # Linked into place whole: of two processes that start at once, the second keeps the first one's key.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_bytes(key + b"\n")
    with suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()
