"""Where a channel leads to: what its plugin asks for, and what of it is secret."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from resolvers import channels, protocols
from resolvers.context import Server
from resolvers.errors import FailedPrecondition, InvalidArgument, NotFound
from storage.channels import Kind
from storage.secrets import MASK
from tests.resolvers.callers import ADMIN
from tests.resolvers.courier import Courier
from tests.resolvers.refusals import ON_ONE_ENGINE, at
from tests.resolvers.some_channels import KINDS, create, stored


@ON_ONE_ENGINE
@KINDS
@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, "data.door"),
        ({"door": "ab"}, "data.door"),
        ({"door": 1}, "data.door"),
        ({"door": "blue", "window": "left"}, "data"),
        (MASK, "data"),
        ({"door": MASK}, "data.door"),
    ],
)
async def test_data_is_what_the_plugin_asks_for(
    server: Server, courier_protocol: str, kind: Kind, data: Any, field: str
) -> None:
    with pytest.raises(InvalidArgument, check=at(field)):
        await create(server, courier_protocol, kind, data=data)
    assert await stored(server) == []


@KINDS
async def test_secret_data_is_sealed_and_plain_data_is_not(
    server: Server, courier_protocol: str, log: str, kind: Kind
) -> None:
    secret = await create(server, courier_protocol, kind, data={"door": "the blue one"})
    plain = await create(server, log, kind, data={"door": "the blue one"})

    assert secret.data is None
    assert secret.secret_data is not None
    assert b"blue" not in secret.secret_data
    assert server.vault.unseal(secret.secret_data) == {"door": "the blue one"}
    assert (plain.data, plain.secret_data) == ({"door": "the blue one"}, None)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (None, {"door": "blue", "code": "1234"}),
        (MASK, {"door": "blue", "code": "1234"}),
        ({"door": MASK, "code": MASK}, {"door": "blue", "code": "1234"}),
        ({"door": "green", "code": MASK}, {"door": "green", "code": "1234"}),
        ({"door": MASK}, {"door": "blue"}),
        ({"door": "green"}, {"door": "green"}),
    ],
)
async def test_the_mask_stands_for_the_data_that_is_kept(
    server: Server, courier_protocol: str, sent: Any, kept: dict[str, str]
) -> None:
    made = await create(server, courier_protocol, Kind.USER, data={"door": "blue", "code": "1234"})

    updated = await channels.update(server, ADMIN, Kind.USER, channel_id=made.channel_id, data=sent)

    assert updated.data is None
    assert updated.secret_data is not None
    assert server.vault.unseal(updated.secret_data) == kept


async def test_the_mask_of_data_that_was_never_kept_is_refused(server: Server, courier_protocol: str, log: str) -> None:
    secret = await create(server, courier_protocol, Kind.USER, data={"door": "blue"})
    plain = await create(server, log, Kind.USER)

    data = {"door": MASK, "code": MASK}
    with pytest.raises(InvalidArgument, check=at("data.code")):
        await channels.update(server, ADMIN, Kind.USER, channel_id=secret.channel_id, data=data)
    with pytest.raises(InvalidArgument, check=at("data")):
        await channels.update(server, ADMIN, Kind.USER, channel_id=plain.channel_id, data=MASK)


async def test_secret_data_that_changed_meanwhile_is_not_brought_back_by_a_mask(
    server: Server, courier_protocol: str
) -> None:
    made = await create(server, courier_protocol, Kind.USER, data={"door": "blue", "code": "1234"})
    slow_courier = Courier()
    slow_courier.go_on.clear()
    slowly = replace(server, plugins={**server.plugins, "courier": slow_courier})
    data = {"door": "green", "code": MASK}
    slow = asyncio.create_task(channels.update(slowly, ADMIN, Kind.USER, channel_id=made.channel_id, data=data))
    async with asyncio.timeout(5):
        await slow_courier.asked.wait()
        new = {"door": "blue", "code": "9999"}
        await channels.update(server, ADMIN, Kind.USER, channel_id=made.channel_id, data=new)
        slow_courier.go_on.set()
        with pytest.raises(FailedPrecondition, check=at("userChannelId")):
            await slow

    found = await channels.find(server, ADMIN, Kind.USER, made.channel_id)
    assert found is not None
    assert found.secret_data is not None
    assert server.vault.unseal(found.secret_data) == new


async def test_a_protocol_deleted_while_its_plugin_is_asked_gets_no_channel(
    server: Server, courier_protocol: str
) -> None:
    slow_courier = Courier()
    slow_courier.go_on.clear()
    slowly = replace(server, plugins={**server.plugins, "courier": slow_courier})
    slow = asyncio.create_task(create(slowly, courier_protocol, Kind.USER, data={"door": "blue"}))
    async with asyncio.timeout(5):
        await slow_courier.asked.wait()
        await protocols.delete(server, ADMIN, protocol_id=courier_protocol)
        slow_courier.go_on.set()
        with pytest.raises(NotFound, check=at("protocolId")):
            await slow
    assert await stored(server) == []


async def test_of_a_webhook_the_address_is_shown_and_what_its_headers_say_is_not(server: Server) -> None:
    protocol = await protocols.create(server, ADMIN, name="Hooks", plugin_id="webhook")
    data = {"url": "https://example.org/hook", "headers": {"Authorization": "Bearer marker-secret"}}

    made = await create(server, protocol.protocol_id, Kind.PROJECT, data=data)
    shown = {**data, "headers": {"Authorization": MASK}}
    kept = await channels.update(
        server, ADMIN, Kind.PROJECT, channel_id=made.channel_id, data={**shown, "url": "https://example.org/other"}
    )

    assert (made.data, kept.data) == (shown, {**shown, "url": "https://example.org/other"})
    assert kept.secret_data is not None
    assert server.vault.unseal(kept.secret_data) == {**data, "url": "https://example.org/other"}
