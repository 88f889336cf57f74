"""Whether what one client had is its inbox's log: each change once, in order, exact, and nothing left out for nothing.

Left out may be what the client's filter does not take, and what was gone when the log was read: an Added, a Read.
Without one of those reasons a change that is passed over is a Difference, as is a restart that nothing called for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from resolvers import cursors
from resolvers.cursors import BEGINNING, StreamCursor
from resolvers.events import EventKind
from resolvers.streams import StreamFilter
from storage.models import Change, ChangeKind
from tests.chaos.streams.history import Difference, History
from tests.chaos.streams.told import Began, Entry, Expired, Moved, Row, Standing, Told


def compare(
    entries: Sequence[Entry],
    history: History,
    rows: Mapping[str, Row],
    *,
    wanted: StreamFilter,
    only_added: bool,
    to: int,
) -> None:
    """Raises Difference. `rows` are all that anybody has seen, `to` is how far the client must have come."""
    walk = _Walk(history, rows, wanted, only_added)
    for entry in entries:
        walk.take(entry)
    walk.end(to)


class _Walk:
    """The client's way through the log. Its position is None while it is for the first event to say."""

    def __init__(self, history: History, rows: Mapping[str, Row], wanted: StreamFilter, only_added: bool) -> None:
        self._history = history
        self._rows = rows
        self._wanted = wanted
        self._only_added = only_added
        self._position: StreamCursor | None = BEGINNING
        self._at_least = 0  # what came up to here was there before the client asked for what is new
        self._has_expired = True  # at the start it may begin anywhere

    def take(self, entry: Entry) -> None:
        match entry.what:
            case Told():
                self._told(entry.what, entry.moment)
            case Standing():
                self._stood(entry.what)
            case Moved():
                self._pass_to(_position(entry.what.cursor), entry.moment)
            case Expired():
                self._expire(entry.moment)
            case Began():
                self._begin(entry.what)

    def end(self, to: int) -> None:
        if self._position is None or self._position.seq < to:
            raise Difference(f"it ended at {self._position}, and should have come to {to}")

    def _begin(self, began: Began) -> None:
        if not self._has_expired:
            raise Difference("it began anew for no reason")
        self._position = None if began.cursor is None else _position(began.cursor)
        self._has_expired = False

    def _stood(self, standing: Standing) -> None:
        seq = _position(standing.cursor).seq
        self._at_least = max(self._at_least, seq)
        said, kept = (standing.counts, standing.total), (self._history.counts(seq), self._history.totals[seq])
        if said != kept:
            raise Difference(f"the inbox was read as {said} at {seq}, and was {kept}")

    def _told(self, told: Told, moment: float) -> None:
        position = _position(told.cursor)
        if told.counts not in (None, self._history.counts(position.seq)):
            raise Difference(f"{told} says {told.counts}, and it was {self._history.counts(position.seq)}")
        if told.kind is EventKind.RESET:
            self._expire(moment)
            self._has_expired = False
            if self._history.age(position.generation) > self._history.newest_age(moment):
                raise Difference(f"{told} is of a generation that is still to come")
            self._position = position
        elif told.kind is EventKind.SYNCED:
            self._pass_to(position, moment)
        else:
            self._pass_to(position, moment, but_last=True)
            self._compare(told, self._history.lines[position.seq - 1], moment)

    def _expire(self, moment: float) -> None:
        """Nothing but these may make a client begin anew."""
        position = self._position
        self._has_expired = (
            position is None
            or self._history.is_pruned(position.seq, moment)
            or self._history.newest_age(moment) > self._history.age(position.generation)
        )
        if not self._has_expired:
            raise Difference(f"it was told to begin anew at {position}, and the log goes on there")

    def _pass_to(self, position: StreamCursor, moment: float, *, but_last: bool = False) -> None:
        """Over changes that may be left out, to a position, or, `but_last`, to an event there."""
        last = position.seq - but_last
        if self._position is None:
            self._position = StreamCursor(position.inbox_id, position.generation, max(last, self._at_least))
        if self._position != BEGINNING and self._position.generation != position.generation:
            raise Difference(f"{position} is of another generation than {self._position}")
        if last < self._position.seq:
            raise Difference(f"{position} came after {self._position}: again, or out of order", size=1)
        missing = [
            line for line in self._history.lines[self._position.seq : last] if not self._may_be_left_out(line, moment)
        ]
        if missing:
            lines = "\n".join(f"    {_shown(line)}" for line in missing[:3])
            raise Difference(
                f"from {self._position.seq} to {position.seq} it missed {len(missing)}:\n{lines}", size=len(missing)
            )
        self._position = position

    def _may_be_left_out(self, line: Change, moment: float) -> bool:
        if line.kind is ChangeKind.ADDED:
            assert line.notification_id
            row = self._rows.get(line.notification_id)
            is_taken = takes(self._wanted, row) if row else self._wanted == StreamFilter()
            return not is_taken or self._is_gone(line.notification_id, moment)
        if self._only_added:
            return True
        return line.kind is ChangeKind.READ and all(self._is_gone(id, moment) for id in line.notification_ids or ())

    def _may_go(self, id: str, line: Change, moment: float) -> bool:
        return line.kind is ChangeKind.READ and self._is_gone(id, moment)

    def _is_gone(self, id: str, moment: float) -> bool:
        return self._history.gone_since.get(id, math.inf) <= moment

    def _compare(self, told: Told, line: Change, moment: float) -> None:
        ids = tuple(id for id in line.notification_ids or () if id in told.ids or not self._may_go(id, line, moment))
        expected = (line.kind.value, line.origin_id, bool(line.is_read), line.up_to, line.notification_id, ids)
        up_to = None if told.up_to is None else _position(told.up_to).seq
        id = told.row and told.row.notification_id
        if expected != (told.kind.value, told.origin_id, told.is_read, up_to, id, told.ids):
            raise Difference(f"at {line.seq} it should have been told\n    {_shown(line)}\n  and was told\n    {told}")
        if told.row and not (takes(self._wanted, told.row) and _position(told.row.cursor).seq == line.seq):
            raise Difference(f"at {line.seq} {told} is not to be told to this filter, or has another's cursor")


def takes(wanted: StreamFilter, row: Row) -> bool:
    return (
        (wanted.topics is None or row.topic in wanted.topics)
        and (wanted.notification_types is None or row.notification_type in wanted.notification_types)
        and (wanted.notification_levels is None or row.notification_level in wanted.notification_levels)
        and (wanted.project_id is None or row.project_id == wanted.project_id)
    )


def _position(cursor: str) -> StreamCursor:
    return cursors.stream_position(cursor, field="cursor")


def _shown(line: Change) -> str:
    return str(line.model_dump(exclude_none=True, exclude={"inbox_id", "changed_at"}))
