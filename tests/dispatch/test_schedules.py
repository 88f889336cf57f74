from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dispatch.schedules import Schedule
from storage.models import DayOfWeek, OffHours

WORKDAYS = (DayOfWeek.MON, DayOfWeek.TUE, DayOfWeek.WED, DayOfWeek.THU, DayOfWeek.FRI)
EVERY_DAY = tuple(DayOfWeek)
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",  # changes by half an hour
    "America/Sao_Paulo",  # changed at midnight
    "Pacific/Apia",  # left out a whole day
    "Africa/Cairo",
]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "is_open"),
    [
        ("2026-01-30 08:59:59.999", False),  # a Friday
        ("2026-01-30 09:00", True),
        ("2026-01-30 17:59:59.999", True),
        ("2026-01-30 18:00", False),
        ("2026-01-31 12:00", False),  # a Saturday
    ],
)
def test_a_window_opens_at_its_start_and_is_closed_at_its_end(now: str, is_open: bool) -> None:
    assert Schedule(WORKDAYS, "09:00", "18:00").is_open(at(now)) is is_open


@pytest.mark.parametrize(
    ("now", "is_open"),
    [
        ("2026-01-30 05:00", False),  # Friday morning: Thursday is not in it
        ("2026-01-30 22:00", True),
        ("2026-01-31 06:29", True),  # Saturday morning: Friday's window
        ("2026-01-31 06:30", False),
        ("2026-01-31 23:00", False),
    ],
)
def test_an_overnight_window_belongs_to_the_day_on_which_it_starts(now: str, is_open: bool) -> None:
    assert Schedule((DayOfWeek.FRI,), "22:00", "06:30").is_open(at(now)) is is_open


@pytest.mark.parametrize(("now", "is_open"), [("2026-01-30 23:59:59.999", True), ("2026-01-31 00:00", False)])
def test_a_window_may_end_with_its_day(now: str, is_open: bool) -> None:
    assert Schedule((DayOfWeek.FRI,), "12:00", "24:00").is_open(at(now)) is is_open


@pytest.mark.parametrize(
    ("now", "is_open"),
    [
        ("2026-01-30 07:59", False),  # 08:59 in Berlin
        ("2026-01-30 08:00", True),
        ("2026-07-31 06:59", False),  # 08:59 in Berlin's summer
        ("2026-07-31 07:00", True),
    ],
)
def test_a_window_is_by_the_clocks_of_its_time_zone(now: str, is_open: bool) -> None:
    assert Schedule(WORKDAYS, "09:00", "18:00", "Europe/Berlin").is_open(at(now)) is is_open


def test_the_weekday_is_the_time_zones_own() -> None:
    """It is Saturday in Auckland while it is Friday in UTC."""
    schedule = Schedule((DayOfWeek.SAT,), "00:00", "24:00", "Pacific/Auckland")

    assert schedule.is_open(at("2026-01-30 12:00"))


@pytest.mark.parametrize(
    ("now", "opening"),
    [
        ("2026-01-29 18:00", "2026-01-30 09:00"),  # Thursday evening: tomorrow
        ("2026-01-30 18:00", "2026-02-02 09:00"),  # Friday evening: Monday
        ("2026-01-30 08:00", "2026-01-30 09:00"),  # later today
    ],
)
def test_the_next_opening_is_the_next_start_of_a_window(now: str, opening: str) -> None:
    assert Schedule(WORKDAYS, "09:00", "18:00").next_opening(at(now)) == at(opening)


def test_a_start_that_the_spring_change_skips_counts_by_the_offset_before_it() -> None:
    """On 2026-03-29 Berlin's clocks go from 02:00 to 03:00: 02:30 is what would have been 02:30, now 03:30."""
    schedule = Schedule((DayOfWeek.SUN,), "02:30", "12:00", "Europe/Berlin")

    assert schedule.next_opening(at("2026-03-28 12:00")) == at("2026-03-29 01:30")


def test_a_window_that_the_spring_change_swallows_opens_a_week_later() -> None:
    schedule = Schedule((DayOfWeek.SUN,), "02:30", "03:00", "Europe/Berlin")

    assert not schedule.is_open(at("2026-03-29 01:00"))
    assert schedule.next_opening(at("2026-03-28 12:00")) == at("2026-04-05 00:30")


def test_a_time_that_the_autumn_change_repeats_is_the_first_one() -> None:
    """On 2026-10-25 Berlin's clocks show 02:30 at 00:30 and at 01:30 UTC."""
    schedule = Schedule((DayOfWeek.SUN,), "02:30", "12:00", "Europe/Berlin")

    assert schedule.next_opening(at("2026-10-24 12:00")) == at("2026-10-25 00:30")


def test_a_schedule_without_days_never_opens() -> None:
    schedule = Schedule((), "09:00", "18:00")

    assert not schedule.is_open(at("2026-01-30 12:00"))
    assert schedule.next_opening(at("2026-01-30 12:00")) is None


clocks = st.times().map(lambda time: f"{time:%H:%M}")
days = st.lists(st.sampled_from(DayOfWeek), min_size=1, unique=True).map(tuple)
schedules = st.builds(
    Schedule,
    day_of_week=days,
    start=clocks,
    end=clocks | st.just("24:00"),
    time_zone=st.sampled_from(ZONES),
    off_hours=st.sampled_from(OffHours),
).filter(lambda schedule: schedule.start != schedule.end)
# Years in which these zones changed their offsets, at midnight or by a whole day among them.
moments = st.datetimes(datetime(2011, 12, 1), datetime(2027, 1, 1), timezones=st.just(UTC))


@given(schedules)
def test_a_schedule_survives_json(schedule: Schedule) -> None:
    assert Schedule.from_json(schedule.to_json()) == schedule


@given(schedules, moments)
def test_it_is_open_at_its_next_opening(schedule: Schedule, now: datetime) -> None:
    opening = schedule.next_opening(now)

    assert opening is not None
    assert opening > now
    assert schedule.is_open(opening)


@given(schedules, moments, st.integers(0, 99))
def test_while_it_is_closed_it_stays_so_until_its_next_opening(schedule: Schedule, now: datetime, percent: int) -> None:
    opening = schedule.next_opening(now)

    assert opening is not None
    if not schedule.is_open(now):
        assert not schedule.is_open(now + (opening - now) * percent // 100)


@given(st.sampled_from(ZONES), moments)
def test_round_the_clock_every_day_is_always_open(zone: str, now: datetime) -> None:
    assert Schedule(EVERY_DAY, "00:00", "24:00", zone).is_open(now)


@given(schedules, moments)
def test_it_is_open_by_the_clock_on_the_wall(schedule: Schedule, now: datetime) -> None:
    """Said in another way, for all but the days around a change of offset."""
    assume(not is_near_a_change(now, schedule.time_zone))
    local = now.astimezone(ZoneInfo(schedule.time_zone))
    clock, today = f"{local:%H:%M}", tuple(DayOfWeek)[local.weekday()]
    yesterday = tuple(DayOfWeek)[local.weekday() - 1]
    if schedule.start < schedule.end:
        expected = today in schedule.day_of_week and schedule.start <= clock < schedule.end
    else:
        evening = today in schedule.day_of_week and schedule.start <= clock
        morning = yesterday in schedule.day_of_week and clock < schedule.end
        expected = evening or morning

    assert schedule.is_open(now) is expected


def is_near_a_change(now: datetime, zone: str) -> bool:
    offsets = {(now + timedelta(days=days)).astimezone(ZoneInfo(zone)).utcoffset() for days in range(-2, 3)}
    return len(offsets) > 1
