"""Keys in files: made on first use, whole or not at all, and readable by their owner alone. They seal nothing here."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cryptography.fernet import Fernet

from storage.errors import WrongKey

Keys = tuple[bytes, ...]


def load_key(path: Path) -> bytes:
    """The one key kept in this file. Raises OSError, WrongKey."""
    [key, *others] = KeyFile(path).load()
    if others:
        raise WrongKey(f"There is more than one key in {path}.")
    return key


def check(keys: Iterable[bytes]) -> Keys:
    """These keys, of which there must be one at least, and each 32 bytes as Base64. Raises ValueError."""
    known = tuple(keys)
    if not known:
        raise ValueError("There is no key.")
    for key in known:
        Fernet(key)
    return known


class KeyFile:
    """Keys, one to a line. The first is the newest, which seals; the others only open what they once sealed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, ...] = ()

    def load(self) -> Keys:
        """The keys, the first of them made where there is none. Raises OSError, WrongKey."""
        if not self.path.exists():
            self._make()
        self._seen = self._state()
        try:
            return check(self.path.read_bytes().split())
        except ValueError as error:
            raise WrongKey(f"What is in {self.path} is not a key.") from error

    def changed(self) -> Keys | None:
        """The keys if the file has changed since they were last asked for. One that cannot be read has not."""
        with suppress(OSError, WrongKey):
            if self._state() != self._seen:
                return self.load()
        return None

    def add(self) -> None:
        """Put a new key before the others. On disk before it can seal anything. Raises OSError, WrongKey."""
        self._replace([Fernet.generate_key(), *self.load()])

    def keep_first(self) -> None:
        """Forget all but the newest. Raises OSError, WrongKey."""
        self._replace(self.load()[:1])

    def _make(self) -> None:
        # Linked into place whole: of two processes that start at once, the second keeps the first one's key.
        draft = self._draft([Fernet.generate_key()])
        with suppress(FileExistsError):
            self.path.hardlink_to(draft)
        draft.unlink()
        self._sync_folder()

    def _replace(self, keys: Iterable[bytes]) -> None:
        self._draft(keys).replace(self.path)
        self._sync_folder()

    def _draft(self, keys: Iterable[bytes]) -> Path:
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)  # of a process that was killed, and had this number
        draft.touch(mode=0o600)
        with draft.open("wb") as file:
            file.writelines(key + b"\n" for key in keys)
            file.flush()
            os.fsync(file.fileno())
        return draft

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _state(self) -> tuple[int, ...]:
        stat = self.path.stat()
        return stat.st_ino, stat.st_mtime_ns, stat.st_size
