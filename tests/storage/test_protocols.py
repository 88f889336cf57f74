from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import channels, ids, protocols
from storage.engine import Database
from storage.models import Channel, Protocol, ProtocolType, ResourceState
from storage.paging import Bounds, position
from storage.protocols import Filter
from storage.scope import Scope

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOME = "home"
IN_HOME = protocols.in_scope(Scope(HOME))
INTERNAL = ids.internal_protocol(HOME)


def external(name: str, *, domain_id: str = HOME, minutes: int = 0) -> Protocol:
    return Protocol(
        protocol_id=ids.new(ids.PROTOCOL),
        domain_id=domain_id,
        name=name,
        protocol_type=ProtocolType.EXTERNAL,
        plugin_id="log",
        options={"numbers": [1, 2.5], "nothing": None},
        created_at=NOON + timedelta(minutes=minutes),
    )


async def store(database: Database, *rows: Any) -> None:
    async def work(session: AsyncSession) -> None:
        for row in rows:
            session.add(row)
            await session.flush()

    await database.write(work)


async def store_internal(database: Database) -> None:
    await database.write(lambda session: protocols.ensure_internal(session, HOME))


async def names(database: Database, bounds: Bounds, **wanted: Any) -> list[str]:
    async with database.read() as session:
        page = await IN_HOME.page(session, Filter(**wanted), bounds)
        return [row.name for row in page.rows]


async def stored(database: Database) -> list[Protocol]:
    async with database.read() as session:
        return list(await session.exec(select(Protocol).order_by(col(Protocol.name))))


@pytest.fixture(params=["virtual", "stored"])
async def home(request: pytest.FixtureRequest, database: Database) -> Database:
    """A domain with three protocols of its own, and the INTERNAL one, stored or not: nobody can tell."""
    if request.param == "stored":
        await store_internal(database)
    await store(database, *(external(f"protocol {number}", minutes=number) for number in (1, 2, 3)))
    await store(database, external("elsewhere", domain_id="away"))
    return database


async def test_every_domain_has_an_internal_protocol_before_anything_is_stored(database: Database) -> None:
    async with database.read() as session:
        protocol = await protocols.find(session, INTERNAL, Scope(HOME))
        page = await IN_HOME.page(session, Filter(), Bounds(limit=10))

    assert protocol is not None
    assert [row.protocol_id for row in page.rows] == [INTERNAL]
    assert (protocol.name, protocol.protocol_type, protocol.state) == ("Internal", "INTERNAL", "ENABLED")
    assert (protocol.plugin_id, protocol.secret_data, protocol.options, protocol.tags) == (None, None, {}, {})
    assert protocol.created_at == datetime(1970, 1, 1, tzinfo=UTC)
    assert await stored(database) == []


async def test_the_stored_internal_protocol_is_equal_to_the_virtual_one(database: Database) -> None:
    async with database.read() as session:
        virtual = await protocols.find(session, INTERNAL, Scope(HOME))
    await store_internal(database)

    assert virtual is not None
    assert [row.model_dump() for row in await stored(database)] == [virtual.model_dump()]


async def test_storing_the_internal_protocol_again_keeps_what_was_changed(database: Database) -> None:
    await store_internal(database)

    async def rename(session: AsyncSession) -> None:
        protocol = await protocols.lock(session, INTERNAL, Scope(HOME))
        assert protocol is not None
        protocol.name = "Inbox"

    await database.write(rename)
    await store_internal(database)

    assert [row.name for row in await stored(database)] == ["Inbox"]


async def test_a_protocol_comes_back_as_it_was_stored(database: Database) -> None:
    await store(database, row := external("mail"))
    given = row.model_dump()

    async with database.read() as session:
        found = await protocols.find(session, row.protocol_id, Scope(HOME))
        anywhere = await protocols.find(session, row.protocol_id, Scope(None))

    assert found is not None
    assert anywhere is not None
    assert found.model_dump() == anywhere.model_dump() == given


async def test_another_domains_protocol_is_not_found(home: Database) -> None:
    elsewhere = next(row for row in await stored(home) if row.domain_id == "away")

    async with home.read() as session:
        assert await protocols.find(session, elsewhere.protocol_id, Scope(HOME)) is None
        assert await protocols.lock(session, elsewhere.protocol_id, Scope(HOME)) is None
        assert await protocols.find(session, ids.internal_protocol("away"), Scope(HOME)) is None


