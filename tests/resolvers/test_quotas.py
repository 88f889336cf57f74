"""Quotas: who sets them, what they may say, and what a create makes of them."""

from __future__ import annotations

from functools import partial

import pytest

from resolvers import channels, notifications, protocols, quotas
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied
from resolvers.paging import Window
from storage import ids, usages
from storage.channels import Kind
from storage.models import DecisionReason, Delivery, DeliveryState, Protocol, Quota
from storage.quotas import Filter
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, AWAY_ADMIN, BOB, SERVICE, SYSTEM
from tests.resolvers.refusals import at
from tests.resolvers.said import inside, log_protocol, of_user, outside, say, say_to_project

TODAY = "2026-01-31"
EVERYTHING = Filter()


async def _limit(server: Server, protocol: Protocol, *, day: int | None = None, month: int | None = None) -> Quota:
    return await quotas.create(server, ADMIN, protocol_id=protocol.protocol_id, day=day, month=month)


async def _reserve(server: Server, protocol: Protocol, wanted: int, *, date: str = TODAY) -> int:
    work = partial(usages.reserve, protocol_id=protocol.protocol_id, domain_id="home", date=date, wanted=wanted)
    return await server.database.write(work)


async def _listed(
    server: Server, caller: Caller = ADMIN, *, domain_id: str | None = None, wanted: Filter = EVERYTHING
) -> list[str]:
    listing = await quotas.page(server, caller, wanted=wanted, window=Window(), domain_id=domain_id)
    assert await listing.count() == len(listing.page.rows)
    return [row.quota_id for row in listing.page.rows]


async def _made(server: Server, notification_id: str) -> list[Delivery]:
    return await notifications.deliveries_of(server, notification_id, first=100)


async def test_a_quota_is_made_changed_and_deleted(server: Server, protocol: Protocol) -> None:
    made = await _limit(server, protocol, day=5)
    assert (made.domain_id, made.protocol_id, made.day, made.month) == ("home", protocol.protocol_id, 5, None)

    await quotas.update(server, ADMIN, quota_id=made.quota_id, limits={"month": 9})
    found = await quotas.find(server, ADMIN, made.quota_id)
    assert found is not None
    assert (found.day, found.month) == (5, 9)
    changed = await quotas.update(server, ADMIN, quota_id=made.quota_id, limits={"day": None, "month": 0})
    assert (changed.day, changed.month) == (None, 0)

    assert await quotas.delete(server, ADMIN, quota_id=made.quota_id) == made.quota_id
    assert await quotas.find(server, ADMIN, made.quota_id) is None


async def test_a_protocol_has_one_quota_at_the_most(server: Server, protocol: Protocol) -> None:
    await _limit(server, protocol, day=5)

    with pytest.raises(AlreadyExists, check=at("protocolId")):
        await _limit(server, protocol, day=6)


async def test_a_protocol_that_is_deleted_takes_its_quota_with_it(server: Server, protocol: Protocol) -> None:
    made = await _limit(server, protocol, day=5)

    await protocols.delete(server, ADMIN, protocol_id=protocol.protocol_id)

    assert await quotas.find(server, ADMIN, made.quota_id) is None


@pytest.mark.parametrize(("limits", "field"), [({"day": -1}, "day"), ({"month": -1}, "month"), ({"day": 2**31}, "day")])
async def test_a_limit_is_a_number_from_zero_on(
    server: Server, protocol: Protocol, limits: dict[str, int], field: str
) -> None:
    with pytest.raises(InvalidArgument, check=at(field)):
        await _limit(server, protocol, **limits)
    made = await _limit(server, protocol)
    with pytest.raises(InvalidArgument, check=at(field)):
        await quotas.update(server, ADMIN, quota_id=made.quota_id, limits=limits)


async def test_only_an_external_protocol_that_exists_can_be_limited(server: Server, protocol: Protocol) -> None:
    with pytest.raises(InvalidArgument, check=at("protocolId")):
        await quotas.create(server, ADMIN, protocol_id=ids.internal_protocol("home"), day=1)
    for caller, protocol_id in ((ADMIN, "protocol-000000000000"), (AWAY_ADMIN, protocol.protocol_id)):
        with pytest.raises(NotFound, check=at("protocolId")):
            await quotas.create(server, caller, protocol_id=protocol_id, day=1)


@pytest.mark.parametrize("caller", [ALICE, SERVICE])
async def test_quotas_are_for_administrators(server: Server, protocol: Protocol, caller: Caller) -> None:
    made = await _limit(server, protocol, day=5)

    for denied in (
        quotas.create(server, caller, protocol_id=protocol.protocol_id),
        quotas.update(server, caller, quota_id=made.quota_id, limits={"day": 6}),
        quotas.delete(server, caller, quota_id=made.quota_id),
        quotas.find(server, caller, made.quota_id),
        quotas.page(server, caller, wanted=Filter(), window=Window()),
        quotas.page_usages(server, caller, wanted=usages.Filter(), window=Window()),
    ):
        with pytest.raises(PermissionDenied):
            await denied


