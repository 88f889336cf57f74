"""Protocols, from the first day to the last, the INTERNAL one among them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from resolvers import channels, protocols
from resolvers.context import Server
from resolvers.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from storage import ids
from storage.channels import Kind
from storage.models import Protocol, ProtocolType, ResourceState
from storage.secrets import MASK
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, AWAY_ADMIN, SYSTEM
from tests.resolvers.courier import GOOD_TOKEN
from tests.resolvers.refusals import ON_ONE_ENGINE, at
from tests.resolvers.some_protocols import INTERNAL, channel_through, create, names, stored


async def test_a_created_protocol_is_kept_as_it_was_asked_for(server: Server, clock: Clock) -> None:
    made = await create(server, options={"region": "north", "vans": 3}, tags={"team": "a"})
    found = await protocols.find(server, ADMIN, made.protocol_id)

    assert found is not None
    kept = made.model_dump()
    assert {name: getattr(found, name) for name in kept} == kept
    assert (found.name, found.plugin_id, found.domain_id) == ("Vans", "courier", "home")
    assert (found.protocol_type, found.state) == (ProtocolType.EXTERNAL, ResourceState.ENABLED)
    assert (found.options, found.tags) == ({"region": "north", "vans": 3}, {"team": "a"})
    assert found.created_at == clock.now
    assert found.protocol_id.startswith("protocol-")


async def test_the_name_of_a_protocol_is_unique_in_its_domain(server: Server) -> None:
    await create(server)

    with pytest.raises(AlreadyExists, check=at("name")):
        await create(server)
    assert (await create(server, AWAY_ADMIN)).name == "Vans"


async def test_of_protocols_created_at_once_under_one_name_one_is_made(server: Server) -> None:
    outcomes = await asyncio.gather(*(create(server) for _ in range(5)), return_exceptions=True)

    assert sum(isinstance(outcome, Protocol) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, AlreadyExists) for outcome in outcomes) == 4
    assert len(await names(server, protocol_type=ProtocolType.EXTERNAL)) == 1


async def test_the_internal_protocols_name_is_taken_before_that_is_stored(server: Server) -> None:
    with pytest.raises(AlreadyExists, check=at("name")):
        await create(server, name="Internal")
    assert await stored(server) == []


@ON_ONE_ENGINE
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "n" * 256}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"tags": ["a"]}, "tags"),
        ({"options": "fast"}, "plugin.options"),
        ({"options": {"vans": 0}}, "plugin.options.vans"),
        ({"options": {"region": 5}}, "plugin.options.region"),
        ({"options": {"region": "moon"}}, "plugin.options"),
        ({"secret_data": None}, "plugin.secretData.token"),
        ({"secret_data": {}}, "plugin.secretData.token"),
        ({"secret_data": {"token": "x"}}, "plugin.secretData.token"),
        ({"secret_data": {"token": GOOD_TOKEN, "pin": 1234}}, "plugin.secretData.pin"),
        ({"secret_data": [GOOD_TOKEN]}, "plugin.secretData"),
        ({"secret_data": MASK}, "plugin.secretData"),
        ({"secret_data": {"token": MASK}}, "plugin.secretData.token"),
    ],
)
async def test_a_wrong_argument_is_named_and_nothing_is_stored(
    server: Server, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument, check=at(field)):
        await create(server, **changes)
    assert await stored(server) == []


async def test_an_update_changes_what_is_given_and_nothing_else(server: Server) -> None:
    made = await create(server, tags={"team": "a"}, options={"vans": 2})
    before = made.model_dump()

    renamed = await protocols.update(server, ADMIN, protocol_id=made.protocol_id, name="Trucks")
    assert renamed.model_dump() == {**before, "name": "Trucks"}

    tagged = await protocols.update(server, ADMIN, protocol_id=made.protocol_id, tags={})
    assert tagged.model_dump() == {**before, "name": "Trucks", "tags": {}}


async def test_a_protocol_may_be_given_its_own_name_but_not_anothers(server: Server) -> None:
    await create(server, name="Trucks")
    made = await create(server)

    assert (await protocols.update(server, ADMIN, protocol_id=made.protocol_id, name="Vans")).name == "Vans"
    with pytest.raises(AlreadyExists, check=at("name")):
        await protocols.update(server, ADMIN, protocol_id=made.protocol_id, name="Trucks")


async def test_of_protocols_renamed_alike_at_once_one_is_renamed(server: Server) -> None:
    made = [await create(server, name=f"protocol {number}") for number in range(4)]
    renames = (protocols.update(server, ADMIN, protocol_id=row.protocol_id, name="The one") for row in made)
    outcomes = await asyncio.gather(*renames, return_exceptions=True)

    assert sum(isinstance(outcome, Protocol) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, AlreadyExists) for outcome in outcomes) == 3


async def test_a_protocol_is_disabled_and_enabled(server: Server) -> None:
    made = await create(server)
    for state in (ResourceState.DISABLED, ResourceState.DISABLED, ResourceState.ENABLED):
        changed = await protocols.set_state(server, ADMIN, protocol_id=made.protocol_id, state=state)
        found = await protocols.find(server, ADMIN, made.protocol_id)

        assert found is not None
        assert changed.state is found.state is state


async def test_a_deleted_protocol_is_gone(server: Server) -> None:
    made = await create(server)

    assert await protocols.delete(server, ADMIN, protocol_id=made.protocol_id) == made.protocol_id
    assert await protocols.find(server, ADMIN, made.protocol_id) is None
    with pytest.raises(NotFound, check=at("protocolId")):
        await protocols.delete(server, ADMIN, protocol_id=made.protocol_id)


async def test_a_protocol_that_a_channel_uses_stays(server: Server) -> None:
    made = await create(server)
    channel = await channel_through(server, made.protocol_id)

    with pytest.raises(FailedPrecondition, check=at("protocolId")):
        await protocols.delete(server, ADMIN, protocol_id=made.protocol_id)
    await channels.delete(server, ADMIN, Kind.PROJECT, channel_id=channel)
    assert await protocols.delete(server, ADMIN, protocol_id=made.protocol_id) == made.protocol_id


async def test_a_protocol_deleted_while_a_channel_is_made_never_leaves_the_channel_without_it(server: Server) -> None:
    for number in range(8):
        made = await create(server, name=f"protocol {number}", verify=False)
        deletion, channel = await asyncio.gather(
            protocols.delete(server, ADMIN, protocol_id=made.protocol_id),
            channel_through(server, made.protocol_id),
            return_exceptions=True,
        )
        kept = await protocols.find(server, ADMIN, made.protocol_id)

        if isinstance(channel, str):
            assert isinstance(deletion, FailedPrecondition)
            assert kept is not None
        else:
            assert isinstance(channel, NotFound)
            assert (deletion, kept) == (made.protocol_id, None)


async def test_the_internal_protocol_is_seen_before_anything_is_written_and_stays_the_last(
    server: Server, clock: Clock
) -> None:
    assert await names(server) == ["Internal"]
    assert await stored(server) == []

    await create(server)
    clock.advance(minutes=1)
    await create(server, name="Trucks")

    assert await names(server) == ["Trucks", "Vans", "Internal"]
    assert len(await stored(server)) == 3


async def test_a_change_stores_the_internal_protocol_with_its_fixed_age(server: Server) -> None:
    await protocols.update(server, ADMIN, protocol_id=INTERNAL, name="Inbox", tags={"x": 1})
    await protocols.set_state(server, ADMIN, protocol_id=INTERNAL, state=ResourceState.DISABLED)
    found = await protocols.find(server, ADMIN, INTERNAL)

    assert found is not None
    assert (found.name, found.tags, found.state) == ("Inbox", {"x": 1}, ResourceState.DISABLED)
    assert found.created_at == datetime(1970, 1, 1, tzinfo=UTC)
    assert await names(server) == ["Inbox"]


@pytest.mark.parametrize("is_stored", [False, True])
async def test_the_internal_protocol_has_no_plugin_to_update_and_cannot_be_deleted(
    server: Server, is_stored: bool
) -> None:
    if is_stored:
        await create(server)

    with pytest.raises(FailedPrecondition, check=at("protocolId")):
        await protocols.update_plugin(server, ADMIN, protocol_id=INTERNAL, options={})
    with pytest.raises(FailedPrecondition, check=at("protocolId")):
        await protocols.delete(server, ADMIN, protocol_id=INTERNAL)


async def test_the_system_sees_and_changes_its_own_internal_protocol_by_id(server: Server) -> None:
    own = ids.internal_protocol(SYSTEM.domain_id)

    assert await protocols.find(server, SYSTEM, own) is not None
    assert (await protocols.update(server, SYSTEM, protocol_id=own, name="Inbox")).name == "Inbox"
