"""What a caller can be told went wrong. Every class is one `extensions.code` of the API; its message is for people.

Messages never repeat a caller's values: they may be secrets.
"""

from __future__ import annotations


class Refused(Exception):
    """The base of every expected error. `field` is the path of the argument at fault, as the caller spells it."""

    code = "INTERNAL"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class Unauthenticated(Refused):
    """There is no bearer token, or it is not valid (any more)."""

    code = "UNAUTHENTICATED"


class PermissionDenied(Refused):
    """The caller's role may not do this, or not in this domain."""

    code = "PERMISSION_DENIED"


class NotFound(Refused):
    """There is no such thing, or it is not the caller's: the two look the same."""

    code = "NOT_FOUND"


class InvalidArgument(Refused):
    """An argument is missing, malformed, too long or contradicts another."""

    code = "INVALID_ARGUMENT"


class AlreadyExists(Refused):
    """The name, or the idempotency key with another body, is taken."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(Refused):
    """The request is well formed, but the present state does not allow it."""

    code = "FAILED_PRECONDITION"


class CursorExpired(Refused):
    """The stream's log no longer reaches back to this cursor: read the inbox anew."""

    code = "CURSOR_EXPIRED"


class Unavailable(Refused):
    """The server cannot answer now. Repeat the call, a write with the same idempotency key."""

    code = "UNAVAILABLE"