async def test_what_is_another_domains_looks_as_if_there_were_none(server: Server, protocol: Protocol) -> None:
    made = await _limit(server, protocol, day=5)

    assert await quotas.find(server, AWAY_ADMIN, made.quota_id) is None
    with pytest.raises(NotFound, check=at("quotaId")):
        await quotas.update(server, AWAY_ADMIN, quota_id=made.quota_id, limits={"day": 6})
    with pytest.raises(NotFound, check=at("quotaId")):
        await quotas.delete(server, AWAY_ADMIN, quota_id=made.quota_id)
    with pytest.raises(PermissionDenied):
        await _listed(server, AWAY_ADMIN, domain_id="home")
    assert await _listed(server, AWAY_ADMIN) == []
    assert await _listed(server, SYSTEM, domain_id="home") == [made.quota_id]
    assert (await quotas.update(server, SYSTEM, quota_id=made.quota_id, limits={"day": 6})).day == 6


async def test_quotas_are_listed_newest_first_and_narrowed(server: Server, protocol: Protocol, clock: Clock) -> None:
    older = await _limit(server, protocol, day=5)
    clock.advance(seconds=1)
    newer = await _limit(server, await log_protocol(server, name="other"), day=5)

    assert await _listed(server) == [newer.quota_id, older.quota_id]
    assert await _listed(server, wanted=Filter(protocol_id=protocol.protocol_id)) == [older.quota_id]
    assert await _listed(server, wanted=Filter(quota_id=newer.quota_id)) == [newer.quota_id]


async def test_usages_are_listed_with_days_that_are_days(server: Server, protocol: Protocol) -> None:
    await _reserve(server, protocol, 3)
    await _reserve(server, protocol, 2, date="2026-01-30")
    wanted = usages.Filter(protocol_id=protocol.protocol_id, date_from=TODAY)

    listing = await quotas.page_usages(server, ADMIN, wanted=wanted, window=Window())

    assert [(row.date, row.count, row.fail_count) for row in listing.page.rows] == [(TODAY, 3, 0)]
    assert await listing.count() == 1
    for wrong in ("yesterday", "2026-1-31", "20260131", "2026-02-30", "2026-01-31T00:00:00", "2026-01-31\0", ""):
        with pytest.raises(InvalidArgument, check=at("filter.dateTo")):
            await quotas.page_usages(server, ADMIN, wanted=usages.Filter(date_to=wrong), window=Window())


async def test_a_create_holds_what_the_quota_does_not_leave(server: Server, protocol: Protocol) -> None:
    """The project's own channels come first, then the users'; all of one create share what is left."""
    await _limit(server, protocol, day=4)
    await _reserve(server, protocol, 2)
    await outside(server, protocol)
    await inside(server, "alice", "bob")
    for user in (ALICE, BOB):
        await of_user(server, user, protocol)

    said = await say_to_project(server)

    made = await _made(server, said.notification_id)
    assert [(row.user_id, row.state, row.reason) for row in sorted(made, key=lambda row: row.user_id or "")] == [
        (None, DeliveryState.PENDING, None),
        ("alice", DeliveryState.PENDING, None),
        ("bob", DeliveryState.SKIPPED, DecisionReason.QUOTA),
    ]
    assert all((row.finished_at is not None) == (row.state is DeliveryState.SKIPPED) for row in made)


async def test_a_forecast_reserves_nothing(server: Server, protocol: Protocol) -> None:
    await _limit(server, protocol, day=1)
    await of_user(server, ALICE, protocol)

    for _ in range(2):
        [made] = await _made(server, (await say(server)).notification_id)
        assert made.state is DeliveryState.PENDING
    assert await _reserve(server, protocol, 2) == 1


async def test_a_new_day_has_its_quota_anew(server: Server, protocol: Protocol, clock: Clock) -> None:
    await _limit(server, protocol, day=1)
    await of_user(server, ALICE, protocol)
    await _reserve(server, protocol, 1)
    [held] = await _made(server, (await say(server)).notification_id)

    clock.advance(days=1)
    [goes] = await _made(server, (await say(server)).notification_id)

    assert (held.reason, goes.reason) == (DecisionReason.QUOTA, None)


async def test_a_quota_may_change_while_channels_are_in_use(server: Server, protocol: Protocol) -> None:
    made = await _limit(server, protocol, day=0)
    channel = await of_user(server, ALICE, protocol)
    [held] = await _made(server, (await say(server)).notification_id)

    await quotas.delete(server, ADMIN, quota_id=made.quota_id)

    [goes] = await _made(server, (await say(server)).notification_id)
    assert (held.state, goes.state) == (DeliveryState.SKIPPED, DeliveryState.PENDING)
    await channels.delete(server, ADMIN, Kind.USER, channel_id=channel.channel_id)
    assert [row.state for row in await _made(server, goes.notification_id)] == [DeliveryState.SKIPPED]
