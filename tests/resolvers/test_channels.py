from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from dispatch.schedules import Schedule
from resolvers import channel_data, channels, plugins, protocols
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from resolvers.paging import Window
from storage import deliveries, ids, inboxes
from storage.channels import Filter, Kind
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
    Protocol,
    ProtocolType,
    ResourceState,
)
from storage.scope import Scope
from storage.secrets import MASK
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, AWAY_ADMIN, BOB, SERVICE, SYSTEM
from tests.resolvers.courier import GOOD_TOKEN, Courier
from tests.resolvers.refusals import at

INTERNAL = ids.internal_protocol("home")
NIGHTS = Schedule((DayOfWeek.MON, DayOfWeek.FRI), "22:00", "06:30", "Asia/Seoul", OffHours.DEFER)
ID_FIELDS = {Kind.PROJECT: "projectChannelId", Kind.USER: "userChannelId"}
KINDS = pytest.mark.parametrize("kind", Kind)
# What is refused before the database is asked is refused alike on both.
ON_ONE_ENGINE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def log(server: Server) -> str:
    """The id of a protocol whose channels' data is shown."""
    return (await protocols.create(server, ADMIN, name="Log", plugin_id="log")).protocol_id


@pytest.fixture
async def courier_protocol(server: Server) -> str:
    """The id of a protocol whose channels' data is secret."""
    secret = {"token": GOOD_TOKEN}
    made = await protocols.create(server, ADMIN, name="Vans", plugin_id="courier", secret_data=secret)
    return made.protocol_id


async def create(server: Server, protocol_id: str, kind: Kind, caller: Caller = ADMIN, **changes: Any) -> Channel:
    owner = "shop" if kind is Kind.PROJECT else "alice"
    wish = {"protocol_id": protocol_id, "owner_id": owner, "name": "Front door", "data": {"to": "all"}}
    return await channels.create(server, caller, kind, **{**wish, **changes})


async def internal(server: Server, users: Any, caller: Caller = ADMIN, **changes: Any) -> Channel:
    return await create(server, INTERNAL, Kind.PROJECT, caller, data={"users": users}, **changes)


async def stored(server: Server) -> list[Channel]:
    async with server.database.read() as session:
        return list(await session.exec(select(Channel)))


async def known_users(server: Server, domain_id: str = "home") -> list[str]:
    async with server.database.read() as session:
        return await inboxes.known_users(session, domain_id, limit=20_000)


async def names(
    server: Server, caller: Caller, kind: Kind, *, domain_id: str | None = None, **wanted: Any
) -> list[str]:
    listing = await channels.page(server, caller, kind, wanted=Filter(**wanted), window=Window(), domain_id=domain_id)
    assert await listing.count() == len(listing.page.rows)
    return [row.name for row in listing.page.rows]


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


@ON_ONE_ENGINE
@KINDS
@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, "data.door"),
        ({"door": "ab"}, "data.door"),
        ({"door": 1}, "data.door"),
        ({"door": "blue", "window": "left"}, "data"),
        (MASK, "data"),
        ({"door": MASK}, "data.door"),
    ],
)
async def test_data_is_what_the_plugin_asks_for(
    server: Server, courier_protocol: str, kind: Kind, data: Any, field: str
) -> None:
    with pytest.raises(InvalidArgument, check=at(field)):
        await create(server, courier_protocol, kind, data=data)
    assert await stored(server) == []


