"""Channels of the INTERNAL protocol, which lead to inboxes: whose, and who becomes known by that."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import select

from resolvers import channel_data, channels, plugins
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import InvalidArgument
from storage import ids
from storage.channels import Kind
from storage.models import Channel, Protocol, ProtocolType
from storage.secrets import MASK
from tests.resolvers.callers import ADMIN, SYSTEM
from tests.resolvers.refusals import ON_ONE_ENGINE, at
from tests.resolvers.some_channels import INTERNAL, create, known_users, stored


async def internal(server: Server, users: Any, caller: Caller = ADMIN, **changes: Any) -> Channel:
    return await create(server, INTERNAL, Kind.PROJECT, caller, data={"users": users}, **changes)


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
