"""What SIGKILL leaves behind: everything that was acknowledged, and it goes on from there.

Each server is started again on its port and on what it left, as whoever restarts it would do.
"""

from __future__ import annotations

from collections.abc import Callable

from resolvers.access import Role
from tests.client import Client, eventually
from tests.server import ServerProcess
from tests.sink import Hang, Sink

PROJECT = "project-1"
CURSOR = "{ inbox { cursor } }"
LIVE = "subscription ($after: Cursor) { notificationCreated(after: $after) { notificationId cursor } }"


async def webhook_to(sink: Sink, admin: Client) -> None:
    await admin.channel(PROJECT, await admin.protocol("webhook"), {"url": sink.url()})


async def test_what_was_acknowledged_and_not_yet_sent_is_sent_once(
    serve: Callable[..., ServerProcess], sink: Sink
) -> None:
    server = serve(dispatch_worker="false")
    admin = server.client("admin", Role.DOMAIN_ADMIN)
    await webhook_to(sink, admin)
    created = await admin.create("identity.Project", PROJECT)
    [delivery] = created["deliveries"]

    server.kill()
    server.start(dispatch_worker="true")

    delivered = await admin.settled(delivery["deliveryId"])
    assert (delivered["state"], delivered["attemptCount"], len(delivered["attempts"])) == ("DELIVERED", 1, 1)
    assert [request.headers["webhook-id"] for request in sink.received] == [delivery["deliveryId"]]
    assert await admin.open_deliveries() == 0


async def test_what_was_being_sent_is_sent_again_and_says_that_it_is_the_same(
    serve: Callable[..., ServerProcess], sink: Sink
) -> None:
    """Nobody can know what the receiver made of the first request. The id tells it that the second is a repeat."""
    sink.script.append(Hang())
    server = serve(dispatch_timeout="60")  # a lease that nobody here waits for
    admin = server.client("admin", Role.DOMAIN_ADMIN)
    await webhook_to(sink, admin)
    created = await admin.create("identity.Project", PROJECT)
    [delivery] = created["deliveries"]

    await sink.wait_for(1)
    server.kill()
    server.start()

    delivered = await admin.settled(delivery["deliveryId"])
    first, second = sink.received
    assert delivered["state"] == "DELIVERED"
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == delivery["deliveryId"]
    assert first.json == second.json
    assert await admin.open_deliveries() == 0


async def test_a_promised_crowd_is_reached_although_the_server_is_killed_before_and_on_the_way(
    serve: Callable[..., ServerProcess], database_url: str
) -> None:
    """Twenty transactions' worth of users, and each is reached once."""
    crowd = sorted(f"user-{number}" for number in range(2000))
    server = serve(database_url=database_url)
    admin = server.client("admin", Role.DOMAIN_ADMIN)
    await admin.channel(PROJECT, await admin.internal_protocol(), {"users": crowd})

    created = await admin.create("identity.Project", PROJECT)
    record_id = created["notification"]["notificationId"]
    server.kill()
    server.start()
    await eventually(lambda: admin.recipients(record_id), bool)
    server.kill()
    server.start()

    assert created["recipientCount"] == len(crowd)
    reached = await eventually(lambda: admin.recipients(record_id), lambda users: len(users) >= len(crowd))
    assert sorted(reached) == crowd
    last = server.client(crowd[-1], Role.USER)
    assert await last.ask("{ inbox { unreadCount totalCount } }") == {"inbox": {"unreadCount": 1, "totalCount": 1}}


async def test_an_open_screen_goes_on_where_it_was(serve: Callable[..., ServerProcess]) -> None:
    """The port is free at once although a socket was open, and the stream leaves nothing out and repeats nothing."""
    server = serve()
    admin, user = server.client("admin", Role.DOMAIN_ADMIN), server.client("user", Role.USER)
    async with user.subscription(LIVE, after=(await user.ask(CURSOR))["inbox"]["cursor"]) as screen:
        first = await admin.create("identity.User", "user")
        seen = (await screen.event())["notificationCreated"]
        missed = await admin.create("identity.User", "user")
        server.kill()

    address = server.url
    server.start()
    async with user.subscription(LIVE, after=seen["cursor"]) as screen:
        resumed = (await screen.event())["notificationCreated"]
        then = await admin.create("identity.User", "user")
        live = (await screen.event())["notificationCreated"]

    assert server.url == address
    said = [created["notification"]["notificationId"] for created in (first, missed, then)]
    assert [event["notificationId"] for event in (seen, resumed, live)] == said
