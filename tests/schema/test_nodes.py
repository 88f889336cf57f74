"""Whatever has a global id is found by it, by whoever may see it."""

from __future__ import annotations

import base64

import pytest
from graphql import GraphQLInterfaceType

from resolvers.context import Server
from schema.node import global_id
from storage import ids
from tests.resolvers.callers import ADMIN, ALICE, SERVICE, SYSTEM
from tests.schema.asking import ask
from tests.schema.operations import TYPES
from tests.schema.world import World

NODES = {
    "Notification": "@notification",
    "Delivery": "@delivery",
    "Protocol": "@protocol",
    "ProjectChannel": "@projectChannel",
    "UserChannel": "@userChannel",
    "Quota": "@quota",
}
NODE = "query ($id: ID!) { node(id: $id) { __typename id } }"


def test_every_kind_of_node_is_tried() -> None:
    node = TYPES.type_map["Node"]
    assert isinstance(node, GraphQLInterfaceType)
    assert {type_.name for type_ in TYPES.get_possible_types(node)} == set(NODES)


@pytest.mark.parametrize("type_name", NODES)
async def test_a_node_is_found_by_its_global_id(world: World, type_name: str) -> None:
    id = global_id(type_name, world.of["alice"][NODES[type_name]])

    for caller in (ADMIN, SYSTEM):
        answer = await world.post(caller, NODE, {"id": id})
        assert (answer.error, answer.data) == (None, {"node": {"__typename": type_name, "id": id}})


async def test_the_internal_protocol_is_a_node_before_it_is_stored(server: Server) -> None:
    id = global_id("Protocol", ids.internal_protocol("home"))

    assert (await ask(server, ADMIN, NODE, id=id))["node"]["id"] == id


@pytest.mark.parametrize("type_name", NODES)
async def test_a_node_that_the_caller_may_not_see_is_null(world: World, type_name: str) -> None:
    id = global_id(type_name, world.of["bob"][NODES[type_name]])

    for caller in (ALICE, SERVICE):
        answer = await world.post(caller, NODE, {"id": id})
        assert (answer.error, answer.data) == (None, {"node": None})


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "id",
    [
        "",
        "nonsense",
        "ü",
        "notification-000000000000",
        base64.b64encode(b"\xff:\xff").decode(),
        *map(_encoded, ["Notification", "Notification:", ":", "Viewer:alice", "notification:x", "Query:"]),
        *(_encoded(f"{type_name}:{raw_id}") for type_name in NODES for raw_id in ("x", "a\0b", "x" * 1_000)),
    ],
)
async def test_an_id_that_is_nobodys_is_null_without_an_error(server: Server, id: str) -> None:
    assert await ask(server, ADMIN, NODE, id=id) == {"node": None}


async def test_an_id_of_another_type_finds_nothing(world: World) -> None:
    things = world.of["alice"]
    wrong = [global_id(name, things[thing]) for name in NODES for other, thing in NODES.items() if other != name]

    for id in wrong:
        assert (await world.post(ADMIN, NODE, {"id": id})).data == {"node": None}
