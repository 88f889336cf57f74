"""Whose business which channels are, and what each caller sees of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from resolvers import channels
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import InvalidArgument, NotFound, PermissionDenied
from resolvers.paging import Window
from storage.channels import Filter, Kind
from storage.models import ResourceState
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, AWAY_ADMIN, BOB, SERVICE, SYSTEM
from tests.resolvers.refusals import ON_ONE_ENGINE, at
from tests.resolvers.some_channels import ID_FIELDS, KINDS, create, known_users, stored


async def names(
    server: Server, caller: Caller, kind: Kind, *, domain_id: str | None = None, **wanted: Any
) -> list[str]:
    listing = await channels.page(server, caller, kind, wanted=Filter(**wanted), window=Window(), domain_id=domain_id)
    assert await listing.count() == len(listing.page.rows)
    return [row.name for row in listing.page.rows]


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
