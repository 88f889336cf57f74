"""The next changes of many inboxes, read together, with what they added: for those who follow logs as they grow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
import sqlalchemy
from sqlalchemy import JSON, BigInteger, Integer, Select, String, cast, func, type_coerce
from sqlalchemy.types import NULLTYPE
from sqlmodel import col

from storage.engine import Database
from storage.kept import Kind
from storage.models import Change, ChangeKind, Content, Inbox, Notification


def _raw(*columns: Any) -> list[Any]:
    """As the driver has them: there are thousands, and most of their values are the same."""
    return [type_coerce(col(column), NULLTYPE).label(column.key) for column in columns]


_LINE: Sequence[Any] = [
    *_raw(Change.inbox_id, Change.seq, Change.kind, Change.notification_ids, Change.is_read, Change.up_to),
    *_raw(Change.unread_count, Change.unseen_count, Change.origin_id, Inbox.generation, Inbox.last_seq),
    *_raw(Notification.notification_id, Notification.domain_id, Notification.content_id, Notification.user_id),
    *_raw(Notification.project_id, Notification.parent_notification_id, Notification.is_read),
    *_raw(Notification.read_at, Notification.decisions, Notification.created_by, Notification.created_at),
]


class Place(NamedTuple):
    """The inbox that a notification is in, as far as its cursor names it."""

    inbox_id: int
    generation: int


@dataclass(frozen=True, slots=True)
class Added:
    """A notification that a change added, with the attributes of its row."""

    seq: int
    inbox: Place
    content: Any  # plain, with the attributes of a Content
    notification_id: str
    domain_id: str
    content_id: int
    user_id: str | None
    project_id: str | None
    parent_notification_id: str | None
    is_read: bool
    read_at: datetime | None
    decisions: list[Any]
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """A change with the attributes of its row, how its inbox stands, and what the change added, if that exists."""

    added: Any  # an Added, as a Notification's row
    inbox_id: int
    seq: int
    kind: ChangeKind
    notification_ids: list[str] | None
    is_read: bool | None
    up_to: int | None
    unread_count: int
    unseen_count: int
    origin_id: str | None
    generation: int
    last_seq: int


_CONTENT: Sequence[Any] = (
    *map(col, (Content.content_id, Content.topic, Content.message)),
    *map(col, (Content.notification_type, Content.notification_level)),
)
_SEQ, _KIND, _OF_CHANGE = 1, 2, 11  # of _LINE
_CONTENT_ID = _OF_CHANGE + 2
_KINDS = {kind.value: kind for kind in ChangeKind}


class Found:
    """What was read of many inboxes. The lines of each are made when they are asked for.

    Thousands at a time would be looked through again and again by the garbage collector, with all else that there is.
    """

    def __init__(self, rows: Sequence[Any], contents: Mapping[int, Any]) -> None:
        self._contents = contents
        self._rows: dict[int, list[Any]] = {}  # by inbox
        for row in rows:
            self._rows.setdefault(row[0], []).append(row)

    def of(self, inbox_id: int) -> list[Line]:
        """The oldest first."""
        rows = sorted(self._rows.get(inbox_id, ()), key=itemgetter(_SEQ))
        return [_line(row, self._contents) for row in rows]

    def of_kind(self, kind: ChangeKind) -> list[Line]:
        """Of all inboxes."""
        rows = (row for rows in self._rows.values() for row in rows if row[_KIND] == kind.value)
        return [_line(row, self._contents) for row in rows]


async def after(database: Database, seqs: Mapping[int, int], *, limit: int) -> Found:
    """The next changes of many inboxes, each after a sequence number of its own. Raises DatabaseUnavailable."""
    dialect = "sqlite" if database.is_sqlite else "postgresql"
    rows = await database.rows(_LINES, [_spelled(seqs.items()), limit], dialect)
    ids = {row[_CONTENT_ID] for row in rows} - {None}
    contents = await database.rows(_CONTENTS, [_spelled(ids)], dialect) if ids else ()
    found = {row.content_id: row for row in contents}
    return Found(rows, found)


def _lines(dialect: str, places: Any, limit: Any) -> Select[Any]:
    """`places`: pairs of an inbox's id and a sequence number, as JSON."""
    place = _each(dialect, places, 2)
    statement: Any = (
        sqlalchemy.select(*_LINE)
        .select_from(place)
        .join(Inbox, col(Inbox.inbox_id) == place.c[0])
        .join(Change, col(Change.inbox_id) == place.c[0])
        .outerjoin(
            Notification,
            (col(Notification.notification_id) == col(Change.notification_id))
            & (col(Notification.inbox_id) == col(Change.inbox_id)),
        )
        .where(col(Change.seq) > place.c[1], col(Change.seq) <= place.c[1] + limit)
    )
    return statement  # type: ignore[no-any-return]


def _contents(dialect: str, content_ids: Any) -> Select[Any]:
    """What was said to many is read once."""
    each = _each(dialect, content_ids, 1)
    return sqlalchemy.select(*_CONTENT).select_from(each).join(Content, col(Content.content_id) == each.c[0])


_LINES = Kind(_lines, lambda *_given: "sqlite_autoindex_change_1")
_CONTENTS = Kind(_contents, lambda *_given: "content")


def _spelled(numbers: Iterable[Any]) -> str:
    return orjson.dumps(list(numbers)).decode()


def _each(dialect: str, spelled: Any, columns: int) -> Any:
    """A row for each element of a JSON array, which is a number or an array of so many."""
    if dialect == "postgresql":
        element: Any = func.json_array_elements(cast(spelled, JSON)).column_valued("element")
        parts = [element.op("->")(number) for number in range(columns)] if columns > 1 else [element]
        read: list[Any] = [cast(cast(part, String), BigInteger) for part in parts]
    else:
        element = func.json_each(spelled).table_valued("value").c.value
        parts = [func.json_extract(element, f"$[{number}]") for number in range(columns)] if columns > 1 else [element]
        read = [type_coerce(part, Integer) for part in parts]
    return sqlalchemy.select(*(part.label(f"number_{number}") for number, part in enumerate(read))).subquery("each")


def _line(row: Sequence[Any], contents: Mapping[int, Any]) -> Line:
    inbox_id, seq, kind, ids, is_read, *counts, generation, last_seq = row[:_OF_CHANGE]
    content = contents.get(row[_CONTENT_ID])  # none of what is gone, be it just now
    added = None if content is None else _added(row[_OF_CHANGE:], seq, Place(inbox_id, generation), content)
    what = inbox_id, seq, _KINDS[kind], _json(ids), None if is_read is None else bool(is_read)
    values: list[Any] = [added, *what, *counts, generation, last_seq]
    return Line(*values)


def _added(row: Sequence[Any], seq: int, inbox: Place, content: Any) -> Added:
    *ids, is_read, read_at, decisions, created_by, created_at = row
    said = bool(is_read), read_at and _moment(read_at), _json(decisions), created_by, _moment(created_at)
    values: list[Any] = [seq, inbox, content, *ids, *said]
    return Added(*values)


def _json(value: Any) -> Any:
    """A list: text on SQLite."""
    return orjson.loads(value) if isinstance(value, str) else value


def _moment(value: Any) -> datetime:
    return _spelled_moment(value) if isinstance(value, str) else value.astimezone(UTC)


_spelled_moment = lru_cache(1_024)(datetime.fromisoformat)
