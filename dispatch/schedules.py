"""When a channel is open: weekly windows in a time zone. Pure.

A window belongs to the day on which it starts, also where it ends on the next one. Wall-clock times become instants
as in iCalendar: one that a change of offset skips counts by the offset before it, one that comes twice is the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from storage.models import DayOfWeek, OffHours

WEEK = tuple(DayOfWeek)  # as date.weekday() counts
REACH = range(-2, 16)  # days around now: a change of offset may swallow one week's only window
MIDNIGHT = "24:00"  # the end of a day, which `time` cannot say


@dataclass(frozen=True)
class Schedule:
    """Open from `start` to `end` ("HH:MM"; `end` may be "24:00") on these days. An `end` that is not later is on
    the next day."""

    day_of_week: tuple[DayOfWeek, ...]
    start: str
    end: str
    time_zone: str = "UTC"
    off_hours: OffHours = OffHours.SKIP

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Schedule:
        return cls(
            day_of_week=tuple(DayOfWeek(day) for day in data["day_of_week"]),
            start=data["start"],
            end=data["end"],
            time_zone=data["time_zone"],
            off_hours=OffHours(data["off_hours"]),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "day_of_week": [day.value for day in self.day_of_week],
            "start": self.start,
            "end": self.end,
            "time_zone": self.time_zone,
            "off_hours": self.off_hours.value,
        }

    def is_open(self, now: datetime) -> bool:
        return any(opening <= now < closing for opening, closing in self._windows(now))

    def next_opening(self, now: datetime) -> datetime | None:
        """When it opens after `now`; None: never."""
        return min((opening for opening, _ in self._windows(now) if opening > now), default=None)

    def _windows(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        zone = ZoneInfo(self.time_zone)
        today = now.astimezone(zone).date()
        for day in (today + timedelta(days=offset) for offset in REACH):
            if WEEK[day.weekday()] in self.day_of_week:
                opening, closing = self._window(day, zone)
                if opening < closing:
                    yield opening, closing

    def _window(self, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
        closing_day = day if self.start < self.end < MIDNIGHT else day + timedelta(days=1)
        return _instant(day, self.start, zone), _instant(closing_day, self.end, zone)


def _instant(day: date, clock: str, zone: ZoneInfo) -> datetime:
    at = time() if clock == MIDNIGHT else time.fromisoformat(clock)
    return datetime.combine(day, at, zone).astimezone(UTC)
