"""Tells a caller what went wrong: every error becomes a code, the field at fault where it is known, and a message.

It must not repeat a value of the caller's, nor tell anything of an error that is the server's own.
"""

from __future__ import annotations

import re
import secrets
import traceback
from collections.abc import Sequence
from typing import Any

import structlog
from graphql import GraphQLError, GraphQLSyntaxError
from strawberry.exceptions import MissingQueryError, StrawberryInputCoercionError
from strawberry.schema.exceptions import CannotGetOperationTypeError

from resolvers.errors import InvalidArgument, Refused, Unavailable
from storage.errors import DatabaseUnavailable

# A connection may be lost during a commit: whether that was made, only the key can tell.
DATABASE_AWAY = "The database does not answer now. Repeat the call; a create or push with the same idempotency key."
MAX_MESSAGE_CHARACTERS = 500  # names in a document can be as long as the document

log = structlog.get_logger(__name__)


def presented(errors: Sequence[GraphQLError]) -> list[GraphQLError]:
    """The errors as a caller may see them. Those that are the server's own are logged under the id that is shown."""
    request_id = secrets.token_hex(8)
    return [_presented(error, request_id) for error in errors]


def of(exception: Exception) -> GraphQLError:
    """An exception that no document led to, as a caller may see it."""
    return _presented(GraphQLError(str(exception), original_error=exception), secrets.token_hex(8))


def coded(message: str, code: str, *, at: GraphQLError | None = None, **extensions: str | None) -> GraphQLError:
    """An error that is ready to be shown; `at` is the one whose place in the document and in the answer it takes."""
    known = {key: value for key, value in extensions.items() if value is not None}
    place: dict[str, Any] = {}
    if at is not None:
        place = {"nodes": at.nodes, "source": at.source, "positions": at.positions, "path": at.path}
    return GraphQLError(message, extensions={"code": code, **known}, **place)


def invalid(message: str, field: str | None, *, at: GraphQLError | None = None) -> GraphQLError:
    """A mistake of the caller's."""
    if len(message) > MAX_MESSAGE_CHARACTERS:
        message = message[:MAX_MESSAGE_CHARACTERS] + "…"
    return coded(message, InvalidArgument.code, at=at, field=field)


def cause(error: Exception) -> Exception:
    """What was raised first, under the errors that say where."""
    while isinstance(error, GraphQLError) and error.original_error is not None:
        error = error.original_error
    return error


def record(event: str, exception: Exception, **facts: str) -> None:
    """Log an error of ours: as text, because what formats exceptions may show every variable, tokens included."""
    log.error(event, exception="".join(traceback.format_exception(exception)), **facts)


def _presented(error: GraphQLError, request_id: str) -> GraphQLError:
    if "code" in (error.extensions or {}):
        return error
    raised = cause(error)
    if isinstance(raised, Refused):
        return coded(raised.message, raised.code, at=error, field=raised.field)
    if isinstance(raised, DatabaseUnavailable):
        log.error("database_unavailable", request_id=request_id)
        return coded(DATABASE_AWAY, Unavailable.code, at=error)
    return _mistake(error, raised) or _internal(error, raised, request_id)


def _internal(error: GraphQLError, raised: Exception, request_id: str) -> GraphQLError:
    record("request_failed", raised, request_id=request_id)
    message = f"Something went wrong here, not in your request. Request id: {request_id}"
    return coded(message, "INTERNAL", at=error, requestId=request_id)


def _mistake(error: GraphQLError, raised: Exception) -> GraphQLError | None:
    """The error, if it is the caller's: found by graphql-core or Strawberry before a resolver was called."""
    match raised:
        case MissingQueryError():
            return invalid("There is no query in the request.", "query", at=error)
        case CannotGetOperationTypeError():
            return invalid("The document has no operation of that name.", "operationName", at=error)
        case StrawberryInputCoercionError() if error.path:
            return invalid("A value is not allowed: where null is not, leave the field out.", None, at=error)
        case GraphQLError() if not error.path:  # with a path it comes from a scalar that could not write its value
            return _document_mistake(error)
    return None


_ARGUMENT_MISSING = re.compile(r"Argument '[^']*\((\w+):\)' of type")
_TOKEN_WITH_VALUE = re.compile(r"\b(String|BlockString|Int|Float|Comment) '.*'", re.DOTALL)


def _document_mistake(error: GraphQLError) -> GraphQLError:
    message = error.message
    if isinstance(error, GraphQLSyntaxError):
        message = _TOKEN_WITH_VALUE.sub(r"\1", message)
    if message == "Validation aborted.":
        message = (
            "The document is too costly to validate: fragments nested too deeply, or one field asked for too often."
        )
    if missing := _ARGUMENT_MISSING.match(message):
        return invalid(message, missing[1], at=error)
    about_variables = not error.nodes and "variable" in message.lower()
    return invalid(message, "variables" if about_variables else "query", at=error)
