"""What a change added to an inbox, as one row of text: of which columns, and put together of what was just written.

Most of it goes on as it is, so no values are made of the texts (`storage.selected` says how each is spelled).
`storage.lines` reads such rows; a row of what this or another process has just committed is the same without reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from zlib import crc32

import orjson
from sqlalchemy import Boolean

from storage.columns import EnumText, Json, UtcDateTime, spelled
from storage.creations import NewNotification
from storage.models import Change, ChangeKind, Content, Inbox, Notification
from storage.notifications import NotificationRow
from storage.selected import by_name, row_class

# Each name once: of what a change added, the inbox and the number are the change's own. First what differs between
# those who were told the same, then what they have in common; `own` and `shared` give values in this order.
_OWN: Mapping[str, Any] = {
    **by_name(Change.inbox_id, Change.seq, Change.unread_count, Change.unseen_count),
    **by_name(Inbox.generation, Inbox.last_seq),
    **by_name(Notification.notification_id, Notification.user_id, Notification.decisions),
}
_OF_CHANGE: Mapping[str, Any] = {
    **by_name(Change.kind, Change.notification_ids, Change.up_to, Change.origin_id),
    "marked_read": Change.is_read,
    **by_name(Notification.is_read, Notification.read_at, Notification.parent_notification_id),
    **by_name(Notification.project_id, Notification.domain_id, Notification.created_by, Notification.created_at),
    **by_name(Notification.content_id),
}
OF_LINE = {**_OWN, **_OF_CHANGE}
OF_CONTENT = by_name(Content.topic, Content.message, Content.notification_type, Content.notification_level)
_COLUMNS = {**OF_LINE, **OF_CONTENT}

POSITIONS: Mapping[str, int] = {name: position for position, name in enumerate(_COLUMNS)}  # of each text in a row
FORM = crc32(" ".join(_COLUMNS).encode())  # what another version sends may be of another one
MAX_SENT_CHARACTERS = 16_384  # of a message, which may come to processes where nobody listens

_Added = row_class(NotificationRow, tuple, tuple(_COLUMNS))


def row(texts: Iterable[Any]) -> NotificationRow:
    """Of all columns, in order."""
    added: NotificationRow = _Added(texts)
    return added


def own(new: NewNotification) -> list[Any]:
    """What each of those who are told the same has of its own: JSON, to be sent to other processes."""
    assert new.inbox
    inbox_id, generation, seq, unread, unseen = new.inbox
    return [inbox_id, seq, unread, unseen, generation, seq, new.notification_id, new.user_id, _json(new.decisions)]


def shared(new: NewNotification) -> list[Any] | None:
    """What they have in common, with the form of the row at its end: JSON; None where it is too long to be sent."""
    what, message = new.content, _json(new.content.message)
    if len(message) > MAX_SENT_CHARACTERS:
        return None
    of_kind = [ChangeKind.ADDED.value, None, None, None, None, False, None, new.parent_notification_id]
    of_create = [new.project_id, new.domain_id, new.created_by, spelled(new.created_at), what.content_id]
    said = [what.topic, message, what.notification_type.value, what.notification_level.value]
    return [*of_kind, *of_create, *said, FORM]


def received(shared: Any, own: Any) -> NotificationRow | None:
    """The row of what was sent; None where that is of another form."""
    try:
        texts = (*own, *shared)
    except TypeError:
        return None
    return row(texts[:-1]) if texts[-1:] == (FORM,) and len(texts) == len(_COLUMNS) + 1 else None


def with_values(added: NotificationRow) -> NotificationRow:
    """The same row with values for texts."""
    pairs = zip(added, _VALUES, strict=True)
    return row(value if value is None or make is None else make(value) for value, make in pairs)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _value(column: Any) -> Any:
    """What makes a value of the column's text; None where it is one."""
    if isinstance(column.type, Json):
        return orjson.loads
    if isinstance(column.type, UtcDateTime):
        return datetime.fromisoformat
    if isinstance(column.type, EnumText):
        return column.type.enum
    return bool if isinstance(column.type, Boolean) else None


_VALUES = [_value(column) for column in _COLUMNS.values()]