@KINDS
async def test_secret_data_is_sealed_and_plain_data_is_not(
    server: Server, courier_protocol: str, log: str, kind: Kind
) -> None:
    secret = await create(server, courier_protocol, kind, data={"door": "the blue one"})
    plain = await create(server, log, kind, data={"door": "the blue one"})

    assert secret.data is None
    assert secret.secret_data is not None
    assert b"blue" not in secret.secret_data
    assert server.vault.unseal(secret.secret_data) == {"door": "the blue one"}
    assert (plain.data, plain.secret_data) == ({"door": "the blue one"}, None)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (None, {"door": "blue", "code": "1234"}),
        (MASK, {"door": "blue", "code": "1234"}),
        ({"door": MASK, "code": MASK}, {"door": "blue", "code": "1234"}),
        ({"door": "green", "code": MASK}, {"door": "green", "code": "1234"}),
        ({"door": MASK}, {"door": "blue"}),
        ({"door": "green"}, {"door": "green"}),
    ],
)
async def test_the_mask_stands_for_the_data_that_is_kept(
    server: Server, courier_protocol: str, sent: Any, kept: dict[str, str]
) -> None:
    made = await create(server, courier_protocol, Kind.USER, data={"door": "blue", "code": "1234"})

    updated = await channels.update(server, ADMIN, Kind.USER, channel_id=made.channel_id, data=sent)

    assert updated.data is None
    assert updated.secret_data is not None
    assert server.vault.unseal(updated.secret_data) == kept


async def test_the_mask_of_data_that_was_never_kept_is_refused(server: Server, courier_protocol: str, log: str) -> None:
    secret = await create(server, courier_protocol, Kind.USER, data={"door": "blue"})
    plain = await create(server, log, Kind.USER)

    data = {"door": MASK, "code": MASK}
    with pytest.raises(InvalidArgument, check=at("data.code")):
        await channels.update(server, ADMIN, Kind.USER, channel_id=secret.channel_id, data=data)
    with pytest.raises(InvalidArgument, check=at("data")):
        await channels.update(server, ADMIN, Kind.USER, channel_id=plain.channel_id, data=MASK)


async def test_secret_data_that_changed_meanwhile_is_not_brought_back_by_a_mask(
    server: Server, courier_protocol: str
) -> None:
    made = await create(server, courier_protocol, Kind.USER, data={"door": "blue", "code": "1234"})
    slow_courier = Courier()
    slow_courier.go_on.clear()
    slowly = replace(server, plugins={**server.plugins, "courier": slow_courier})
    data = {"door": "green", "code": MASK}
    slow = asyncio.create_task(channels.update(slowly, ADMIN, Kind.USER, channel_id=made.channel_id, data=data))
    async with asyncio.timeout(5):
        await slow_courier.asked.wait()
        new = {"door": "blue", "code": "9999"}
        await channels.update(server, ADMIN, Kind.USER, channel_id=made.channel_id, data=new)
        slow_courier.go_on.set()
        with pytest.raises(FailedPrecondition, check=at("userChannelId")):
            await slow

    found = await channels.find(server, ADMIN, Kind.USER, made.channel_id)
    assert found is not None
    assert found.secret_data is not None
    assert server.vault.unseal(found.secret_data) == new


async def test_a_protocol_deleted_while_its_plugin_is_asked_gets_no_channel(
    server: Server, courier_protocol: str
) -> None:
    slow_courier = Courier()
    slow_courier.go_on.clear()
    slowly = replace(server, plugins={**server.plugins, "courier": slow_courier})
    slow = asyncio.create_task(create(slowly, courier_protocol, Kind.USER, data={"door": "blue"}))
    async with asyncio.timeout(5):
        await slow_courier.asked.wait()
        await protocols.delete(server, ADMIN, protocol_id=courier_protocol)
        slow_courier.go_on.set()
        with pytest.raises(NotFound, check=at("protocolId")):
            await slow
    assert await stored(server) == []


async def test_an_internal_channel_names_users_who_become_known(server: Server) -> None:
    made = await internal(server, ["zoe", "alice"])

    assert made.data == {"users": ["zoe", "alice"]}
    assert made.protocol_id == INTERNAL
    assert await known_users(server) == ["admin", "alice", "zoe"]


async def test_the_first_internal_channel_stores_the_internal_protocol(server: Server) -> None:
    await internal(server, ["alice"])

    async with server.database.read() as session:
        assert [row.protocol_id for row in await session.exec(select(Protocol))] == [INTERNAL]


async def test_an_updated_internal_channel_makes_its_new_users_known(server: Server) -> None:
    made = await internal(server, ["alice"])
    updated = await channels.update(
        server, ADMIN, Kind.PROJECT, channel_id=made.channel_id, data={"users": ["bob", "zoe"]}
    )

    assert updated.data == {"users": ["bob", "zoe"]}
    assert await known_users(server) == ["admin", "alice", "bob", "zoe"]


