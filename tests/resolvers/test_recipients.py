"""A channel whose plugin splits its recipients: each is a delivery of its own, with its own part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dispatch.plugins import DispatchRequest, JsonObject, PluginInfo, Result, Verification
from resolvers import channel_data, channels, explanations, notifications, protocols, pushes, quotas, steering
from resolvers.context import Server
from resolvers.errors import InvalidArgument
from resolvers.pushes import Push
from storage.channels import Kind
from storage.models import AttemptOutcome, Channel, Decision, DecisionReason, Delivery, DeliveryState, Protocol
from storage.verdicts import Verdict
from tests.conftest import Clock
from tests.resolvers import working
from tests.resolvers.callers import ADMIN, SERVICE
from tests.resolvers.refusals import at
from tests.resolvers.said import MESSAGE, creation, say_to_project

OPTIONS = {"host": "mail.test", "from": "tocsin@example.com"}
THREE = ["a@example.org", "b@example.org", "c@example.org"]


@pytest.fixture
async def protocol(server: Server) -> Protocol:
    return await protocols.create(
        server, ADMIN, name="mail", plugin_id="email", options=OPTIONS, secret_data=None, verify=False
    )


async def leading_to(server: Server, protocol: Protocol, *addresses: str) -> Channel:
    return await channels.create(
        server,
        ADMIN,
        Kind.PROJECT,
        protocol_id=protocol.protocol_id,
        owner_id="p1",
        name="Operators",
        data={"to": list(addresses)},
    )


async def made(server: Server, notification_id: str) -> list[Delivery]:
    return await notifications.deliveries_of(server, notification_id, first=100)


async def test_each_recipient_of_a_channel_is_a_delivery(server: Server, protocol: Protocol) -> None:
    channel = await leading_to(server, protocol, *THREE)
    other = await leading_to(server, protocol, "d@example.org")

    said = await say_to_project(server)

    rows = await made(server, said.notification_id)
    assert said.delivery_count == 4
    assert {(row.channel_id, row.part) for row in rows} == {
        *((channel.channel_id, part) for part in range(3)),
        (other.channel_id, 0),
    }
    assert {row.state for row in rows} == {DeliveryState.PENDING}


async def test_there_is_one_decision_for_a_channel_however_many_recipients(server: Server, protocol: Protocol) -> None:
    channel = await leading_to(server, protocol, *THREE)

    asked = creation("p1", resource_type="identity.Project")
    explained = await explanations.explain(server, SERVICE, asked)
    said = await say_to_project(server)

    assert said.notification is not None
    assert [each.to_json() for each in explained] == said.notification.decisions
    assert [(each.channel_id, each.decision) for each in explained] == [(channel.channel_id, Decision.SEND)]


async def test_a_push_reaches_each_recipient_and_answers_with_the_first(server: Server, protocol: Protocol) -> None:
    pushed = await pushes.push(server, SERVICE, Push(protocol.protocol_id, {"to": THREE}, MESSAGE))

    rows = await made(server, pushed.record.notification_id)
    assert [row.part for row in rows] == [0, 1, 2]
    assert pushed.delivery.delivery_id == rows[0].delivery_id


async def test_trying_a_channel_tries_each_recipient(server: Server, protocol: Protocol) -> None:
    channel = await leading_to(server, protocol, *THREE)

    tried = await steering.try_channel(server, ADMIN, channel_id=channel.channel_id)

    rows = await made(server, tried.notification_id)
    assert tried.part == 0
    assert sorted(row.part for row in rows) == [0, 1, 2]


async def test_each_recipient_counts_against_the_quota(server: Server, protocol: Protocol, clock: Clock) -> None:
    await leading_to(server, protocol, *THREE)
    clock.advance(seconds=1)
    late = await leading_to(server, protocol, "d@example.org")
    await quotas.create(server, ADMIN, protocol_id=protocol.protocol_id, day=2)

    said = await say_to_project(server)
    claimed = await working.claim(server.database)

    rows = await made(server, said.notification_id)
    held = [row for row in rows if row.state is DeliveryState.SKIPPED]
    assert len(claimed) == 2
    assert {row.reason for row in held} == {DecisionReason.QUOTA}
    assert len(held) == 2
    assert late.channel_id in {row.channel_id for row in held}


async def test_one_recipients_delivery_is_tried_again_without_the_others(server: Server, protocol: Protocol) -> None:
    await leading_to(server, protocol, *THREE)
    said = await say_to_project(server)
    claimed = await working.claim(server.database)
    for each in claimed:
        is_second = each.delivery.part == 1
        dead = Verdict(DeliveryState.DEAD, DecisionReason.REFUSED, "The server answered 550.")
        await working.record(server.database, each.delivery, dead if is_second else Verdict(DeliveryState.DELIVERED))

    [second] = [row for row in await made(server, said.notification_id) if row.state is DeliveryState.DEAD]
    await steering.retry(server, ADMIN, delivery_id=second.delivery_id)

    assert [each.delivery.part for each in await working.claim(server.database)] == [1]


async def test_other_data_makes_other_recipients(server: Server, protocol: Protocol) -> None:
    channel = await leading_to(server, protocol, *THREE)
    data = {"email": "a@example.org, b@example.org"}
    await channels.update(server, ADMIN, Kind.PROJECT, channel_id=channel.channel_id, data=data)

    said = await say_to_project(server)

    assert said.delivery_count == 2


class Crowd:
    """A plugin that leads to as many as its data says."""

    async def init(self, options: JsonObject) -> PluginInfo:
        return PluginInfo(name="Crowd", data_schema={"type": "object"})

    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        return Verification(ok=True)

    async def dispatch(self, request: DispatchRequest) -> Result:
        return Result(AttemptOutcome.OK)

    def parts(self, channel_data: JsonObject) -> Sequence[JsonObject]:
        return [{}] * channel_data["many"]


@pytest.mark.parametrize(("many", "is_taken"), [(0, False), (1, True), (50, True), (51, False)])
async def test_a_channel_leads_to_so_many_at_most(server: Server, many: int, is_taken: bool) -> None:
    plugins: Any = server.plugins
    plugins["crowd"] = Crowd()
    crowd = await protocols.create(server, ADMIN, name="crowd", plugin_id="crowd")

    if is_taken:
        assert (await channel_data.check(server, crowd, {"many": many})).part_count == many
    else:
        with pytest.raises(InvalidArgument, check=at("data")):
            await channel_data.check(server, crowd, {"many": many})
