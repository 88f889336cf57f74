"""The API's own scalars: how a value is read from a request and written into an answer.

It must not decide what a value means: a cursor is checked by the stream or list it belongs to.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any, NewType

import strawberry
from graphql import FloatValueNode, IntValueNode, ValueNode, Visitor, value_from_ast_untyped, visit
from strawberry.scalars import JSON as JSON
from strawberry.types.scalar import ScalarDefinition

from resolvers.errors import InvalidArgument
from schema import limits
from storage import columns

Cursor = NewType("Cursor", str)

# RFC 3339 with the offset it requires. Leap seconds are left out: nothing here could hold one.
_RFC_3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]((?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])(?:\.([0-9]+))?"
    r"([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)


def read_time(value: object) -> datetime:
    """The moment in UTC, cut to the millisecond. Raises InvalidArgument, also for a time without an offset."""
    found = _RFC_3339.fullmatch(value) if isinstance(value, str) else None
    try:
        if found is None:
            raise ValueError
        date, time, fraction, offset = found.groups()
        local = datetime.fromisoformat(f"{date}T{time}.{(fraction or '')[:3]:0<3}{offset.upper()}")
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument("this is not a time with its offset, such as 2026-01-31T17:12:40.990Z") from None


def write_time(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise TypeError("a time without an offset does not say when it is")
    return columns.spelled(moment)


def _read_cursor(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidArgument("this is not a cursor: pass one back as it was given")
    return value


def _as_it_is(value: Any) -> Any:
    return value


def _read_json_literal(node: ValueNode, variables: dict[str, Any] | None = None) -> Any:
    """JSON written in the document itself, held to the same numbers as JSON in variables."""
    visit(node, _Numbers())
    return value_from_ast_untyped(node, variables)


class _Numbers(Visitor):
    def enter_int_value(self, node: IntValueNode, *_args: Any) -> None:
        if len(node.value) > limits.MAX_INTEGER_DIGITS:
            raise InvalidArgument(f"this holds an integer of more than {limits.MAX_INTEGER_DIGITS} digits")

    def enter_float_value(self, node: FloatValueNode, *_args: Any) -> None:
        if math.isinf(float(node.value)):
            raise InvalidArgument("this holds a number that no double can hold")


# Passed to StrawberryConfig(scalar_map=...): `datetime`, `JSON` and `Cursor` in annotations are these scalars.
MAP: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="A moment: RFC 3339 in UTC with milliseconds, such as 2026-01-31T17:12:40.990Z. "
        "Any offset is read, none is refused, and what is finer than a millisecond is cut off.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=write_time,
        parse_value=read_time,
    ),
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value. What comes back is equal to what was given.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc8259",
        serialize=_as_it_is,
        parse_value=_as_it_is,
        parse_literal=_read_json_literal,
    ),
    Cursor: strawberry.scalar(
        name="Cursor",
        description="A position in a list, in the changes of an inbox or a project, or in a domain's feed, to be "
        "passed back as it was given. The three are different kinds, and none can be made up.",
        serialize=_as_it_is,
        parse_value=_read_cursor,
    ),
}
