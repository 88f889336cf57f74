"""Channels from the first day to the last: what they are made with, what of it changes, what waits when one goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from dispatch.schedules import Schedule
from resolvers import channels, protocols
from resolvers.context import Server
from resolvers.errors import FailedPrecondition, InvalidArgument, NotFound
from storage import channels as stored_channels
from storage import deliveries, ids
from storage.channels import Kind
from storage.models import (
    Channel,
    Content,
    DayOfWeek,
    DecisionReason,
    Delivery,
    DeliveryState,
    LevelMatch,
    NotificationLevel,
    NotificationType,
    OffHours,
    ResourceState,
)
from storage.scope import Scope
from storage.selected import Row
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, AWAY_ADMIN
from tests.resolvers.refusals import ON_ONE_ENGINE, at
from tests.resolvers.some_channels import ID_FIELDS, KINDS, create, stored

NIGHTS = Schedule((DayOfWeek.MON, DayOfWeek.FRI), "22:00", "06:30", "Asia/Seoul", OffHours.DEFER)


@KINDS
async def test_a_created_channel_is_kept_as_it_was_asked_for(
    server: Server, log: str, clock: Clock, kind: Kind
) -> None:
    made = await create(server, log, kind, topics=["monitoring.*", "billing"], schedule=NIGHTS, tags={"team": "a"})
    found = await channels.find(server, ADMIN, kind, made.channel_id)

    assert found is not None
    kept = made.model_dump()
    assert {name: getattr(found, name) for name in kept} == kept
    assert (found.name, found.data, found.secret_data) == ("Front door", {"to": "all"}, None)
    assert (found.topics, found.tags) == (["monitoring.*", "billing"], {"team": "a"})
    assert found.schedule is not None
    assert Schedule.from_json(found.schedule) == NIGHTS
    assert (found.protocol_id, found.domain_id, found.state) == (log, "home", ResourceState.ENABLED)
    assert found.created_at == clock.now


async def test_a_project_channel_takes_level_one_exactly_unless_told_otherwise(server: Server, log: str) -> None:
    plain = await create(server, log, Kind.PROJECT)
    told = await create(
        server,
        log,
        Kind.PROJECT,
        notification_level=NotificationLevel.LV3,
        level_match=LevelMatch.AT_LEAST,
    )

    assert (plain.notification_level, plain.level_match) == (NotificationLevel.LV1, LevelMatch.EXACT)
    assert (told.notification_level, told.level_match) == (NotificationLevel.LV3, LevelMatch.AT_LEAST)
    assert (plain.project_id, plain.user_id) == ("shop", None)
    assert plain.channel_id.startswith("project-ch-")


async def test_a_user_channel_has_no_level(server: Server, log: str) -> None:
    made = await create(server, log, Kind.USER)

    assert (made.notification_level, made.level_match) == (None, None)
    assert (made.project_id, made.user_id) == (None, "alice")
    assert made.channel_id.startswith("user-ch-")


@KINDS
async def test_a_channel_takes_every_topic_at_all_times_unless_told_otherwise(
    server: Server, log: str, kind: Kind
) -> None:
    made = await create(server, log, kind)
    none = await create(server, log, kind, topics=[])

    assert (made.topics, made.schedule, made.tags) == (None, None, {})
    assert none.topics == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": "n" * 256}, "name"),
    ({"name": "\udfff"}, "name"),
    ({"tags": []}, "tags"),
    ({"tags": {"a": "\0"}}, "tags"),
    ({"data": "door"}, "data"),
    ({"data": {"d": float("inf")}}, "data"),
    ({"topics": ["fine", " "]}, "topics.1"),
    ({"topics": ["t" * 256]}, "topics.0"),
    ({"topics": ["t"] * 1_001}, "topics"),
]
WRONG_SCHEDULES = [
    ({"day_of_week": ()}, "schedule.dayOfWeek"),
    ({"day_of_week": (DayOfWeek.MON, DayOfWeek.MON)}, "schedule.dayOfWeek"),
    ({"start": "24:00"}, "schedule.start"),
    ({"start": "7:00"}, "schedule.start"),
    ({"start": "07:60"}, "schedule.start"),
    ({"start": "07:00\n"}, "schedule.start"),
    ({"start": "٠٧:٠٠"}, "schedule.start"),
    ({"start": ""}, "schedule.start"),
    ({"end": "24:01"}, "schedule.end"),
    ({"end": "25:00"}, "schedule.end"),
    ({"end": "22:00"}, "schedule.end"),
    ({"time_zone": "Mars/Olympus"}, "schedule.timeZone"),
    ({"time_zone": "localtime"}, "schedule.timeZone"),
    ({"time_zone": ""}, "schedule.timeZone"),
    ({"time_zone": "../../etc/passwd"}, "schedule.timeZone"),
    ({"time_zone": "Asia"}, "schedule.timeZone"),
    ({"time_zone": "\ud800"}, "schedule.timeZone"),
]


@ON_ONE_ENGINE
@KINDS
@pytest.mark.parametrize(("changes", "field"), WRONG)
async def test_a_wrong_argument_is_named_and_nothing_is_stored(
    server: Server, log: str, kind: Kind, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument, check=at(field)):
        await create(server, log, kind, **changes)
    assert await stored(server) == []


@ON_ONE_ENGINE
@pytest.mark.parametrize(("changes", "field"), WRONG_SCHEDULES)
async def test_a_wrong_schedule_is_named_by_its_part(
    server: Server, log: str, changes: dict[str, Any], field: str
) -> None:
    wrong = replace(NIGHTS, **changes)

    with pytest.raises(InvalidArgument, check=at(field)):
        await create(server, log, Kind.USER, schedule=wrong)
    made = await create(server, log, Kind.USER)
    with pytest.raises(InvalidArgument, check=at(field)):
        await channels.set_schedule(server, ADMIN, Kind.USER, channel_id=made.channel_id, schedule=wrong)


@ON_ONE_ENGINE
@pytest.mark.parametrize(
    ("start", "end"), [("00:00", "24:00"), ("22:00", "24:00"), ("22:00", "00:00"), ("09:00", "18:30")]
)
async def test_a_schedule_may_end_at_midnight_or_on_the_next_day(
    server: Server, log: str, start: str, end: str
) -> None:
    made = await create(server, log, Kind.USER, schedule=replace(NIGHTS, start=start, end=end))

    assert made.schedule is not None
    assert (made.schedule["start"], made.schedule["end"]) == (start, end)


async def test_no_channel_is_of_level_all(server: Server, log: str) -> None:
    everything = NotificationLevel.ALL
    made = await create(server, log, Kind.PROJECT)

    with pytest.raises(InvalidArgument, check=at("notificationLevel")):
        await create(server, log, Kind.PROJECT, notification_level=everything)
    with pytest.raises(InvalidArgument, check=at("notificationLevel")):
        await channels.update(server, ADMIN, Kind.PROJECT, channel_id=made.channel_id, notification_level=everything)


@ON_ONE_ENGINE
@pytest.mark.parametrize("project_id", ["", " ", "p" * 129, "a\0b", None])
async def test_a_project_channel_needs_a_projects_id(server: Server, log: str, project_id: str | None) -> None:
    with pytest.raises(InvalidArgument, check=at("projectId")):
        await create(server, log, Kind.PROJECT, owner_id=project_id)


@KINDS
async def test_a_channel_needs_a_protocol_of_its_domain(server: Server, log: str, kind: Kind) -> None:
    with pytest.raises(NotFound, check=at("protocolId")):
        await create(server, "protocol-000000000000", kind)
    with pytest.raises(NotFound, check=at("protocolId")):
        await create(server, log, kind, AWAY_ADMIN)
    with pytest.raises(InvalidArgument, check=at("protocolId")):
        await create(server, "\ud800", kind)


@KINDS
async def test_a_disabled_protocol_gets_no_new_channels(server: Server, log: str, kind: Kind) -> None:
    await protocols.set_state(server, ADMIN, protocol_id=log, state=ResourceState.DISABLED)

    with pytest.raises(FailedPrecondition, check=at("protocolId")):
        await create(server, log, kind)


@KINDS
async def test_an_update_changes_what_is_given_and_nothing_else(server: Server, log: str, kind: Kind) -> None:
    made = await create(server, log, kind, topics=["a"], schedule=NIGHTS, tags={"team": "a"})
    expected = made.model_dump()
    changes: list[dict[str, Any]] = [{"name": "Back door"}, {"data": {"to": "one"}}, {"tags": {}}]
    for change in changes:
        updated = await channels.update(server, ADMIN, kind, channel_id=made.channel_id, **change)
        expected |= change
        found = await channels.find(server, ADMIN, kind, made.channel_id)

        assert found is not None
        assert updated.model_dump() == {name: getattr(found, name) for name in expected} == expected


async def test_a_project_channels_level_is_changed(server: Server, log: str) -> None:
    made = await create(server, log, Kind.PROJECT)
    updated = await channels.update(
        server,
        ADMIN,
        Kind.PROJECT,
        channel_id=made.channel_id,
        notification_level=NotificationLevel.LV5,
        level_match=LevelMatch.AT_LEAST,
    )

    assert (updated.notification_level, updated.level_match) == (NotificationLevel.LV5, LevelMatch.AT_LEAST)
    assert updated.name == made.name


@ON_ONE_ENGINE
@KINDS
@pytest.mark.parametrize(("changes", "field"), [row for row in WRONG if "topics" not in row[0]])
async def test_a_wrong_update_changes_nothing(
    server: Server, log: str, kind: Kind, changes: dict[str, Any], field: str
) -> None:
    made = await create(server, log, kind)
    before = made.model_dump()

    with pytest.raises(InvalidArgument, check=at(field)):
        await channels.update(server, ADMIN, kind, channel_id=made.channel_id, **changes)
    assert [row.model_dump() for row in await stored(server)] == [before]


@KINDS
async def test_a_schedule_is_set_and_taken_away(server: Server, log: str, kind: Kind) -> None:
    made = await create(server, log, kind)
    closed = await channels.set_schedule(server, ADMIN, kind, channel_id=made.channel_id, schedule=NIGHTS)
    assert closed.schedule is not None
    assert Schedule.from_json(closed.schedule) == NIGHTS

    await channels.set_schedule(server, ADMIN, kind, channel_id=made.channel_id, schedule=None)
    assert [row.schedule for row in await stored(server)] == [None]


@KINDS
async def test_a_subscription_is_to_some_topics_to_none_or_to_all(server: Server, log: str, kind: Kind) -> None:
    made = await create(server, log, kind)
    for topics, expected in ((["b", "a", "b"], ["b", "a"]), ([], []), (None, None)):
        changed = await channels.set_subscription(server, ADMIN, kind, channel_id=made.channel_id, topics=topics)

        assert changed.topics == expected
        assert [row.topics for row in await stored(server)] == [expected]


async def test_a_wrong_topic_is_named_by_its_place(server: Server, log: str) -> None:
    made = await create(server, log, Kind.USER, topics=["kept"])

    with pytest.raises(InvalidArgument, check=at("topics.1")):
        await channels.set_subscription(server, ADMIN, Kind.USER, channel_id=made.channel_id, topics=["fine", "\ud800"])
    assert [row.topics for row in await stored(server)] == [["kept"]]


@KINDS
async def test_a_channel_is_disabled_and_enabled(server: Server, log: str, kind: Kind) -> None:
    made = await create(server, log, kind)
    for state in (ResourceState.DISABLED, ResourceState.DISABLED, ResourceState.ENABLED):
        changed = await channels.set_state(server, ADMIN, kind, channel_id=made.channel_id, state=state)

        assert changed.state is state
        assert [row.state for row in await stored(server)] == [state]


@KINDS
async def test_a_channel_that_is_enabled_again_has_all_its_patience_again(
    server: Server, log: str, kind: Kind, clock: Clock
) -> None:
    made = await create(server, log, kind)
    failed, patience = [made.channel_id], timedelta(hours=120)

    async def fail() -> list[str]:
        async def work(session: AsyncSession) -> Sequence[Channel]:
            return await stored_channels.judge(session, worked=[], failed=failed, now=clock.now, patience=patience)

        return [channel.channel_id for channel in await server.database.write(work)]

    assert await fail() == []
    clock.advance(hours=120)
    assert await fail() == failed
    await channels.set_state(server, ADMIN, kind, channel_id=made.channel_id, state=ResourceState.ENABLED)

    assert await fail() == []
    clock.advance(hours=119)
    assert await fail() == []
    clock.advance(hours=1)
    assert await fail() == failed


@KINDS
async def test_a_deleted_channel_is_gone(server: Server, log: str, kind: Kind) -> None:
    made = await create(server, log, kind)

    assert await channels.delete(server, ADMIN, kind, channel_id=made.channel_id) == made.channel_id
    assert await channels.find(server, ADMIN, kind, made.channel_id) is None
    with pytest.raises(NotFound, check=at(ID_FIELDS[kind])):
        await channels.delete(server, ADMIN, kind, channel_id=made.channel_id)


async def add_delivery(server: Server, channel: Channel, state: DeliveryState) -> str:
    delivery_id = ids.new(ids.DELIVERY)
    now = server.clock()

    async def work(session: AsyncSession) -> None:
        content = Content(
            domain_id="home",
            topic="t",
            message={},
            notification_type=NotificationType.INFO,
            notification_level=NotificationLevel.ALL,
        )
        session.add(content)
        await session.flush()
        delivery = Delivery(
            delivery_id=delivery_id,
            domain_id="home",
            notification_id=ids.new(ids.NOTIFICATION),
            content_id=content.content_id,
            protocol_id=channel.protocol_id,
            plugin_id="log",
            channel_id=channel.channel_id,
            state=state,
            next_attempt_at=now,
            created_by="backend",
            created_at=now,
        )
        session.add(delivery)

    await server.database.write(work)
    return delivery_id


async def find_delivery(server: Server, delivery_id: str) -> Row:
    delivery = await deliveries.find_kept(server.database, delivery_id, Scope("home"))
    assert delivery is not None
    return delivery


async def test_what_waits_for_a_deleted_channel_is_skipped_and_says_so(server: Server, log: str, clock: Clock) -> None:
    mine = await create(server, log, Kind.PROJECT)
    other = await create(server, log, Kind.PROJECT)
    open_ones = [await add_delivery(server, mine, state) for state in (DeliveryState.PENDING, DeliveryState.RETRYING)]
    delivered = await add_delivery(server, mine, DeliveryState.DELIVERED)
    others = await add_delivery(server, other, DeliveryState.PENDING)

    clock.advance(minutes=5)
    await channels.delete(server, ADMIN, Kind.PROJECT, channel_id=mine.channel_id)

    for delivery_id in open_ones:
        skipped = await find_delivery(server, delivery_id)
        assert (skipped.state, skipped.reason) == (DeliveryState.SKIPPED, DecisionReason.CHANNEL_DELETED)
        assert skipped.finished_at == clock.now
    assert (await find_delivery(server, delivered)).state is DeliveryState.DELIVERED
    assert (await find_delivery(server, others)).state is DeliveryState.PENDING
