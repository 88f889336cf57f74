"""`deliveryUpdated` over a real socket, while a worker sends: each delivery up to its end, to those who may see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from resolvers.access import Role
from tests.client import Client, Subscription
from tests.server import ServerProcess
from tests.sink import Answer, Sink

WATCH = """
    subscription ($filter: DeliveryFilter) {
      deliveryUpdated(filter: $filter) { deliveryId channelId state attemptCount attempts { statusCode } }
    }
"""
USER_CHANNEL = """
    mutation ($input: CreateUserChannelInput!) { createUserChannel(input: $input) { userChannel { userChannelId } } }
"""
ORDER = ["PENDING", "SENDING", "RETRYING", "DELIVERED"]  # RETRYING goes back to SENDING


async def _until_delivered(screen: Subscription) -> list[Any]:
    seen: list[Any] = []
    while not seen or seen[-1]["state"] != "DELIVERED":
        seen.append((await screen.event())["deliveryUpdated"])
    return seen


async def _own_channel(user: Client, protocol: str, sink: Sink) -> str:
    asked = {"protocolId": protocol, "name": "mine", "data": {"url": sink.url()}}
    made = await user.ask(USER_CHANNEL, input=asked)
    return str(made["createUserChannel"]["userChannel"]["userChannelId"])


async def test_a_screen_sees_a_delivery_on_its_way_to_its_end(
    serve: Callable[..., ServerProcess], database_url: str, sink: Sink
) -> None:
    sink.script.append(Answer(500))
    server = serve(database_url=database_url, dispatch_retry_schedule="0.2")
    admin = server.client("admin", Role.DOMAIN_ADMIN)
    channel = await admin.channel("p1", await admin.protocol("webhook"), {"url": sink.url()})

    async with admin.subscription(WATCH) as screen:
        created = await admin.create("identity.Project", "p1")
        seen = await _until_delivered(screen)

    [delivery] = created["deliveries"]
    assert {(each["deliveryId"], each["channelId"]) for each in seen} == {(delivery["deliveryId"], channel)}
    assert {each["state"] for each in seen} <= set(ORDER)
    assert "RETRYING" in {each["state"] for each in seen}  # it stays so for long enough to be seen
    counts = [each["attemptCount"] for each in seen]
    assert counts == sorted(counts)
    assert seen[-1]["attempts"] == [{"statusCode": 500}, {"statusCode": 200}]


async def test_a_user_sees_what_goes_through_own_channels_and_nothing_else(
    serve: Callable[..., ServerProcess], database_url: str, sink: Sink
) -> None:
    sink.script += [Answer(500)] * 3  # the streams have begun before the first create's deliveries are at their end
    server = serve(database_url=database_url, dispatch_retry_schedule="0.3")
    admin, alice, bob = (
        server.client(user, role)
        for user, role in (("admin", Role.DOMAIN_ADMIN), ("alice", Role.USER), ("bob", Role.USER))
    )
    away = server.client("admin", Role.DOMAIN_ADMIN, "away")
    protocol = await admin.protocol("webhook")
    await admin.channel("p1", protocol, {"url": sink.url()})
    await admin.channel("p1", await admin.internal_protocol(), {"users": ["alice", "bob"]})
    own = {client: await _own_channel(client, protocol, sink) for client in (alice, bob)}

    async with (
        alice.subscription(WATCH) as of_alice,
        bob.subscription(WATCH) as of_bob,
        away.subscription(WATCH) as far,
    ):
        for _ in range(3):
            created = await admin.create("identity.Project", "p1")
            assert created["deliveryCount"] == 3
            for client, screen in ((alice, of_alice), (bob, of_bob)):
                seen = await _until_delivered(screen)
                assert {each["channelId"] for each in seen} == {own[client]}
        await far.send(type="ping")
        assert await far.receive() == {"type": "pong"}  # and nothing before it
