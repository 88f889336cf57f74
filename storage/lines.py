"""The next changes of inboxes, read together, with what they added: for those who follow logs, and who catches up.

What a change added is read as text (`storage.selected`): most of it goes on as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

import orjson
import sqlalchemy
from sqlalchemy import JSON, BigInteger, Boolean, Integer, Select, String, and_, cast, func, true, type_coerce
from sqlalchemy.sql.util import ClauseAdapter
from sqlmodel import col

from storage.columns import EnumText, Json, UtcDateTime
from storage.engine import Database
from storage.kept import Kind
from storage.models import Change, Content, Inbox, Notification
from storage.notifications import NotificationRow
from storage.selected import Row, Selected, by_name, row_class

# Each name once: of what a change added, the inbox and the number are the change's own.
_LINE: Mapping[str, Any] = {
    **by_name(Change.inbox_id, Change.seq, Change.kind, Change.notification_ids, Change.up_to, Change.origin_id),
    **by_name(Change.unread_count, Change.unseen_count, Inbox.generation, Inbox.last_seq),
    "marked_read": Change.is_read,
    **by_name(Notification.notification_id, Notification.parent_notification_id, Notification.content_id),
    **by_name(Notification.user_id, Notification.project_id, Notification.domain_id, Notification.is_read),
    **by_name(Notification.read_at, Notification.decisions, Notification.created_by, Notification.created_at),
}
_CONTENT = by_name(Content.topic, Content.message, Content.notification_type, Content.notification_level)
_OF_LINE, _OF_CONTENT = (Selected(frozenset(known), as_text=True) for known in (_LINE, _CONTENT))
_NAMES = (*sorted(_LINE), *sorted(_CONTENT))
_INBOX_ID, _SEQ, _KIND, _CONTENT_ID = map(_NAMES.index, ("inbox_id", "seq", "kind", "content_id"))

# Where in what a change added each attribute of a notification is, and its text.
POSITIONS: Mapping[str, int] = {name: position for position, name in enumerate(_NAMES)}
_Added = row_class(NotificationRow, tuple, _NAMES)


class Line(Row):
    """A change with the attributes of its row, but `marked_read` for `is_read`, and how its inbox stands."""

    __slots__ = ()

    @property
    def ids(self) -> list[str]:
        """The notifications that it marked or removed."""
        return orjson.loads(self.notification_ids) if self.notification_ids else []


class Found:
    """What was read of many inboxes."""

    def __init__(self, rows: Sequence[Line], contents: Mapping[int, Sequence[Any]]) -> None:
        self._contents = contents
        self._lines: dict[int, list[Line]] = {}  # by inbox
        for row in rows:
            self._lines.setdefault(row[_INBOX_ID], []).append(row)

    def of(self, inbox_id: int) -> Sequence[Line]:
        """The oldest first."""
        lines = self._lines.get(inbox_id, [])
        if len(lines) > 1:
            lines.sort(key=itemgetter(_SEQ))
        return lines

    def of_kind(self, kind: str) -> list[Line]:
        """Of all inboxes."""
        return [line for lines in self._lines.values() for line in lines if line[_KIND] == kind]

    def added(self, line: Line) -> NotificationRow | None:
        """What a change added, as text; None where that is gone, be it just now, or where it added nothing."""
        content = self._contents.get(line[_CONTENT_ID])
        return None if content is None else _Added((*line, *content))


async def after(database: Database, seqs: Mapping[int, int], *, limit: int) -> Found:
    """The next changes of inboxes, each after a sequence number of its own. Raises DatabaseUnavailable."""
    dialect = "sqlite" if database.is_sqlite else "postgresql"
    rows = await database.rows(_LINES, [_spelled(seqs.items()), limit], dialect)
    ids = {row[_CONTENT_ID] for row in rows} - {None}
    contents = await database.rows(_CONTENTS, [_spelled(ids)], dialect) if ids else ()
    return Found(rows, {content_id: content for *content, content_id in contents})


def with_values(added: NotificationRow) -> NotificationRow:
    """The same row with values for texts."""
    pairs = zip(added, _VALUES, strict=True)
    row: NotificationRow = _Added([value if value is None or make is None else make(value) for value, make in pairs])
    return row


def _value(column: Any) -> Any:
    """What makes a value of the column's text; None where it is one."""
    if isinstance(column.type, Json):
        return orjson.loads
    if isinstance(column.type, UtcDateTime):
        return datetime.fromisoformat
    if isinstance(column.type, EnumText):
        return column.type.enum
    return bool if isinstance(column.type, Boolean) else None


_VALUES = [_value({**_LINE, **_CONTENT}[name]) for name in _NAMES]


def _lines(dialect: str, places: Any, limit: Any) -> Select[Any]:
    """`places`: pairs of an inbox's id and a sequence number, as JSON."""
    place = _each(dialect, places, 2)
    within = and_(
        col(Change.inbox_id) == place.c[0], col(Change.seq) > place.c[1], col(Change.seq) <= place.c[1] + limit
    )
    few: Any = Change.__table__  # type: ignore[attr-defined]
    if dialect == "postgresql":  # which would else lead to all changes of the inbox, and look which of them are meant
        few, within = sqlalchemy.select(few).where(within).offset(0).lateral("few"), true()
    said = (col(Notification.notification_id) == few.c.notification_id) & (col(Notification.inbox_id) == few.c.inbox_id)
    statement: Any = (
        sqlalchemy.select(*map(ClauseAdapter(few).traverse, _OF_LINE.columns(_LINE)))
        .select_from(place)
        .join(Inbox, col(Inbox.inbox_id) == place.c[0])
        .join(few, within)
        .outerjoin(Notification, said)
    )
    return statement  # type: ignore[no-any-return]


def _contents(dialect: str, content_ids: Any) -> Select[Any]:
    """What was said to many is read once."""
    each = _each(dialect, content_ids, 1)
    columns = *_OF_CONTENT.columns(_CONTENT), col(Content.content_id)
    return sqlalchemy.select(*columns).select_from(each).join(Content, col(Content.content_id) == each.c[0])


_LINES = Kind(_lines, lambda *_given: "sqlite_autoindex_change_1", Line)
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
