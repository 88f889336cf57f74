"""The spelling of positions: opaque to clients, checked when they come back. Two kinds, never one for the other.

A list cursor names an order and a row's values in it; a stream cursor names an inbox, its generation and a sequence
number. Both carry a checksum, so that a cut or altered one is told from an old one.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from resolvers.errors import CursorExpired, InvalidArgument
from storage.models import Inbox
from storage.paging import Order, Position, position

CHECKSUM_BYTES = 6
LIST, STREAM = "l", "s"


@dataclass(frozen=True, slots=True)
class StreamCursor:
    inbox_id: int
    generation: int
    seq: int


BEGINNING = StreamCursor(0, 0, 0)  # of an inbox that did not exist when its owner asked for it


def for_row(row: Any, order: Order) -> str:
    """The list cursor of a row in this order."""
    return _encode([LIST, _signature(order), *map(_plain, position(row, order))])


def list_position(cursor: str, order: Order, *, field: str) -> Position:
    """The position that a list cursor of this order names. Raises InvalidArgument."""
    kind, *parts = _decode(cursor, field)
    if kind != LIST:
        raise InvalidArgument("This is a stream's cursor, not a list's.", field=field)
    if parts[:1] != [_signature(order)] or len(parts) != len(order) + 1:
        raise InvalidArgument("This cursor belongs to another list or another order.", field=field)
    return tuple(_rich(value) for value in parts[1:])


def for_stream(position: StreamCursor) -> str:
    return _encode([STREAM, position.inbox_id, position.generation, position.seq])


def stream_position(cursor: str, *, field: str) -> StreamCursor:
    """The position that a stream cursor names. Raises InvalidArgument."""
    kind, *parts = _decode(cursor, field)
    if kind != STREAM or len(parts) != 3:
        raise InvalidArgument("This is a list's cursor, not a stream's.", field=field)
    return StreamCursor(*parts)


def seq_within(inbox: Inbox | None, position: StreamCursor, *, field: str) -> int:
    """The sequence number that a stream cursor names in this inbox. Raises InvalidArgument, CursorExpired."""
    if position == BEGINNING:
        return 0
    if inbox is None or position.inbox_id != inbox.inbox_id:
        raise InvalidArgument("This cursor belongs to another inbox.", field=field)
    if position.generation != inbox.generation or position.seq > inbox.last_seq:
        raise CursorExpired("This inbox has started anew since: read it again.", field=field)
    return position.seq


def _signature(order: Order) -> str:
    return ",".join(f"{'-' if key.descending else ''}{key.name}" for key in order)


def _plain(value: Any) -> Any:
    # A list marks an instant, which JSON has no type for.
    return [value.isoformat()] if isinstance(value, datetime) else value


def _rich(value: Any) -> Any:
    return datetime.fromisoformat(value[0]) if isinstance(value, list) else value


def _encode(parts: list[Any]) -> str:
    body = orjson.dumps(parts)
    return _spelled(_checksum(body) + body)


def _decode(cursor: str, field: str) -> list[Any]:
    try:
        raw = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise InvalidArgument("This is not a cursor of this server.", field=field) from error
    checksum, body = raw[:CHECKSUM_BYTES], raw[CHECKSUM_BYTES:]
    if checksum != _checksum(body) or _spelled(raw) != cursor:  # base64 has several spellings of the last letter
        raise InvalidArgument("This is not a cursor of this server.", field=field)
    parts: list[Any] = orjson.loads(body)
    return parts


def _spelled(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2s(body, digest_size=CHECKSUM_BYTES, person=b"tocsin").digest()
