"""What the database can do to its callers, without a driver's name in it."""

from __future__ import annotations


class StorageError(Exception):
    """The base of what leaves this package besides rows."""


class DatabaseUnavailable(StorageError):
    """The database did not answer, or was lost during a commit whose fate is unknown."""


class TooCostly(StorageError):
    """A question took longer, or is larger, than what is spent on one."""


class DatabaseNewer(StorageError):
    """The database was written by a newer version of this server."""


class WrongKey(StorageError):
    """A stored secret was sealed with another encryption key."""
