from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import channels, ids, protocols
from storage.channels import Filter, Kind
from storage.engine import Database
from storage.models import Channel, LevelMatch, NotificationLevel, Protocol, ProtocolType, ResourceState
from storage.paging import Bounds, position
from storage.scope import Scope
from storage.selected import Row

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
PROTOCOLS = {"home": "protocol-00000000home", "away": "protocol-00000000away"}


def channel(name: str, *, minutes: int = 0, domain_id: str = "home", **values: Any) -> Channel:
    kind = Kind.USER if "user_id" in values else Kind.PROJECT
    if kind is Kind.PROJECT:
        levels = {"notification_level": NotificationLevel.LV1, "level_match": LevelMatch.EXACT}
        values = {"project_id": "shop", **levels, **values}
    return Channel(
        channel_id=ids.new(kind.value),
        domain_id=domain_id,
        protocol_id=PROTOCOLS[domain_id],
        name=name,
        data={"url": "https://example.com/é", "deep": [{"a": 1.5}]},
        created_at=NOON + timedelta(minutes=minutes),
        **values,
    )


@pytest.fixture
async def many(database: Database) -> Database:
    """Two projects' and two users' channels, and another domain's."""
    rows = [
        channel("shop 1", minutes=1),
        channel("shop 2", minutes=2, notification_level=NotificationLevel.LV2, state=ResourceState.DISABLED),
        channel("farm 3", minutes=3, project_id="farm"),
        channel("alice 4", minutes=4, user_id="alice"),
        channel("alice 5", minutes=5, user_id="alice", state=ResourceState.DISABLED),
        channel("bob 6", minutes=6, user_id="bob"),
        channel("away 7", minutes=7, domain_id="away"),
        channel("away 8", minutes=8, domain_id="away", user_id="alice"),
    ]

    async def work(session: AsyncSession) -> None:
        for domain_id, protocol_id in PROTOCOLS.items():
            protocol = Protocol(
                protocol_id=protocol_id,
                domain_id=domain_id,
                name="log",
                protocol_type=ProtocolType.EXTERNAL,
                created_at=NOON,
            )
            await protocols.create(session, protocol)
        for row in rows:
            await channels.create(session, row)

    await database.write(work)
    return database


async def named(database: Database, kind: Kind, name: str) -> Row:
    async with database.read() as session:
        row = await channels.in_scope(kind, Scope(None)).find(session, Filter(name=name))
    assert row is not None
    return row


async def names(database: Database, kind: Kind, scope: Scope, **wanted: Any) -> list[str]:
    records = channels.in_scope(kind, scope)
    async with database.read() as session:
        page = await records.page(session, Filter(**wanted), Bounds(limit=10))
        count = await records.count(session, Filter(**wanted))
    assert count == len(page.rows)
    return [row.name for row in page.rows]


async def found_as(database: Database, kind: Kind, channel_id: str, scope: Scope) -> Row | None:
    async with database.read() as session:
        return await channels.in_scope(kind, scope).find(session, Filter(channel_id=channel_id))


async def test_a_channel_comes_back_as_it_was_stored(many: Database) -> None:
    given = channel(
        "full",
        topics=["monitoring.*"],
        schedule={"day_of_week": ["MON"]},
        tags={"team": "a"},
        secret_data=b"sealed",
    )
    expected = given.model_dump()
    await many.write(lambda session: channels.create(session, given))

    found = await found_as(many, Kind.PROJECT, given.channel_id, Scope("home"))

    assert found is not None
    assert {name: getattr(found, name) for name in expected} == expected


async def test_projects_and_users_channels_are_lists_of_their_own(many: Database) -> None:
    assert await names(many, Kind.PROJECT, Scope("home")) == ["farm 3", "shop 2", "shop 1"]
    assert await names(many, Kind.USER, Scope("home")) == ["bob 6", "alice 5", "alice 4"]


