"""When, about what and from which level on a channel wants to hear: what callers may write there."""

from __future__ import annotations

import functools
import re
import zoneinfo
from collections.abc import Sequence

from dispatch.schedules import Schedule
from resolvers import checks
from resolvers.errors import InvalidArgument
from storage.models import JsonObject, NotificationLevel

MAX_TOPICS = 1_000  # that one channel subscribes to

_START = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_END = re.compile(_START.pattern + "|24:00")


def level(given: NotificationLevel) -> NotificationLevel:
    if given is NotificationLevel.ALL:
        raise InvalidArgument("A channel has a level from LV1 to LV5.", field="notificationLevel")
    return given


def topics(given: Sequence[str] | None) -> list[str] | None:
    if given is None:
        return None
    if len(given) > MAX_TOPICS:
        raise InvalidArgument(f"This may name {MAX_TOPICS} at most.", field="topics")
    return list(dict.fromkeys(checks.text(topic, f"topics.{index}") for index, topic in enumerate(given)))


def schedule(given: Schedule | None) -> JsonObject | None:
    if given is None:
        return None
    days = given.day_of_week
    if not days or len(set(days)) < len(days):
        raise InvalidArgument("Name one day at least, and each once.", field="schedule.dayOfWeek")
    if not _START.fullmatch(given.start):
        raise InvalidArgument("This must be a time from 00:00 to 23:59.", field="schedule.start")
    if not _END.fullmatch(given.end):
        raise InvalidArgument("This must be a time from 00:00 to 24:00.", field="schedule.end")
    if given.start == given.end:
        raise InvalidArgument("This must differ from the start: a whole day ends at 24:00.", field="schedule.end")
    if given.time_zone not in _time_zones():
        raise InvalidArgument("This is not a time zone of the IANA database.", field="schedule.timeZone")
    return given.to_json()


@functools.cache
def _time_zones() -> frozenset[str]:
    # What the machine calls its own zone is no name that others know.
    return frozenset(zoneinfo.available_timezones() - {"localtime"})