async def test_users_of_another_domain_become_known_there(server: Server) -> None:
    away = ids.internal_protocol("away")
    await create(server, away, Kind.PROJECT, SYSTEM, data={"users": ["alice"]}, domain_id="away")

    assert await known_users(server, "away") == ["alice"]
    assert await known_users(server, SYSTEM.domain_id) == [SYSTEM.user_id]
    assert await known_users(server) == []


async def test_an_internal_channel_may_name_ten_thousand_users(server: Server) -> None:
    users = [f"user-{number:05}" for number in range(10_000)]
    await internal(server, users)

    assert len(await known_users(server)) == 10_001
    with pytest.raises(InvalidArgument, check=at("data.users")):
        await internal(server, [*users, "one more"])


WRONG_USERS: list[tuple[Any, str]] = [
    ({}, "data.users"),
    ({"users": []}, "data.users"),
    ({"users": "alice"}, "data.users"),
    ({"users": None}, "data.users"),
    ({"users": ["alice", 7]}, "data.users"),
    ({"users": ["*"]}, "data.users"),
    ({"users": ["alice", "*"]}, "data.users"),
    ({"users": ["alice", "bob", "alice"]}, "data.users"),
    ({"users": ["alice", ""]}, "data.users.1"),
    ({"users": ["u" * 129]}, "data.users.0"),
    ({"users": ["alice"], "groups": []}, "data"),
    (["alice"], "data"),
    (MASK, "data"),
]


@ON_ONE_ENGINE
@pytest.mark.parametrize(("data", "field"), WRONG_USERS)
async def test_an_internal_channels_data_is_a_list_of_users_and_nothing_else(
    server: Server, data: Any, field: str
) -> None:
    with pytest.raises(InvalidArgument, check=at(field)):
        await create(server, INTERNAL, Kind.PROJECT, data=data)
    assert await stored(server) == []
    assert await known_users(server) == []


@ON_ONE_ENGINE
async def test_the_published_schema_of_internal_data_refuses_what_the_rules_refuse(server: Server) -> None:
    schema = await channel_data.schema(server, ProtocolType.INTERNAL, plugin_id=None, options={})
    assert schema is not None

    plugins.check({"users": ["alice", "bob"]}, schema, "data")
    for wrong, _ in WRONG_USERS:
        with pytest.raises(InvalidArgument):
            plugins.check(wrong, schema, "data")


async def test_a_users_channel_does_not_lead_to_inboxes(server: Server) -> None:
    with pytest.raises(InvalidArgument, check=at("protocolId")):
        await create(server, INTERNAL, Kind.USER, data={"users": ["alice"]})


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


async def find_delivery(server: Server, delivery_id: str) -> Delivery:
    async with server.database.read() as session:
        delivery = await deliveries.find(session, delivery_id, Scope("home"))
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


Operation = Callable[[Server, Caller, Kind, str], Awaitable[Any]]

BY_ID: dict[str, Operation] = {
    "update": lambda server, caller, kind, id: channels.update(server, caller, kind, channel_id=id, name="new"),
    "update data": lambda server, caller, kind, id: channels.update(server, caller, kind, channel_id=id, data={}),
    "setSchedule": lambda server, caller, kind, id: channels.set_schedule(
        server, caller, kind, channel_id=id, schedule=None
    ),
    "setSubscription": lambda server, caller, kind, id: channels.set_subscription(
        server, caller, kind, channel_id=id, topics=[]
    ),
    "disable": lambda server, caller, kind, id: channels.set_state(
        server, caller, kind, channel_id=id, state=ResourceState.DISABLED
    ),
    "delete": lambda server, caller, kind, id: channels.delete(server, caller, kind, channel_id=id),
}
READS: dict[str, Operation] = {
    "get": lambda server, caller, kind, id: channels.find(server, caller, kind, id),
    "list": lambda server, caller, kind, _: channels.page(server, caller, kind, wanted=Filter(), window=Window()),
}


