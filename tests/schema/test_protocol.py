from __future__ import annotations

import base64
from typing import Any

from dispatch.plugins import registry
from resolvers.context import Server
from storage import ids
from storage.secrets import MASK
from tests.resolvers.callers import ADMIN, ALICE
from tests.resolvers.courier import GOOD_TOKEN, INFO
from tests.schema.asking import ask, refused

CREATE = """
mutation ($input: CreateProtocolInput!) {
  createProtocol(input: $input) {
    protocol {
      id protocolId name state protocolType pluginId options secretData dataSchema tags domainId createdAt
    }
  }
}
"""
LIST = """
query ($filter: ProtocolFilter, $first: Int, $after: Cursor) {
  protocols(filter: $filter, first: $first, after: $after) {
    nodes { name }
    edges { cursor node { protocolId } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    totalCount
  }
}
"""
GET = "query ($id: ID!) { protocol(protocolId: $id) { name protocolType pluginId secretData dataSchema createdAt } }"


async def create(server: Server, **changes: Any) -> Any:
    plugin = {"pluginId": "courier", "options": {"vans": 2}, "secretData": {"token": GOOD_TOKEN}}
    data = await ask(server, ADMIN, CREATE, input={"name": "Vans", "plugin": plugin, "tags": {"a": 1}, **changes})
    return data["createProtocol"]["protocol"]


async def test_a_created_protocol_is_answered_with_its_secret_masked(server: Server) -> None:
    made = await create(server)

    assert base64.b64decode(made.pop("id")).decode() == f"Protocol:{made.pop('protocolId')}"
    assert made == {
        "name": "Vans",
        "state": "ENABLED",
        "protocolType": "EXTERNAL",
        "pluginId": "courier",
        "options": {"vans": 2},
        "secretData": MASK,
        "dataSchema": INFO.data_schema,
        "tags": {"a": 1},
        "domainId": "home",
        "createdAt": "2026-01-31T17:12:40.990Z",
    }


async def test_a_protocol_without_a_secret_has_none_to_mask(server: Server) -> None:
    assert (await create(server, plugin={"pluginId": "log"}))["secretData"] is None


async def test_what_a_caller_leaves_out_or_sets_to_null_is_the_same(server: Server) -> None:
    nulls = {"tags": None, "domainId": None, "verify": None}
    made = await create(server, plugin={"pluginId": "log", "options": None, "secretData": None}, **nulls)

    assert (made["options"], made["tags"], made["domainId"]) == ({}, {}, "home")


async def test_the_internal_protocol_is_in_every_domain(server: Server) -> None:
    data = await ask(server, ADMIN, GET, id=ids.internal_protocol("home"))

    schema = data["protocol"].pop("dataSchema")
    assert schema["required"] == ["users"]
    assert data["protocol"] == {
        "name": "Internal",
        "protocolType": "INTERNAL",
        "pluginId": None,
        "secretData": None,
        "createdAt": "1970-01-01T00:00:00.000Z",
    }


async def test_a_protocol_that_there_is_none_of_is_null_without_an_error(server: Server) -> None:
    assert await ask(server, ADMIN, GET, id="protocol-000000000000") == {"protocol": None}


async def test_a_list_is_a_relay_connection(server: Server) -> None:
    made = await create(server)
    first = (await ask(server, ADMIN, LIST, first=1))["protocols"]
    cursor = first["edges"][0]["cursor"]
    rest = (await ask(server, ADMIN, LIST, after=cursor))["protocols"]

    assert first["edges"][0]["node"]["protocolId"] == made["protocolId"]
    assert first["pageInfo"] == {
        "hasNextPage": True,
        "hasPreviousPage": False,
        "startCursor": cursor,
        "endCursor": cursor,
    }
    assert [node["name"] for node in rest["nodes"]] == ["Internal"]
    assert (rest["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasPreviousPage"]) == (False, True)
    assert first["totalCount"] == rest["totalCount"] == 2


async def test_each_filter_narrows(server: Server) -> None:
    made = await create(server)
    for filter in ({"name": "Vans"}, {"protocolType": "EXTERNAL"}, {"protocolId": made["protocolId"]}):
        found = (await ask(server, ADMIN, LIST, filter=filter))["protocols"]

        assert ([node["name"] for node in found["nodes"]], found["totalCount"]) == (["Vans"], 1)
    assert (await ask(server, ADMIN, LIST, filter={"state": "DISABLED"}))["protocols"]["totalCount"] == 0


async def test_a_protocol_is_changed_by_its_mutations(server: Server) -> None:
    id = (await create(server))["protocolId"]
    data = await ask(
        server,
        ADMIN,
        """
        mutation ($id: ID!, $mask: JSON!) {
          updateProtocol(input: {protocolId: $id, name: "Trucks"}) { protocol { name tags } }
          updateProtocolPlugin(input: {protocolId: $id, options: {vans: 3}, secretData: $mask}) {
            protocol { options secretData }
          }
          disableProtocol(protocolId: $id) { protocol { state } }
          verifyProtocol(protocolId: $id) { ok detail }
        }
        """,
        id=id,
        mask=MASK,
    )

    assert data == {
        "updateProtocol": {"protocol": {"name": "Trucks", "tags": {"a": 1}}},
        "updateProtocolPlugin": {"protocol": {"options": {"vans": 3}, "secretData": MASK}},
        "disableProtocol": {"protocol": {"state": "DISABLED"}},
        "verifyProtocol": {"ok": True, "detail": "Ready."},
    }
    ends = "mutation ($id: ID!) { enableProtocol(protocolId: $id) { protocol { state } } "
    ends += "deleteProtocol(protocolId: $id) { deletedId } }"
    assert await ask(server, ADMIN, ends, id=id) == {
        "enableProtocol": {"protocol": {"state": "ENABLED"}},
        "deleteProtocol": {"deletedId": id},
    }


async def test_plugins_are_shown_with_what_they_need(server: Server) -> None:
    fields = "pluginId name dataSchema optionsSchema secretSchema dataIsSecret"
    data = await ask(server, ADMIN, f"{{ plugins {{ {fields} }} }}")

    assert [plugin["pluginId"] for plugin in data["plugins"]] == sorted({"courier", *registry.BUILT_IN.names})
    assert next(plugin for plugin in data["plugins"] if plugin["pluginId"] == "courier") == {
        "pluginId": "courier",
        "name": "Courier",
        "dataSchema": INFO.data_schema,
        "optionsSchema": INFO.options_schema,
        "secretSchema": INFO.secret_schema,
        "dataIsSecret": True,
    }


async def test_errors_have_a_code_and_the_path_inside_the_input(server: Server) -> None:
    plugin = {"pluginId": "courier", "options": {"vans": 0}, "secretData": {"token": GOOD_TOKEN}}
    wrong = {"name": "Vans", "plugin": plugin}
    await create(server)

    assert await refused(server, ADMIN, CREATE, input=wrong) == ("INVALID_ARGUMENT", "plugin.options.vans")
    plugin["options"] = {}
    assert await refused(server, ADMIN, CREATE, input=wrong) == ("ALREADY_EXISTS", "name")
    assert await refused(server, ALICE, CREATE, input=wrong) == ("PERMISSION_DENIED", None)
    assert await refused(server, ADMIN, LIST, after="nonsense") == ("INVALID_ARGUMENT", "after")
