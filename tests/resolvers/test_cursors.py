"""Cursors come back as they were given, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers import cursors
from resolvers.cursors import StreamCursor
from resolvers.errors import CursorExpired, InvalidArgument
from storage.models import Inbox, InboxKind
from storage.notification_filters import NEWEST_FIRST
from tests.conftest import Clock

NUMBERS = st.integers(0, 2**47)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_a_stream_cursor_comes_back(inbox_id: int, generation: int, seq: int) -> None:
    position = StreamCursor(inbox_id, generation, seq)

    assert cursors.stream_position(cursors.for_stream(position), field="after") == position


@given(st.text())
def test_text_that_is_no_cursor_is_refused(text: str) -> None:
    for read in (
        cursors.stream_position,
        lambda cursor, field: cursors.list_position(cursor, NEWEST_FIRST, field=field),
    ):
        with pytest.raises(InvalidArgument):
            read(text, field="after")


@given(st.data())
def test_an_altered_cursor_is_refused(data: st.DataObject) -> None:
    cursor = cursors.for_stream(StreamCursor(1, 2, 3))
    place = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from("ABCabc019-_").filter(lambda letter: letter != cursor[place]))

    with pytest.raises(InvalidArgument):
        cursors.stream_position(cursor[:place] + other + cursor[place + 1 :], field="after")


def test_a_list_cursor_comes_back_and_is_no_stream_cursor(clock: Clock) -> None:
    row = SimpleNamespace(notification_id="notification-1", created_at=clock.now)
    cursor = cursors.for_row(row, NEWEST_FIRST)

    assert cursors.list_position(cursor, NEWEST_FIRST, field="after") == (clock.now, "notification-1")
    with pytest.raises(InvalidArgument):
        cursors.stream_position(cursor, field="after")


@given(st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)))
def test_a_rows_cursor_is_the_same_however_the_row_was_read(moment: datetime) -> None:
    instant = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    spelled = instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")  # as storage reads it as text
    of_values, of_text = (SimpleNamespace(notification_id="n", created_at=each) for each in (instant, spelled))

    cursor = cursors.for_row(of_values, NEWEST_FIRST)

    assert cursors.for_row(of_text, NEWEST_FIRST) == cursor
    assert cursors.list_position(cursor, NEWEST_FIRST, field="after") == (instant, "n")


def test_a_list_cursor_that_spells_its_instant_with_an_offset_is_still_one() -> None:
    """As they once were: a client may hold one."""
    cursor = cursors._encode([cursors.LIST, "-CREATED_AT,-ID", ["2026-01-31T17:12:40.990000+00:00"], "n"])

    instant = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)
    assert cursors.list_position(cursor, NEWEST_FIRST, field="after") == (instant, "n")


def test_a_position_is_judged_against_its_inbox() -> None:
    inbox = Inbox(inbox_id=1, domain_id="d", kind=InboxKind.USER, owner_id="u", generation=5, last_seq=9)

    assert cursors.seq_within(inbox, StreamCursor(1, 5, 9), field="after") == 9
    assert cursors.seq_within(inbox, cursors.BEGINNING, field="after") == 0
    for other in (StreamCursor(2, 5, 9), StreamCursor(1, 4, 9), StreamCursor(1, 5, 10)):
        with pytest.raises(InvalidArgument if other.inbox_id == 2 else CursorExpired):
            cursors.seq_within(inbox, other, field="after")