@ON_ONE_ENGINE
@pytest.mark.parametrize("caller", [ALICE, SERVICE])
@pytest.mark.parametrize("name", [*BY_ID, *READS])
async def test_project_channels_are_the_administrators_business(
    server: Server, log: str, name: str, caller: Caller
) -> None:
    made = await create(server, log, Kind.PROJECT)

    with pytest.raises(PermissionDenied):
        await (BY_ID | READS)[name](server, caller, Kind.PROJECT, made.channel_id)
    with pytest.raises(PermissionDenied):
        await create(server, log, Kind.PROJECT, caller)


@ON_ONE_ENGINE
@pytest.mark.parametrize("name", [*BY_ID, *READS])
async def test_a_service_has_nothing_to_do_with_user_channels(server: Server, log: str, name: str) -> None:
    made = await create(server, log, Kind.USER)

    with pytest.raises(PermissionDenied):
        await (BY_ID | READS)[name](server, SERVICE, Kind.USER, made.channel_id)
    with pytest.raises(PermissionDenied):
        await create(server, log, Kind.USER, SERVICE)


@pytest.mark.parametrize("caller", [ALICE, ADMIN, SYSTEM])
@pytest.mark.parametrize("name", [*BY_ID, *READS])
async def test_users_and_administrators_do_everything_with_a_users_channel(
    server: Server, log: str, name: str, caller: Caller
) -> None:
    made = await create(server, log, Kind.USER, ALICE)

    assert await (BY_ID | READS)[name](server, caller, Kind.USER, made.channel_id)


@pytest.mark.parametrize("caller", [BOB, AWAY_ADMIN])
@pytest.mark.parametrize("name", BY_ID)
async def test_other_peoples_channels_are_not_found(server: Server, log: str, name: str, caller: Caller) -> None:
    made = await create(server, log, Kind.USER, ALICE)
    before = made.model_dump()

    with pytest.raises(NotFound, check=at("userChannelId")):
        await BY_ID[name](server, caller, Kind.USER, made.channel_id)
    assert await channels.find(server, caller, Kind.USER, made.channel_id) is None
    assert [row.model_dump() for row in await stored(server)] == [before]


@KINDS
@pytest.mark.parametrize("name", BY_ID)
async def test_what_is_not_there_or_of_the_other_kind_is_not_found(
    server: Server, log: str, name: str, kind: Kind
) -> None:
    other = await create(server, log, Kind.USER if kind is Kind.PROJECT else Kind.PROJECT)

    for channel_id in (f"{kind.value}-000000000000", other.channel_id):
        with pytest.raises(NotFound, check=at(ID_FIELDS[kind])):
            await BY_ID[name](server, ADMIN, kind, channel_id)
        assert await channels.find(server, ADMIN, kind, channel_id) is None


@ON_ONE_ENGINE
@KINDS
@pytest.mark.parametrize("name", [*BY_ID, "get"])
async def test_what_cannot_be_an_id_is_an_invalid_argument(server: Server, name: str, kind: Kind) -> None:
    for channel_id in ("", "\ud800", "a\0b", "x" * 1_000_000):
        with pytest.raises(InvalidArgument, check=at(ID_FIELDS[kind])):
            await (BY_ID | READS)[name](server, ADMIN, kind, channel_id)


async def test_a_user_makes_channels_for_nobody_else(server: Server, log: str) -> None:
    with pytest.raises(PermissionDenied, check=at("userId")):
        await create(server, log, Kind.USER, ALICE, owner_id="bob")

    assert (await create(server, log, Kind.USER, ALICE, owner_id="alice")).user_id == "alice"
    assert (await create(server, log, Kind.USER, ALICE, owner_id=None)).user_id == "alice"
    assert (await create(server, log, Kind.USER, ADMIN, owner_id="bob")).user_id == "bob"
    assert (await create(server, log, Kind.USER, ADMIN, owner_id=None)).user_id == "admin"


