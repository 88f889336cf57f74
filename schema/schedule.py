"""When a channel is open, in the API."""

from __future__ import annotations

from typing import Any

import strawberry

from dispatch import schedules
from schema.enums import DayOfWeek, OffHours


@strawberry.type(description="When a channel is open. A window belongs to the day on which it starts.")
class Schedule:
    day_of_week: list[DayOfWeek] = strawberry.field(description="The days on which it opens.")
    start: str = strawberry.field(description="When it opens: HH:MM.")
    end: str = strawberry.field(description="When it closes: HH:MM; on the next day where this is not after the start.")
    time_zone: str = strawberry.field(description="The time zone of days and times, by its IANA name.")
    off_hours: OffHours = strawberry.field(description="What happens to a notification while it is closed.")

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Schedule:
        schedule = schedules.Schedule.from_json(data)
        return cls(
            day_of_week=list(schedule.day_of_week),
            start=schedule.start,
            end=schedule.end,
            time_zone=schedule.time_zone,
            off_hours=schedule.off_hours,
        )


@strawberry.input(description='When a channel is open. From "22:00" to "06:30" is overnight.')
class ScheduleInput:
    day_of_week: list[DayOfWeek] = strawberry.field(description="The days on which it opens: one at least, each once.")
    start: str = strawberry.field(description="When it opens: 00:00 to 23:59.")
    end: str = strawberry.field(description="When it closes: 00:00 to 24:00, not the same as the start.")
    time_zone: str | None = strawberry.field(
        default="UTC", description="The time zone of days and times, by its IANA name: Asia/Seoul."
    )
    off_hours: OffHours | None = strawberry.field(
        default=OffHours.SKIP, description="What happens to a notification while it is closed."
    )

    def value(self) -> schedules.Schedule:
        return schedules.Schedule(
            day_of_week=tuple(self.day_of_week),
            start=self.start,
            end=self.end,
            time_zone="UTC" if self.time_zone is None else self.time_zone,
            off_hours=self.off_hours or OffHours.SKIP,
        )
