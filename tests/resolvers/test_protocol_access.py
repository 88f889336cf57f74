"""Whose business protocols are, and how they are listed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from resolvers import plugins, protocols
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import InvalidArgument, NotFound, PermissionDenied
from resolvers.paging import Window
from storage import inboxes
from storage.models import ResourceState
from storage.protocols import Filter
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, AWAY_ADMIN, SERVICE, SYSTEM
from tests.resolvers.refusals import ON_ONE_ENGINE, at
from tests.resolvers.some_protocols import INTERNAL, create, names

NOBODYS = "protocol-000000000000"
Operation = Callable[[Server, Caller, str], Awaitable[Any]]
OPERATIONS: dict[str, Operation] = {
    "plugins": lambda server, caller, _: plugins.installed(server, caller),
    "protocol": lambda server, caller, id: protocols.find(server, caller, id),
    "protocols": lambda server, caller, _: protocols.page(server, caller, wanted=Filter(), window=Window()),
    "createProtocol": lambda server, caller, _: create(server, caller, name="another"),
    "updateProtocol": lambda server, caller, id: protocols.update(server, caller, protocol_id=id, name="new"),
    "updateProtocolPlugin": lambda server, caller, id: protocols.update_plugin(server, caller, protocol_id=id),
    "enableProtocol": lambda server, caller, id: protocols.set_state(
        server, caller, protocol_id=id, state=ResourceState.ENABLED
    ),
    "verifyProtocol": lambda server, caller, id: protocols.verify(server, caller, protocol_id=id),
    "deleteProtocol": lambda server, caller, id: protocols.delete(server, caller, protocol_id=id),
}
BY_ID = [name for name in OPERATIONS if name not in ("plugins", "protocol", "protocols", "createProtocol")]


@ON_ONE_ENGINE
@pytest.mark.parametrize("caller", [ALICE, SERVICE])
@pytest.mark.parametrize("name", OPERATIONS)
async def test_protocols_and_plugins_are_the_administrators_business(server: Server, name: str, caller: Caller) -> None:
    made = await create(server)
    with pytest.raises(PermissionDenied):
        await OPERATIONS[name](server, caller, made.protocol_id)


@pytest.mark.parametrize("name", OPERATIONS)
async def test_the_system_may_do_it_in_any_domain(server: Server, name: str) -> None:
    made = await create(server)
    await OPERATIONS[name](server, SYSTEM, made.protocol_id)


@pytest.mark.parametrize("name", BY_ID)
async def test_what_is_not_there_or_another_domains_is_not_found(server: Server, name: str) -> None:
    made = await create(server)
    for caller, protocol_id in ((ADMIN, NOBODYS), (AWAY_ADMIN, made.protocol_id), (AWAY_ADMIN, INTERNAL)):
        with pytest.raises(NotFound, check=at("protocolId")):
            await OPERATIONS[name](server, caller, protocol_id)


@ON_ONE_ENGINE
@pytest.mark.parametrize("name", [*BY_ID, "protocol"])
@pytest.mark.parametrize("protocol_id", ["", "\ud800", "a\0b", "x" * 1_000_000])
async def test_what_cannot_be_an_id_is_an_invalid_argument(server: Server, name: str, protocol_id: str) -> None:
    with pytest.raises(InvalidArgument, check=at("protocolId")):
        await OPERATIONS[name](server, ADMIN, protocol_id)


async def test_another_domains_protocol_is_null_for_a_query(server: Server) -> None:
    made = await create(server)

    assert await protocols.find(server, AWAY_ADMIN, made.protocol_id) is None
    assert await protocols.find(server, AWAY_ADMIN, INTERNAL) is None
    assert await protocols.find(server, ADMIN, NOBODYS) is None


async def test_only_the_system_names_another_domain(server: Server) -> None:
    with pytest.raises(PermissionDenied, check=at("domainId")):
        await create(server, AWAY_ADMIN, domain_id="home")
    with pytest.raises(PermissionDenied, check=at("filter.domainId")):
        await protocols.page(server, AWAY_ADMIN, wanted=Filter(), window=Window(), domain_id="home")

    made = await create(server, SYSTEM, domain_id="home")
    assert made.domain_id == "home"
    listing = await protocols.page(server, SYSTEM, wanted=Filter(), window=Window(), domain_id="home")
    assert [row.name for row in listing.page.rows] == await names(server) == ["Vans", "Internal"]


async def test_pages_are_walked_by_their_cursors_and_counted(server: Server, clock: Clock) -> None:
    for number in range(3):
        await create(server, name=f"protocol {number}", verify=False)
        clock.now += timedelta(seconds=1)
    seen: list[str] = []
    after = None
    for _ in range(4):
        listing = await protocols.page(server, ADMIN, wanted=Filter(), window=Window(first=1, after=after))
        seen += [row.name for row in listing.page.rows]
        after = listing.cursor(listing.page.rows[-1])

    assert seen == ["protocol 2", "protocol 1", "protocol 0", "Internal"]
    assert not listing.page.has_next
    assert await listing.count() == 4


@ON_ONE_ENGINE
@pytest.mark.parametrize("wanted", [Filter(name=""), Filter(protocol_id="\0"), Filter(name="n" * 300)])
async def test_a_filter_that_nothing_could_match_is_an_invalid_argument(server: Server, wanted: Filter) -> None:
    with pytest.raises(InvalidArgument):
        await protocols.page(server, ADMIN, wanted=wanted, window=Window())


async def test_whoever_writes_becomes_known(server: Server) -> None:
    await create(server)

    async with server.database.read() as session:
        assert await inboxes.known_users(session, "home", limit=10) == [ADMIN.user_id]


async def test_reading_makes_nobody_known(server: Server) -> None:
    await names(server)
    await protocols.find(server, ADMIN, INTERNAL)

    async with server.database.read() as session:
        assert await inboxes.known_users(session, "home", limit=10) == []
