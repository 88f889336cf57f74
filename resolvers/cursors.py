"""The spelling of positions: opaque to clients, checked when they come back. Three kinds, never one for the other.

A list cursor names an order and a row's values in it; a stream cursor names an inbox, or a project's feed, its
generation and a sequence number; a feed cursor names a domain, the generation of its feed and a position there. All
carry a checksum, so that a cut or altered one is told from an old one.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from resolvers import checks
from resolvers.errors import CursorExpired, InvalidArgument
from storage import columns
from storage.models import Inbox
from storage.paging import Order, Position, SortKey, position
from storage.selected import Row

CHECKSUM_BYTES = 6
LIST, STREAM, FEED = "l", "s", "f"


class StreamCursor(NamedTuple):
    inbox_id: int
    generation: int
    seq: int


BEGINNING = StreamCursor(0, 0, 0)  # of an inbox that did not exist when its owner asked for it


@dataclass(frozen=True, slots=True)
class FeedCursor:
    domain_id: str
    generation: int
    number: int
    content_id: int


def for_row(row: Any, order: Order) -> str:
    """The list cursor of a row in this order."""
    return _encode([LIST, _signature(order), *map(_plain, order, position(row, order))])


def list_position(cursor: str, order: Order, *, field: str) -> Position:
    """The position that a list cursor of this order names. Raises InvalidArgument."""
    kind, *parts = _decode(cursor, field)
    if kind != LIST:
        raise InvalidArgument("This is a stream's cursor, not a list's.", field=field)
    if parts[:1] != [_signature(order)] or len(parts) != len(order) + 1:
        raise InvalidArgument("This cursor belongs to another list or another order.", field=field)
    try:
        return tuple(_rich(value, key, field) for value, key in zip(parts[1:], order, strict=True))
    except (TypeError, ValueError) as error:
        raise _not_ours(field) from error


def for_stream(position: StreamCursor) -> str:
    return _encode([STREAM, position.inbox_id, position.generation, position.seq])


def stream_position(cursor: str, *, field: str) -> StreamCursor:
    """The position that a stream cursor names. Raises InvalidArgument."""
    kind, *parts = _decode(cursor, field)
    if kind != STREAM:
        raise InvalidArgument("This is a cursor of another kind: a list's, or a domain's feed's.", field=field)
    if len(parts) != 3 or not all(type(part) is int and part >= 0 for part in parts):
        raise _not_ours(field)
    return StreamCursor(*parts)


def for_feed(position: FeedCursor) -> str:
    return _encode([FEED, *astuple(position)])


def feed_position(cursor: str, *, field: str) -> FeedCursor:
    """The position that a cursor of a domain's feed names. Raises InvalidArgument."""
    kind, *parts = _decode(cursor, field)
    if kind != FEED:
        raise InvalidArgument("This is a cursor of another kind, not of a domain's feed.", field=field)
    if len(parts) != 4 or not all(type(part) is int and part in columns.INT64 for part in parts[1:]):
        raise _not_ours(field)
    return FeedCursor(*parts)


def seq_within(inbox: Inbox | Row | None, position: StreamCursor, *, field: str) -> int:
    """The sequence number that a stream cursor names in this inbox. Raises InvalidArgument, CursorExpired."""
    if position == BEGINNING:
        return 0
    if inbox is None or position.inbox_id != inbox.inbox_id:
        raise InvalidArgument("This cursor belongs to another inbox.", field=field)
    if position.generation != inbox.generation or position.seq > inbox.last_seq:
        raise CursorExpired("This inbox has started anew since: read it again.", field=field)
    return position.seq


@lru_cache
def _signature(order: Order) -> str:
    return ",".join(f"{'-' if key.descending else ''}{key.name}" for key in order)


def _plain(key: SortKey, value: Any) -> Any:
    # A list marks an instant, which JSON has no type for. A row that was read as text has it spelled already.
    if not key.is_instant:
        return value
    return [value if isinstance(value, str) else columns.spelled(value)]


def _rich(value: Any, key: SortKey, field: str) -> Any:
    """Raises TypeError, ValueError, InvalidArgument for what no row has under this key."""
    kind = key.column.type.python_type
    if kind is int:
        if type(value) is not int or value not in columns.INT64:
            raise TypeError("not an integer")
        return value
    if kind is not datetime:
        if not isinstance(value, str):
            raise TypeError("not a text")
        return kind(checks.storable(value, field))
    [spelled] = value
    instant = datetime.fromisoformat(spelled)
    if instant.tzinfo != UTC:
        raise ValueError("an instant is kept in UTC")
    return instant


def _encode(parts: list[Any]) -> str:
    body = orjson.dumps(parts)
    return _spelled(_checksum(body) + body)


def _decode(cursor: str, field: str) -> list[Any]:
    try:
        raw = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise _not_ours(field) from error
    checksum, body = raw[:CHECKSUM_BYTES], raw[CHECKSUM_BYTES:]
    if checksum != _checksum(body) or _spelled(raw) != cursor:  # base64 has several spellings of the last letter
        raise _not_ours(field)
    # The checksum is no secret: whoever has read this can seal what we would not.
    try:
        parts = orjson.loads(body)
    except ValueError as error:
        raise _not_ours(field) from error
    if not isinstance(parts, list) or not parts:
        raise _not_ours(field)
    return parts


def _not_ours(field: str) -> InvalidArgument:
    return InvalidArgument("This is not a cursor of this server.", field=field)


def _spelled(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2s(body, digest_size=CHECKSUM_BYTES, person=b"tocsin").digest()
