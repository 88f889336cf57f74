"""What the statements of a history need, and the two engines spell differently. It knows no table."""

from __future__ import annotations

from typing import Protocol

from storage import feeds
from storage.engine import CACHE_KIB


class Spelling(Protocol):
    """Each method takes expressions and gives one."""

    feed_number: str  # of a record that is inserted now
    beforehand: tuple[str, ...]
    afterwards: tuple[str, ...]

    def numbers(self, given: range) -> str:
        """A table of one column, n."""

    def hex(self, number: str) -> str:
        """Twelve digits."""

    def moment(self, seconds: str) -> str: ...

    def day(self, moment: str) -> str: ...

    def json(self, spelled: str) -> str: ...


class _Sqlite(Spelling):
    feed_number = feeds.NUMBER["sqlite"]
    beforehand = ("PRAGMA cache_size = -1000000",)  # kB: of the one connection that writes
    afterwards = (f"PRAGMA cache_size = -{CACHE_KIB}",)

    def numbers(self, given: range) -> str:
        following = f"SELECT n + 1 FROM each WHERE n < {given.stop - 1}"
        return f"(WITH RECURSIVE each(n) AS (SELECT {given.start} UNION ALL {following}) SELECT n FROM each) AS numbers"

    def hex(self, number: str) -> str:
        return f"printf('%012x', {number})"

    def moment(self, seconds: str) -> str:
        return f"strftime('%Y-%m-%dT%H:%M:%fZ', {seconds}, 'unixepoch')"

    def day(self, moment: str) -> str:
        return f"substr({moment}, 1, 10)"

    def json(self, spelled: str) -> str:
        return spelled


class _Postgres(Spelling):
    feed_number = feeds.NUMBER["postgresql"]
    beforehand = ()
    afterwards = (
        "SELECT setval(pg_get_serial_sequence('content', 'content_id'), max(content_id)) FROM content",
        "SELECT setval(pg_get_serial_sequence('inbox', 'inbox_id'), max(inbox_id)) FROM inbox",
    )

    def numbers(self, given: range) -> str:
        return f"generate_series({given.start}, {given.stop - 1}) AS numbers(n)"

    def hex(self, number: str) -> str:
        return f"lpad(to_hex({number}), 12, '0')"

    def moment(self, seconds: str) -> str:
        return f"to_timestamp({seconds})"

    def day(self, moment: str) -> str:
        return f"to_char({moment} AT TIME ZONE 'UTC', 'YYYY-MM-DD')"

    def json(self, spelled: str) -> str:
        return f"({spelled})::json"


SQLITE, POSTGRES = _Sqlite(), _Postgres()
