"""A plugin of SpaceONE behind a running server: what its administrators see of it, and what it is sent."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import httpx
import pytest

from resolvers.access import Role
from tests.client import Client
from tests.dispatch.spaceone_plugin import GOOD_KEY, Failure, SpaceOnePlugin
from tests.server import ServerProcess

PROTOCOL = """
    mutation ($input: CreateProtocolInput!) {
      createProtocol(input: $input) { protocol { protocolId options secretData dataSchema } }
    }
"""
DATA = "query ($id: ID!) { projectChannel(projectChannelId: $id) { data } }"


@pytest.fixture
def admin(live: ServerProcess) -> Client:
    return live.client("admin", Role.DOMAIN_ADMIN, domain=f"domain-{uuid.uuid4().hex[:12]}")


def asked(plugin: SpaceOnePlugin, **changed: Any) -> dict[str, Any]:
    options = {"endpoint": plugin.endpoint(), "port": 587}
    settings = {"pluginId": "spaceone", "options": options, "secretData": {"access_key": GOOD_KEY, "pin": 7}}
    return {"name": "SMS", "plugin": {**settings, **changed}}


async def refusal(admin: Client, **variables: object) -> dict[str, Any]:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        body = {"query": PROTOCOL, "variables": variables}
        answer = await client.post(f"{admin.url}/graphql", headers=admin.headers, json=body)
    [error] = answer.json()["errors"]
    return {"message": error["message"], **error["extensions"]}


@pytest.mark.parametrize(
    ("data_type", "shown"), [("PLAIN_TEXT", {"phone_number": "0123456", "retries": 3}), ("SECRET", "********")]
)
async def test_a_notification_goes_through_a_spaceone_plugin(admin: Client, data_type: str, shown: Any) -> None:
    async with SpaceOnePlugin(data_type=data_type) as plugin:
        made = (await admin.ask(PROTOCOL, input=asked(plugin)))["createProtocol"]["protocol"]
        channel = await admin.channel("project-1", made["protocolId"], {"phone_number": "0123456", "retries": 3})
        plugin.script.append(Failure(grpc.StatusCode.UNAUTHENTICATED, f"ERROR_AUTHENTICATE_FAILURE: {GOOD_KEY}"))
        refused, delivered = [await _delivered(admin, notification_type) for notification_type in ("INFO", "ERROR")]

    assert made["secretData"] == "********"
    assert made["dataSchema"]["required"] == ["phone_number"]
    assert (await admin.ask(DATA, id=channel))["projectChannel"]["data"] == shown
    assert (refused["state"], refused["reason"]) == ("DEAD", "REFUSED")
    [attempt] = refused["attempts"]
    assert attempt["error"] == "The call ended with UNAUTHENTICATED."
    assert attempt["responseExcerpt"] == "ERROR_AUTHENTICATE_FAILURE: ********"
    assert delivered["state"] == "DELIVERED"
    [dispatched] = plugin.dispatched
    assert dispatched.options == {"port": "587"}
    assert dispatched.secret_data == {"access_key": GOOD_KEY, "pin": "7"}
    assert dispatched.channel_data == {"phone_number": "0123456", "retries": 3}
    assert dispatched.message == {"title": "A", "tags": [{"key": "State", "value": "3"}], "callbacks": []}
    assert dispatched.metadata["transaction_id"] == delivered["deliveryId"]


async def _delivered(admin: Client, notification_type: str) -> Any:
    said = {"message": {"title": "A", "tags": {"State": 3}}, "notificationType": notification_type}
    created = await admin.create("identity.Project", "project-1", **said)
    return await admin.settled(created["deliveries"][0]["deliveryId"])


async def test_a_secret_that_the_plugin_finds_wrong_makes_no_protocol(admin: Client) -> None:
    async with SpaceOnePlugin() as plugin:
        refused = await refusal(admin, input=asked(plugin, secretData={"access_key": "a-wrong-key"}))

    assert refused["code"] == "FAILED_PRECONDITION"
    assert refused["message"] == "UNAUTHENTICATED: ERROR_AUTHENTICATE_FAILURE: not {'access_key': '********'}"


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("grpc://10.0.0.1:50051", "The plugin refuses these options (The destination's address is not allowed)."),
        ("grpc://127.0.0.1:1", "The plugin refuses these options (the call ended with UNAVAILABLE)."),
    ],
)
async def test_an_endpoint_that_leads_nowhere_makes_no_protocol(admin: Client, endpoint: str, message: str) -> None:
    plugin = {"pluginId": "spaceone", "options": {"endpoint": endpoint}}
    refused = await refusal(admin, input={"name": "SMS", "plugin": plugin})

    assert (refused["code"], refused["field"]) == ("INVALID_ARGUMENT", "plugin.options")
    assert refused["message"] == message
