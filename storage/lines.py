"""The next changes of inboxes, read together, with what they added: for those who follow logs, and who catches up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import orjson
import sqlalchemy
from sqlalchemy import JSON, BigInteger, Integer, Select, String, and_, cast, func, true, type_coerce
from sqlalchemy.sql.util import ClauseAdapter
from sqlmodel import col

from storage import added_rows, places
from storage.engine import Database
from storage.kept import Kind
from storage.models import Change, Content, Inbox, Notification
from storage.notifications import NotificationRow
from storage.selected import Row, Selected

_NAMES = tuple(added_rows.OF_LINE)
_INBOX_ID, _SEQ, _KIND, _CONTENT_ID = map(_NAMES.index, ("inbox_id", "seq", "kind", "content_id"))


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
        return None if content is None else added_rows.row((*line, *content))


async def after(database: Database, seqs: Mapping[int, int], *, limit: int) -> Found:
    """The next changes of inboxes, each after a sequence number of its own. Raises DatabaseUnavailable."""
    dialect = "sqlite" if database.is_sqlite else "postgresql"
    rows = await database.rows(_LINES, [_spelled(seqs.items()), limit], dialect)
    ids = {row[_CONTENT_ID] for row in rows} - {None}
    contents = await database.rows(_CONTENTS, [_spelled(ids)], dialect) if ids else ()
    return Found(rows, {content_id: content for *content, content_id in contents})


def _lines(dialect: str, positions: Any, limit: Any) -> Select[Any]:
    """`positions`: pairs of an inbox's id and a sequence number, as JSON."""
    position = _each(dialect, positions, 2)
    within = and_(
        col(Change.inbox_id) == position.c[0], col(Change.seq) > position.c[1], col(Change.seq) <= position.c[1] + limit
    )
    few: Any = Change.__table__  # type: ignore[attr-defined]
    if dialect == "postgresql":  # which would else lead to all changes of the inbox, and look which of them are meant
        few, within = sqlalchemy.select(few).where(within).offset(0).lateral("few"), true()
    added = col(Notification.place) == places.of(few.c.inbox_id, few.c.seq)
    statement: Any = (
        sqlalchemy.select(*[ClauseAdapter(few).traverse(column) for column in _as_text(added_rows.OF_LINE)])
        .select_from(position)
        .join(Inbox, col(Inbox.inbox_id) == position.c[0])
        .join(few, within)
        .outerjoin(Notification, added)
    )
    return statement  # type: ignore[no-any-return]


def _contents(dialect: str, content_ids: Any) -> Select[Any]:
    """What was said to many is read once."""
    each = _each(dialect, content_ids, 1)
    columns = *_as_text(added_rows.OF_CONTENT), col(Content.content_id)
    return sqlalchemy.select(*columns).select_from(each).join(Content, col(Content.content_id) == each.c[0])


def _as_text(known: Mapping[str, Any]) -> list[Any]:
    """The columns, in this order."""
    spelled = {column.key: column for column in Selected(frozenset(known), as_text=True).columns(known)}
    return [spelled[name] for name in known]


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
