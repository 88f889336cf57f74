"""docs/deliveries.md says what is so: times, bounds and settings are those of the code."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import cast

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

import main
from dispatch import retry
from dispatch.hub import MAX_UNREAD
from dispatch.worker import WorkerSettings
from resolvers import idempotency, steering
from resolvers.explanations import MAX_USERS
from resolvers.retention import Keep

PAGE = " ".join((Path(__file__).parent.parent / "docs" / "deliveries.md").read_text().split())
UNITS = {3600: "h", 60: "min", 1: "s"}


def _spelled(seconds: float) -> str:
    unit = next(unit for unit in UNITS if seconds >= unit)
    return f"{seconds / unit:g} {UNITS[unit]}"


def _bounds(setting: FieldInfo) -> tuple[int, int]:
    [least] = [bound.ge for bound in setting.metadata if isinstance(bound, Ge)]
    [most] = [bound.le for bound in setting.metadata if isinstance(bound, Le)]
    return cast(int, least), cast(int, most)


def test_retries_come_when_the_page_says() -> None:
    *first, last = map(_spelled, retry.SCHEDULE)

    assert f"tried again after {', '.join(first)} and {last}, each {retry.JITTER * 100:g} % earlier or later" in PAGE
    assert f"it waits {retry.BREATHER:g} s at least" in PAGE
    assert f"failed for {WorkerSettings().patience.total_seconds() / 3600:g} hours is disabled" in PAGE


def test_deliveries_are_kept_for_as_long_as_the_page_says() -> None:
    keep_days = main.Settings.model_fields["delivery_keep_days"]

    assert Keep().delivery_age.days == keep_days.default
    least, most = _bounds(keep_days)
    assert f"{keep_days.default} days later (`TOCSIN_DELIVERY_KEEP_DAYS`, {least} to {most})" in PAGE
    assert timedelta(days=least) > idempotency.KEPT
    assert main.Settings.model_construct(delivery_keep_days=7).keep.delivery_age.days == 7


def test_bounds_are_as_the_page_says() -> None:
    assert f"{steering.MAX_REPLAYED} at once, those that ended first" in PAGE
    assert f"more than {MAX_UNREAD} changed deliveries unread" in PAGE
    assert f"of many users, of the first {MAX_USERS}" in PAGE
