"""Where notifications lie: one number for an inbox and a sequence number of it, which sorts by both.

It is the key of their table. SQLite keeps a table in the order of such a key, so the rows of an inbox are on few pages,
where in the order of their creation each would be on another. 2^28 inboxes have room, with 2^35 changes each.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, literal

from storage.columns import Number

APART = 1 << 35  # the places of one inbox

# That of a row, by its other columns. Records of no inbox lie before all, and each has a content for itself.
SPELLED = f"CASE WHEN {{inbox_id}} IS NULL THEN -{{content_id}} ELSE {{inbox_id}} * {APART} + {{seq}} END"


def of(inbox_id: Any, seq: Any) -> Any:
    """Of numbers, or of columns."""
    return inbox_id * (APART if isinstance(inbox_id, int) else literal(APART, Number)) + seq


def within(place: Any, inbox_id: Any, *, after: int = 0, up_to: int = APART - 1) -> ColumnElement[bool]:
    """Whether a place is one of an inbox, between two sequence numbers. None of them leads to another inbox."""
    first, last = (of(inbox_id, min(max(seq, 0), APART - 1)) for seq in (after, up_to))
    is_within: ColumnElement[bool] = place.between(first + 1, last)
    return is_within