async def test_a_channel_is_not_found_as_one_of_the_other_kind(many: Database) -> None:
    mine = await named(many, Kind.USER, "alice 4")

    assert await found_as(many, Kind.USER, mine.channel_id, Scope("home")) is not None
    assert await found_as(many, Kind.PROJECT, mine.channel_id, Scope("home")) is None
    async with many.read() as session:
        assert await channels.lock(session, Kind.PROJECT, mine.channel_id, Scope("home")) is None


@pytest.mark.parametrize("scope", [Scope("away"), Scope("home", user_id="bob"), Scope("away", user_id="alice")])
async def test_a_channel_out_of_scope_is_not_found(many: Database, scope: Scope) -> None:
    mine = await named(many, Kind.USER, "alice 4")

    assert await found_as(many, Kind.USER, mine.channel_id, scope) is None
    async with many.read() as session:
        assert await channels.lock(session, Kind.USER, mine.channel_id, scope) is None


async def test_a_users_scope_shows_this_users_channels_of_this_domain(many: Database) -> None:
    assert await names(many, Kind.USER, Scope("home", user_id="alice")) == ["alice 5", "alice 4"]
    assert await names(many, Kind.PROJECT, Scope("home", user_id="alice")) == []


@pytest.mark.parametrize(
    ("kind", "wanted", "expected"),
    [
        (Kind.PROJECT, {"owner_id": "shop"}, ["shop 2", "shop 1"]),
        (Kind.PROJECT, {"owner_id": "alice"}, []),
        (Kind.PROJECT, {"name": "farm 3"}, ["farm 3"]),
        (Kind.PROJECT, {"state": ResourceState.DISABLED}, ["shop 2"]),
        (Kind.PROJECT, {"notification_level": NotificationLevel.LV1}, ["farm 3", "shop 1"]),
        (Kind.PROJECT, {"owner_id": "shop", "notification_level": NotificationLevel.LV1}, ["shop 1"]),
        (Kind.PROJECT, {"protocol_id": PROTOCOLS["home"]}, ["farm 3", "shop 2", "shop 1"]),
        (Kind.PROJECT, {"protocol_id": PROTOCOLS["away"]}, []),
        (Kind.PROJECT, {"channel_id": "project-ch-none"}, []),
        (Kind.USER, {"owner_id": "alice"}, ["alice 5", "alice 4"]),
        (Kind.USER, {"owner_id": "shop"}, []),
        (Kind.USER, {"owner_id": "alice", "state": ResourceState.ENABLED}, ["alice 4"]),
    ],
)
async def test_filters_narrow(many: Database, kind: Kind, wanted: dict[str, Any], expected: list[str]) -> None:
    assert await names(many, kind, Scope("home"), **wanted) == expected


async def test_channels_of_one_instant_are_paged_by_their_ids(many: Database) -> None:
    rows = [channel(f"twin {number}", project_id="twins") for number in range(5)]

    async def work(session: AsyncSession) -> None:
        for row in rows:
            await channels.create(session, row)

    await many.write(work)
    seen: list[str] = []
    after = None
    records = channels.in_scope(Kind.PROJECT, Scope("home"))
    async with many.read() as session:
        for _ in rows:
            page = await records.page(session, Filter(owner_id="twins"), Bounds(limit=1, after=after))
            seen += [row.channel_id for row in page.rows]
            after = position(page.rows[-1], channels.NEWEST_FIRST)

    assert seen == sorted((row.channel_id for row in rows), reverse=True)
    assert not page.has_next


async def test_a_removed_channel_is_gone_and_no_other(many: Database) -> None:
    shown = await named(many, Kind.PROJECT, "shop 1")

    async def work(session: AsyncSession) -> None:
        row = await channels.lock(session, Kind.PROJECT, shown.channel_id, Scope("home"))
        assert row is not None
        await channels.remove(session, row)

    await many.write(work)

    assert await names(many, Kind.PROJECT, Scope("home")) == ["farm 3", "shop 2"]
