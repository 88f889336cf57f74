"""Encryption of secrets at rest. What is sealed here leaves only through `Vault.unseal`, towards a plugin."""

from __future__ import annotations

from typing import Any

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from storage.errors import WrongKey
from storage.keys import KeyFile

MASK = "********"  # what every reader sees of a secret; written back, it means "unchanged"


class Vault:
    """Seals JSON objects with Fernet (AES-128-CBC and HMAC-SHA256), whose tokens cannot be altered unnoticed.

    The first of its keys seals, all of them open. Those of a file are read anew whenever it has changed, so that
    servers follow while keys are rotated.
    """

    def __init__(self, *keys: bytes, file: KeyFile | None = None) -> None:
        """The keys, or the file that holds them. Raises OSError, WrongKey."""
        self._file = file
        self._use(keys if file is None else file.load())

    def seal(self, data: dict[str, Any]) -> bytes:
        self._follow()
        return self._all.encrypt(orjson.dumps(data))

    def unseal(self, sealed: bytes) -> dict[str, Any]:
        """The object that was sealed. Raises WrongKey."""
        self._follow()
        data: dict[str, Any] = orjson.loads(_opened(self._all, sealed))
        return data

    def resealed(self, sealed: bytes) -> bytes | None:
        """The same under the first key; None where it is under it already. Raises WrongKey."""
        self._follow()
        try:
            self._first.decrypt(sealed)
            return None
        except InvalidToken:
            return self._first.encrypt(_opened(self._all, sealed))

    def _use(self, keys: tuple[bytes, ...]) -> None:
        fernets = [Fernet(key) for key in keys]
        self._first, self._all = fernets[0], MultiFernet(fernets)

    def _follow(self) -> None:
        if self._file is not None and (keys := self._file.changed()):
            self._use(keys)


def _opened(ring: MultiFernet, sealed: bytes) -> bytes:
    try:
        return ring.decrypt(sealed)
    except InvalidToken as error:
        raise WrongKey("A stored secret cannot be read with this encryption key.") from error
