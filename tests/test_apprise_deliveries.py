"""The plugin `apprise` in a running server: from a channel's URL to what the service gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from resolvers.access import Role
from tests.client import CHANNEL, DEADLINE_S, Client
from tests.server import ServerProcess
from tests.sink import Sink

TOKEN = "token-of-the-url"
CHANNELS = "{ projectChannels { nodes { data } } }"


async def refused(admin: Client, protocol: str, url: str) -> Any:
    """The error that such a channel is refused with."""
    asked = {"projectId": "shop", "protocolId": protocol, "name": "a channel", "data": {"url": url}}
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=DEADLINE_S) as client:
        body = {"query": CHANNEL, "variables": {"input": asked}}
        answer = (await client.post(f"{admin.url}/graphql", headers=admin.headers, json=body)).json()
    return answer["errors"][0]


async def test_urls_are_checked_when_they_are_given_and_reached_when_something_is_said(
    serve: Callable[..., ServerProcess], sink: Sink
) -> None:
    server = serve(apprise_allow="json, Xml")
    admin = server.client("admin", Role.DOMAIN_ADMIN)
    protocol = await admin.protocol("apprise")
    for url in ("syslog://", "jsons://hooks.test/", "nonsense://hooks.test/", "json://10.0.0.1/"):
        error = await refused(admin, protocol, url)
        assert error["extensions"] == {"code": "INVALID_ARGUMENT", "field": "data.url"}, url
        assert "hooks.test" not in error["message"]

    urls = [f"json://127.0.0.1:{sink.port}/{TOKEN}/{number}" for number in (1, 2)]
    await admin.channel("shop", protocol, {"urls": urls})
    created = await admin.create("identity.Project", "shop", message={"title": "Disk full"})
    deliveries = [await admin.settled(delivery["deliveryId"]) for delivery in created["deliveries"]]

    assert [delivery["state"] for delivery in deliveries] == ["DELIVERED", "DELIVERED"]
    assert sorted(received.target for received in sink.received) == [f"/{TOKEN}/{number}" for number in (1, 2)]
    assert (await admin.ask(CHANNELS))["projectChannels"]["nodes"] == [{"data": "********"}]
    assert TOKEN not in server.log
