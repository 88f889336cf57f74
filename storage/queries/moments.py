"""Moments as callers spell them in filters: a date of ISO 8601, or a distance from now. Cut to the millisecond."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

MAX_CHARACTERS = 64
EARLIEST = datetime(1000, 1, 1, tzinfo=UTC)  # no row is older, and no year has fewer digits
LATEST = datetime(9999, 12, 31, tzinfo=UTC)

_WHOLE = re.compile("[0-9]{4}(-[0-9]{2})?", re.ASCII)  # a year, or a month
_FROM_NOW = re.compile(r"now(?:/([dwm]))?(?: *([+-]) *([0-9]{1,12}) *([smhdw]))?", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class NoMoment(ValueError):
    """This is no moment. The message repeats nothing of it."""


def parse(spelled: str) -> datetime:
    """A date, with or without a time, or a month or a year, which is its first day; without an offset it is UTC.

    Raises NoMoment.
    """
    try:
        if len(spelled) > MAX_CHARACTERS:
            raise ValueError
        first = f"{spelled}-01-01"[: len("YYYY-MM-DD")] if _WHOLE.fullmatch(spelled) else spelled
        moment = datetime.fromisoformat(first)
        return _cut(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise NoMoment("This must be a date of ISO 8601, such as 2026-01-31 or 2026-01-31T17:12:40.990Z.") from None


def from_now(spelled: str, now: datetime) -> datetime:
    """`now`, or the beginning of this `now/d`ay, `now/w`eek or `now/m`onth in UTC, and from there ` - 3d`.

    Raises NoMoment.
    """
    found = _FROM_NOW.fullmatch(spelled.strip()) if len(spelled) <= MAX_CHARACTERS else None
    if found is None:
        raise NoMoment("This must be now, now/d, now/w or now/m, with + or - a number of s, m, h, d or w.")
    beginning, sign, number, unit = found.groups()
    moment = _beginning(now.astimezone(UTC), beginning)
    if sign is None:
        return _cut(moment)
    try:
        distance = timedelta(**{_UNITS[unit]: int(number)})
        return _cut(moment + distance if sign == "+" else moment - distance)
    except OverflowError:
        raise NoMoment("This lies beyond all calendars.") from None


def _beginning(now: datetime, of: str | None) -> datetime:
    if of is None:
        return now
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if of == "w":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if of == "m" else day


def _cut(moment: datetime) -> datetime:
    return max(moment.replace(microsecond=moment.microsecond // 1000 * 1000), EARLIEST)
