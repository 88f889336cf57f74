"""Operations run as the transport runs them, but for the wire."""

from __future__ import annotations

from typing import Any

import schema
from resolvers.access import Caller
from resolvers.context import Server
from schema.context import Context
from schema.http import Via

API = schema.build()


async def ask(server: Server, caller: Caller, document: str, **variables: Any) -> Any:
    """The data of an operation that has no errors."""
    result = await API.execute(document, variables, context_value=Context(server, caller, Via.POST))
    assert result.errors is None
    return result.data


async def refused(server: Server, caller: Caller, document: str, **variables: Any) -> tuple[str, str | None]:
    """The code and the field of the one error that an operation ends with."""
    return problem(await API.execute(document, variables, context_value=Context(server, caller, Via.POST)))


def problem(result: Any) -> tuple[str, str | None]:
    """The code and the field of the one error of a result."""
    assert result.errors is not None
    [error] = result.errors
    assert error.extensions is not None
    return error.extensions["code"], error.extensions.get("field")
