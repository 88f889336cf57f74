"""Administrators and services watch what is said to a project, or in a domain: over real sockets."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from resolvers import cursors
from resolvers.access import Role
from tests.client import DEADLINE_S, Client, Subscription
from tests.server import ServerProcess

FEED = """
    subscription ($projectId: ID, $domainId: ID, $after: Cursor) {
      notificationFeed(projectId: $projectId, domainId: $domainId, after: $after) {
        cursor
        notification { notificationId topic projectId userId cursor }
      }
    }
"""

WATCHED: list[dict[str, str]] = [{"projectId": "p1"}, {}]


async def _events(screen: Subscription, count: int) -> list[Any]:
    return [(await screen.event())["notificationFeed"] for _ in range(count)]


async def _ids(screen: Subscription, count: int) -> list[str]:
    return [event["notification"]["notificationId"] for event in await _events(screen, count)]


async def _say(client: Client, resource_type: str = "identity.Project", resource_id: str = "p1") -> str:
    return str((await client.create(resource_type, resource_id))["notification"]["notificationId"])


@dataclass(frozen=True)
class Speaker:
    """Says one thing after the other to a project, and remembers what."""

    client: Client
    said: list[str] = field(default_factory=list)

    async def say(self) -> str:
        self.said.append(await _say(self.client))
        return self.said[-1]


async def _begin(screen: Subscription, speaker: Speaker) -> Any:
    """The event from which on all is new: the last of what is said until the screen shows something."""
    event = asyncio.ensure_future(screen.event())
    async with asyncio.timeout(DEADLINE_S):
        while not event.done():
            await speaker.say()
            await asyncio.wait([event], timeout=0.05)
    shown = event.result()["notificationFeed"]
    while shown["notification"]["notificationId"] != speaker.said[-1]:
        [shown] = await _events(screen, 1)
    return shown


async def _refusal(client: Client, **variables: object) -> tuple[str, str | None]:
    """The code and the field of the error that ends a feed."""
    async with client.subscription(FEED, **variables) as screen:
        message = await screen.receive()
    assert message["type"] == "error", message
    [error] = message["payload"]
    return error["extensions"]["code"], error["extensions"].get("field")


async def test_two_screens_see_the_same_and_go_on_after_the_server_was_killed(
    serve: Callable[..., ServerProcess], database_url: str
) -> None:
    server = serve(database_url=database_url)
    admin, service = server.client("admin", Role.DOMAIN_ADMIN), server.client("billing", Role.SERVICE)
    await admin.channel("p1", await admin.internal_protocol(), {"users": ["alice", "bob"]})
    speaker, left = Speaker(service), []
    for watched in WATCHED:
        async with admin.subscription(FEED, **watched) as one:
            begin = await _begin(one, speaker)
            async with service.subscription(FEED, **watched, after=begin["cursor"]) as other:
                said = [await speaker.say() for _ in range(3)]
                events = await _events(one, 3)
                assert await _events(other, 3) == events
        shown = [event["notification"] for event in events]
        assert [notification["notificationId"] for notification in shown] == said
        assert {(notification["userId"], notification["cursor"]) for notification in shown} == {(None, None)}
        left.append((watched, events[0]["cursor"], said[0]))
    await speaker.say()
    server.kill()
    server.start()

    for watched, cursor, last in left:
        missed = speaker.said[speaker.said.index(last) + 1 :]
        async with admin.subscription(FEED, **watched, after=cursor) as screen:
            assert await _ids(screen, len(missed)) == missed
            live = await speaker.say()
            assert await _ids(screen, 1) == [live]


async def test_a_domains_feed_has_projects_domains_and_pushes(live: ServerProcess) -> None:
    domain = uuid.uuid4().hex
    admin, operator = live.client("admin", Role.DOMAIN_ADMIN, domain), live.client("operator", Role.SYSTEM)
    protocol = await admin.protocol("log")
    async with operator.subscription(FEED, domainId=domain) as screen:
        await _begin(screen, Speaker(admin))

        await _say(admin, "identity.User", "alice")
        said = [await _say(admin, "identity.Project", "p2"), await _say(admin, "identity.Domain", domain)]
        pushed = await admin.push(protocol, {}, {"title": "A"})

        assert await _ids(screen, 3) == [*said, pushed["notification"]["notificationId"]]


async def test_a_service_sees_what_it_said_and_a_user_nothing(live: ServerProcess) -> None:
    domain = uuid.uuid4().hex
    admin, user = live.client("admin", Role.DOMAIN_ADMIN, domain), live.client("alice", Role.USER, domain)
    service = live.client("billing", Role.SERVICE, domain)
    for watched in WATCHED:
        async with service.subscription(FEED, **watched) as screen:
            await _begin(screen, Speaker(service))
            await _say(admin)
            mine = await _say(service)
            assert await _ids(screen, 1) == [mine]

        assert await _refusal(user, **watched) == ("PERMISSION_DENIED", None)
        assert await _refusal(service, **watched, domainId="default") == ("PERMISSION_DENIED", "domainId")


async def test_a_cursor_that_the_feed_cannot_go_on_from_ends_it(live: ServerProcess) -> None:
    domain = uuid.uuid4().hex
    admin = live.client("admin", Role.DOMAIN_ADMIN, domain)
    async with admin.subscription(FEED) as screen:
        of_domain = (await _begin(screen, Speaker(admin)))["cursor"]

    assert await _refusal(admin, projectId="p1", after=of_domain) == ("INVALID_ARGUMENT", "after")
    assert await _refusal(admin, after=of_domain[:-1]) == ("INVALID_ARGUMENT", "after")
    restored = replace(cursors.feed_position(of_domain, field="after"), generation=1)
    assert await _refusal(admin, after=cursors.for_feed(restored)) == ("CURSOR_EXPIRED", "after")
