"""The formats in which statistics write dates: a few of Mongo's `$dateToString`, on both engines."""

from __future__ import annotations

import re
from datetime import datetime

# Each as a function of a moment in UTC writes it, and as PostgreSQL's to_char names it.
TOKENS = {
    "%Y": "YYYY",  # the year
    "%m": "MM",  # the month, 01 to 12
    "%d": "DD",  # the day of the month, 01 to 31
    "%H": "HH24",  # the hour, 00 to 23
    "%M": "MI",  # the minute
    "%S": "SS",  # the second
    "%L": "MS",  # the millisecond, 000 to 999
    "%j": "DDD",  # the day of the year, 001 to 366
    "%u": "ID",  # the day of the week, 1 (Monday) to 7
    "%G": "IYYY",  # the year that the ISO week belongs to
    "%V": "IW",  # the ISO week, 01 to 53
    "%%": "%",
}
PARTS = {"year": "%Y", "month": "%m", "day": "%d"}  # of a date, which are written as numbers
_SEGMENTS = re.compile(r"%.|[^%]+|%", re.DOTALL)


def is_format(form: str) -> bool:
    return all(part in TOKENS for part in _SEGMENTS.findall(form) if part.startswith("%"))


def written(moment: datetime, form: str) -> str:
    return "".join(_part(moment, part) for part in _SEGMENTS.findall(form))


def _part(moment: datetime, part: str) -> str:
    match part:
        case "%L":
            return f"{moment.microsecond // 1000:03d}"
        case "%Y":
            return f"{moment.year:04d}"
    return moment.strftime(part) if part in TOKENS else part


def template(form: str) -> str:
    """The same for to_char: what is no token goes between quotes, where only a quote and a backslash mean anything."""
    return "".join(
        TOKENS[part] if part in TOKENS and part != "%%" else _quoted(part.replace("%%", "%"))
        for part in _SEGMENTS.findall(form)
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