async def test_a_list_is_newest_first_with_the_internal_protocol_last(home: Database) -> None:
    assert await names(home, Bounds(limit=10)) == ["protocol 3", "protocol 2", "protocol 1", "Internal"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
async def test_pages_of_any_size_show_every_protocol_once(home: Database, limit: int) -> None:
    seen: list[str] = []
    after = None
    async with home.read() as session:
        while True:
            page = await IN_HOME.page(session, Filter(), Bounds(limit=limit, after=after))
            seen += [row.name for row in page.rows]
            assert page.has_previous is (after is not None)
            if not page.has_next:
                break
            after = position(page.rows[-1], IN_HOME.usual)

    assert seen == ["protocol 3", "protocol 2", "protocol 1", "Internal"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
async def test_pages_backwards_show_every_protocol_once(home: Database, limit: int) -> None:
    seen: list[str] = []
    before = None
    async with home.read() as session:
        while True:
            bounds = Bounds(limit=limit, before=before, backwards=True)
            page = await IN_HOME.page(session, Filter(), bounds)
            seen = [row.name for row in page.rows] + seen
            assert page.has_next is (before is not None)
            if not page.has_previous:
                break
            before = position(page.rows[0], IN_HOME.usual)

    assert seen == ["protocol 3", "protocol 2", "protocol 1", "Internal"]


async def test_a_page_after_the_internal_protocol_is_empty(home: Database) -> None:
    after = position(protocols.internal(HOME), IN_HOME.usual)

    assert await names(home, Bounds(limit=10, after=after)) == []
    assert await names(home, Bounds(limit=1, before=after, backwards=True)) == ["protocol 1"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["protocol 3", "protocol 2", "protocol 1", "Internal"]),
        ({"name": "Internal"}, ["Internal"]),
        ({"name": "protocol 2"}, ["protocol 2"]),
        ({"name": "elsewhere"}, []),
        ({"protocol_id": INTERNAL}, ["Internal"]),
        ({"protocol_id": ids.internal_protocol("away")}, []),
        ({"protocol_type": ProtocolType.INTERNAL}, ["Internal"]),
        ({"protocol_type": ProtocolType.EXTERNAL}, ["protocol 3", "protocol 2", "protocol 1"]),
        ({"state": ResourceState.ENABLED}, ["protocol 3", "protocol 2", "protocol 1", "Internal"]),
        ({"state": ResourceState.DISABLED}, []),
        ({"state": ResourceState.ENABLED, "name": "Internal", "protocol_type": ProtocolType.EXTERNAL}, []),
    ],
)
async def test_filters_and_counts_take_the_internal_protocol_like_any_other(
    home: Database, wanted: dict[str, Any], expected: list[str]
) -> None:
    async with home.read() as session:
        total = await IN_HOME.count(session, Filter(**wanted))

    assert await names(home, Bounds(limit=10), **wanted) == expected
    assert total == len(expected)


async def test_reading_stores_nothing(database: Database) -> None:
    async def read_all(session: AsyncSession) -> None:
        await protocols.find(session, INTERNAL, Scope(HOME))
        await IN_HOME.page(session, Filter(), Bounds(limit=10))
        await IN_HOME.count(session, Filter())

    await database.write(read_all)

    assert await stored(database) == []


async def test_a_name_is_taken_within_its_domain_by_another_protocol_only(home: Database) -> None:
    mine = next(row for row in await stored(home) if row.name == "protocol 1")

    async with home.read() as session:
        assert await protocols.is_name_taken(session, HOME, "protocol 1")
        assert not await protocols.is_name_taken(session, HOME, "protocol 1", besides=mine.protocol_id)
        assert not await protocols.is_name_taken(session, "away", "protocol 1")
        assert not await protocols.is_name_taken(session, HOME, "Protocol 1")


async def test_a_protocol_is_used_while_a_channel_leads_through_it(database: Database) -> None:
    channel_id = ids.new(ids.USER_CHANNEL)
    await store(database, protocol := external("mail"))
    channel = Channel(
        channel_id=channel_id,
        domain_id=HOME,
        protocol_id=protocol.protocol_id,
        user_id="alice",
        name="c",
        data={},
        created_at=NOON,
    )
    await store(database, channel)

    async def is_used(session: AsyncSession) -> bool:
        return await protocols.is_used(session, protocol.protocol_id)

    assert await database.write(is_used)
    await database.write(lambda session: channels.remove(session, channel))
    assert not await database.write(is_used)


async def test_a_removed_protocol_is_gone(database: Database) -> None:
    await store(database, row := external("mail"))
    await database.write(lambda session: protocols.remove(session, row))

    async with database.read() as session:
        assert await protocols.find(session, row.protocol_id, Scope(None)) is None
