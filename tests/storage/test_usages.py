"""Usages: what went through a protocol, counted exactly, and never more than its quota leaves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from functools import partial

from sqlmodel import select

from storage import ids, protocols, quotas, usages
from storage.engine import Database
from storage.models import NotificationUsage, Quota
from storage.paging import Bounds
from storage.queries import operators
from storage.queries.operators import Question
from storage.scope import Scope
from storage.usages import Filter
from tests.dispatch import rows
from tests.dispatch.rows import SATURDAY_EVENING, store

TODAY, YESTERDAY, LAST_MONTH = "2026-01-31", "2026-01-30", "2025-12-31"
DEADLINE = 120


async def limited(database: Database, *, day: int | None = None, month: int | None = None) -> str:
    """A protocol with this quota."""
    protocol = rows.protocol()
    quota = Quota(
        quota_id=ids.new(ids.QUOTA),
        domain_id="d",
        protocol_id=protocol.protocol_id,
        day=day,
        month=month,
        created_at=SATURDAY_EVENING,
    )
    await store(database, protocol, quota)
    return protocol.protocol_id


async def reserve(database: Database, protocol_id: str, wanted: int, *, date: str = TODAY) -> int:
    work = partial(usages.reserve, protocol_id=protocol_id, domain_id="d", date=date, wanted=wanted)
    return await database.write(work)


async def give_back(database: Database, protocol_id: str, *, failed: bool) -> None:
    await database.write(partial(usages.give_back, protocol_id=protocol_id, date=TODAY, failed=failed, number=1))


async def remaining(database: Database, *protocol_ids: str, date: str = TODAY) -> dict[str, int]:
    async with database.read() as session:
        return await usages.remaining(session, protocol_ids, date)


async def counted(database: Database, protocol_id: str) -> dict[str, tuple[int, int]]:
    """What is counted, and what failed, by day."""
    async with database.read() as session:
        found = await session.exec(select(NotificationUsage).where(NotificationUsage.protocol_id == protocol_id))
        return {row.date: (row.count, row.fail_count) for row in found}


def test_a_day_is_a_day_in_utc() -> None:
    seoul = timezone(timedelta(hours=9))

    assert usages.day(datetime(2026, 2, 1, 8, 59, tzinfo=seoul)) == "2026-01-31"
    assert usages.day(datetime(2026, 1, 31, tzinfo=UTC)) == "2026-01-31"


async def test_without_a_quota_everything_is_granted_and_counted(database: Database) -> None:
    assert await reserve(database, "p", 3) == 3
    assert await reserve(database, "p", 4) == 4
    assert await reserve(database, "p", 1, date=YESTERDAY) == 1

    assert await counted(database, "p") == {TODAY: (7, 0), YESTERDAY: (1, 0)}


async def test_a_quota_without_limits_limits_nothing(database: Database) -> None:
    protocol_id = await limited(database)

    assert await reserve(database, protocol_id, 1_000) == 1_000
    assert await remaining(database, protocol_id) == {}


async def test_a_day_grants_what_it_has_left(database: Database) -> None:
    protocol_id = await limited(database, day=5)

    assert await reserve(database, protocol_id, 3) == 3
    assert await reserve(database, protocol_id, 3) == 2
    assert await reserve(database, protocol_id, 3) == 0
    assert await reserve(database, protocol_id, 3, date=YESTERDAY) == 3
    assert await counted(database, protocol_id) == {TODAY: (5, 0), YESTERDAY: (3, 0)}


async def test_a_month_is_the_sum_of_its_days(database: Database) -> None:
    protocol_id = await limited(database, day=4, month=6)

    assert await reserve(database, protocol_id, 4, date=LAST_MONTH) == 4
    assert await reserve(database, protocol_id, 4, date="2026-01-01") == 4
    assert await reserve(database, protocol_id, 4) == 2
    assert await reserve(database, protocol_id, 4, date="2026-02-01") == 4


async def test_nothing_goes_through_where_the_limit_is_zero(database: Database) -> None:
    assert await reserve(database, await limited(database, day=0), 1) == 0
    assert await reserve(database, await limited(database, day=9, month=0), 1) == 0


async def test_a_limit_that_was_lowered_below_what_is_used_grants_nothing(database: Database) -> None:
    protocol_id = await limited(database, day=5)
    await reserve(database, protocol_id, 5)
    await _change(database, protocol_id, day=3)

    assert await reserve(database, protocol_id, 1) == 0
    assert await remaining(database, protocol_id) == {protocol_id: 0}


async def test_what_is_given_back_can_be_used_again_and_a_failure_is_counted(database: Database) -> None:
    protocol_id = await limited(database, day=2)
    await reserve(database, protocol_id, 2)

    await give_back(database, protocol_id, failed=True)
    await give_back(database, protocol_id, failed=False)

    assert await counted(database, protocol_id) == {TODAY: (0, 1)}
    assert await reserve(database, protocol_id, 3) == 2


async def test_less_than_nothing_is_never_used(database: Database) -> None:
    await reserve(database, "p", 1)

    for _ in range(2):
        await give_back(database, "p", failed=False)

    assert await counted(database, "p") == {TODAY: (0, 0)}


async def test_many_who_reserve_at_once_get_exactly_what_there_is(database: Database) -> None:
    """Hundreds on both sides of a midnight within one month: never over, and none is lost."""
    protocol_id = await limited(database, day=90, month=150)

    async with asyncio.timeout(DEADLINE):
        granted = await asyncio.gather(
            *(
                reserve(database, protocol_id, wanted, date=date)
                for _ in range(50)
                for date in (TODAY, YESTERDAY)
                for wanted in (1, 2, 3)
            )
        )

    on_each_day = await counted(database, protocol_id)
    assert sum(granted) == 150 == sum(count for count, _ in on_each_day.values())
    assert max(count for count, _ in on_each_day.values()) <= 90


async def test_many_who_reserve_without_a_quota_are_all_counted(database: Database) -> None:
    async with asyncio.timeout(DEADLINE):
        granted = await asyncio.gather(*(reserve(database, "p", 2) for _ in range(200)))

    assert sum(granted) == 400
    assert await counted(database, "p") == {TODAY: (400, 0)}


async def test_reserving_and_giving_back_at_once_adds_up(database: Database) -> None:
    protocol_id = await limited(database, day=40)
    await reserve(database, protocol_id, 40)

    async with asyncio.timeout(DEADLINE):
        back = (give_back(database, protocol_id, failed=True) for _ in range(30))
        again = (reserve(database, protocol_id, 1) for _ in range(100))
        outcomes = await asyncio.gather(*back, *again)

    granted = sum(outcome or 0 for outcome in outcomes)
    assert await counted(database, protocol_id) == {TODAY: (10 + granted, 30)}
    assert granted <= 30
    assert await reserve(database, protocol_id, 100) == 30 - granted


async def test_what_remains_is_told_of_those_that_have_limits(database: Database) -> None:
    by_day = await limited(database, day=5)
    by_month = await limited(database, day=50, month=7)
    unlimited = await limited(database)
    for protocol_id in (by_day, by_month):
        await reserve(database, protocol_id, 2)
        await reserve(database, protocol_id, 3, date=YESTERDAY)

    assert await remaining(database, by_day, by_month, unlimited, "p") == {by_day: 3, by_month: 2}
    assert await remaining(database, by_day, date="2026-02-01") == {by_day: 5}
    assert await remaining(database) == {}


async def test_usages_are_listed_from_the_latest_day_on(database: Database) -> None:
    for protocol_id, date in (("a", TODAY), ("b", TODAY), ("a", YESTERDAY), ("a", LAST_MONTH)):
        await reserve(database, protocol_id, 1, date=date)

    async def listed(wanted: Filter, *, domain_id: str = "d") -> list[tuple[str, str]]:
        async with database.read() as session:
            records = usages.in_scope(Scope(domain_id))
            found = await records.page(session, wanted, Bounds(limit=10))
            assert await records.count(session, wanted) == len(found.rows)
        return [(row.date, row.protocol_id) for row in found.rows]

    assert await listed(Filter()) == [(TODAY, "b"), (TODAY, "a"), (YESTERDAY, "a"), (LAST_MONTH, "a")]
    assert await listed(Filter(protocol_id="b")) == [(TODAY, "b")]
    assert await listed(Filter(date_from=YESTERDAY, date_to=YESTERDAY)) == [(YESTERDAY, "a")]
    assert await listed(Filter(), domain_id="elsewhere") == []

    by_month = Question([operators.Filter("usage_month", "eq", TODAY[:7]), operators.Filter("usageDate", "lt", "31")])
    assert await listed(Filter(question=by_month)) == [(YESTERDAY, "a")]


async def test_a_protocol_takes_its_quota_with_it_and_leaves_its_usage(database: Database) -> None:
    protocol_id = await limited(database, day=5)
    await reserve(database, protocol_id, 2)

    async with database.read() as session:
        protocol = await protocols.find(session, protocol_id, Scope("d"))
    assert protocol is not None
    await database.write(partial(protocols.remove, protocol=protocol))

    async with database.read() as session:
        assert await quotas.in_scope(Scope("d")).count(session, quotas.Filter()) == 0
    assert await counted(database, protocol_id) == {TODAY: (2, 0)}


async def _change(database: Database, protocol_id: str, *, day: int) -> None:
    async with database.read() as session:
        [quota] = await session.exec(select(Quota).where(Quota.protocol_id == protocol_id))
    quota.day = day
    await store(database, quota)
