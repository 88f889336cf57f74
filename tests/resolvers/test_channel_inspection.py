"""What a plugin sees to be wrong with channel data is told at once, wherever a caller gives such data."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from dispatch.network import Network
from dispatch.plugins import JsonObject
from dispatch.plugins.schemas import SchemaViolation
from dispatch.plugins.webhook import Webhook
from resolvers import channels, protocols, pushes
from resolvers.context import Server
from resolvers.errors import FailedPrecondition, InvalidArgument
from resolvers.pushes import Push
from storage.channels import Kind
from storage.models import Channel
from tests.resolvers.callers import ADMIN, ALICE, SERVICE
from tests.resolvers.courier import Courier
from tests.resolvers.refusals import at

REFUSED = ["http://127.0.0.1/", "https://user:secret@localhost:8443/x", "http://0x7f.1/", "http://[::ffff:a9fe:a9fe]/"]
ORDINARY = {"url": "https://hooks.test/abc"}
NOT_ALLOWED = "The destination's address is not allowed."


@pytest.fixture
async def webhook(server: Server) -> str:
    """The id of a protocol of webhooks."""
    return (await protocols.create(server, ADMIN, name="Hooks", plugin_id="webhook")).protocol_id


async def create(server: Server, protocol_id: str, kind: Kind, data: Any) -> Channel:
    owner, caller = ("shop", ADMIN) if kind is Kind.PROJECT else ("alice", ALICE)
    return await channels.create(server, caller, kind, protocol_id=protocol_id, owner_id=owner, name="Hook", data=data)


@pytest.mark.parametrize("kind", Kind)
async def test_a_channel_to_an_address_that_can_be_seen_to_be_refused_is_not_made(
    server: Server, webhook: str, kind: Kind
) -> None:
    for url in REFUSED:
        with pytest.raises(InvalidArgument, match=NOT_ALLOWED, check=at("data.url")):
            await create(server, webhook, kind, {"url": url})


@pytest.mark.parametrize("kind", Kind)
async def test_a_channel_is_not_changed_to_one_either(server: Server, webhook: str, kind: Kind) -> None:
    made = await create(server, webhook, kind, ORDINARY)
    for url in REFUSED:
        with pytest.raises(InvalidArgument, match=NOT_ALLOWED, check=at("data.url")):
            await channels.update(server, ADMIN, kind, channel_id=made.channel_id, data={"url": url})

    found = await channels.find(server, ADMIN, kind, made.channel_id)
    assert found is not None
    assert found.data == ORDINARY


async def test_nor_is_anything_pushed_to_one(server: Server, webhook: str) -> None:
    for url in REFUSED:
        with pytest.raises(InvalidArgument, match=NOT_ALLOWED, check=at("data.url")):
            await pushes.push(server, SERVICE, Push(webhook, data={"url": url}, message={"title": "A"}))


@pytest.mark.parametrize(
    "url", ["https://me:secret@hooks.test", "https://me@hooks.test/a", "https://:secret@hooks.test"]
)
async def test_a_name_and_a_password_in_an_address_would_be_shown_and_are_refused(
    server: Server, webhook: str, url: str
) -> None:
    with pytest.raises(InvalidArgument, match="Authorization", check=at("data.url")):
        await create(server, webhook, Kind.PROJECT, {"url": url})


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.test:99999/",
        "http://hooks.test:-1/",
        "http://hooks.test:http/",
        "http://hooks.test:0/",
        "http://[::1",
        "http://me:secret@[hooks.test",
        "http://:80/",
    ],
)
async def test_an_address_whose_host_or_port_cannot_be_read_makes_no_channel(
    server: Server, webhook: str, url: str
) -> None:
    with pytest.raises(InvalidArgument, match="cannot be read", check=at("data.url")) as refused:
        await create(server, webhook, Kind.PROJECT, {"url": url})
    assert "hooks" not in refused.value.message


@pytest.fixture
async def lenient() -> AsyncIterator[Network]:
    """The operator allows the loopback."""
    network = Network([ip_network("127.0.0.0/8")], timeout=1)
    yield network
    await network.close()


async def test_what_the_operator_allows_is_taken(server: Server, webhook: str, lenient: Network) -> None:
    allowing = replace(server, plugins={**server.plugins, "webhook": Webhook(lenient)})

    assert (await create(allowing, webhook, Kind.PROJECT, {"url": "http://localhost:8000/"})).data
    with pytest.raises(InvalidArgument, check=at("data.url")):
        await create(allowing, webhook, Kind.PROJECT, {"url": "http://10.0.0.1/"})


class Suspicious(Courier):
    """Sees something wrong, unless it breaks before."""

    async def inspect(self, channel_data: JsonObject) -> None:
        if self.broken:
            raise LookupError(f"lost with {channel_data}")
        raise SchemaViolation(("door",), "There is no such door.")


async def test_any_plugin_may_look_for_itself(server: Server) -> None:
    suspicious = Suspicious()
    served = replace(server, plugins={"courier": suspicious})
    made = await protocols.create(served, ADMIN, name="Vans", plugin_id="courier", secret_data={"token": "open sesame"})

    with pytest.raises(InvalidArgument, match="There is no such door", check=at("data.door")):
        await create(served, made.protocol_id, Kind.PROJECT, {"door": "of-the-channel"})
    suspicious.broken = True
    with pytest.raises(FailedPrecondition, check=at("protocolId")) as caught:
        await create(served, made.protocol_id, Kind.PROJECT, {"door": "of-the-channel"})
    assert "of-the-channel" not in caught.value.message