async def test_a_user_lists_own_channels_and_an_administrator_everybodys(
    server: Server, log: str, clock: Clock
) -> None:
    for owner in ("alice", "bob", "alice"):
        await create(server, log, Kind.USER, owner_id=owner, name=f"{owner} {clock.now.minute}")
        clock.advance(minutes=1)

    assert await names(server, ALICE, Kind.USER) == ["alice 14", "alice 12"]
    assert await names(server, ALICE, Kind.USER, owner_id="alice") == ["alice 14", "alice 12"]
    assert await names(server, ADMIN, Kind.USER) == ["alice 14", "bob 13", "alice 12"]
    assert await names(server, ADMIN, Kind.USER, owner_id="bob") == ["bob 13"]
    assert await names(server, AWAY_ADMIN, Kind.USER) == []
    assert await names(server, SYSTEM, Kind.USER, domain_id="home", name="bob 13") == ["bob 13"]


async def test_a_user_cannot_ask_for_anothers_list(server: Server, log: str) -> None:
    await create(server, log, Kind.USER, owner_id="bob")

    with pytest.raises(PermissionDenied, check=at("filter.userId")):
        await names(server, ALICE, Kind.USER, owner_id="bob")


@KINDS
async def test_only_the_system_names_another_domain(server: Server, log: str, kind: Kind) -> None:
    with pytest.raises(PermissionDenied, check=at("domainId")):
        await create(server, log, kind, AWAY_ADMIN, domain_id="home")
    with pytest.raises(PermissionDenied, check=at("filter.domainId")):
        await names(server, AWAY_ADMIN, kind, domain_id="home")

    made = await create(server, log, kind, SYSTEM, domain_id="home")
    assert made.domain_id == "home"
    assert await names(server, SYSTEM, kind, domain_id="home") == ["Front door"]
    assert await names(server, SYSTEM, kind) == []


@ON_ONE_ENGINE
@KINDS
async def test_a_filter_that_nothing_could_match_is_an_invalid_argument(server: Server, kind: Kind) -> None:
    wrong = {
        "channel_id": ID_FIELDS[kind],
        "owner_id": "projectId" if kind is Kind.PROJECT else "userId",
        "name": "name",
        "protocol_id": "protocolId",
    }
    for name, field in wrong.items():
        with pytest.raises(InvalidArgument, check=at(f"filter.{field}")):
            await names(server, ADMIN, kind, **{name: "a\0b"})


async def test_pages_are_walked_by_their_cursors(server: Server, log: str, clock: Clock) -> None:
    for number in range(3):
        await create(server, log, Kind.PROJECT, name=f"channel {number}")
        clock.advance(seconds=1)
    seen: list[str] = []
    after = None
    for _ in range(3):
        listing = await channels.page(server, ADMIN, Kind.PROJECT, wanted=Filter(), window=Window(first=1, after=after))
        seen += [row.name for row in listing.page.rows]
        after = listing.cursor(listing.page.rows[-1])

    assert seen == ["channel 2", "channel 1", "channel 0"]
    assert not listing.page.has_next
    assert await listing.count() == 3


async def test_a_user_becomes_known_by_writing_and_not_by_reading(server: Server, log: str) -> None:
    await names(server, BOB, Kind.USER)
    assert "bob" not in await known_users(server)

    await create(server, log, Kind.USER, BOB, owner_id=None)
    assert await known_users(server) == ["admin", "bob"]


async def test_a_user_for_whom_a_channel_is_made_is_not_known_by_that(server: Server, log: str) -> None:
    await create(server, log, Kind.USER, ADMIN, owner_id="alice")

    assert await known_users(server) == ["admin"]


async def test_of_a_webhook_the_address_is_shown_and_what_its_headers_say_is_not(server: Server) -> None:
    protocol = await protocols.create(server, ADMIN, name="Hooks", plugin_id="webhook")
    data = {"url": "https://example.org/hook", "headers": {"Authorization": "Bearer marker-secret"}}

    made = await create(server, protocol.protocol_id, Kind.PROJECT, data=data)
    shown = {**data, "headers": {"Authorization": MASK}}
    kept = await channels.update(
        server, ADMIN, Kind.PROJECT, channel_id=made.channel_id, data={**shown, "url": "https://example.org/other"}
    )

    assert (made.data, kept.data) == (shown, {**shown, "url": "https://example.org/other"})
    assert kept.secret_data is not None
    assert server.vault.unseal(kept.secret_data) == {**data, "url": "https://example.org/other"}
