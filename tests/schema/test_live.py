"""Live events over real sockets: encoded once for all who select the same, and the same as if they were executed."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import AsyncExitStack
from typing import Any

import pytest
from graphql import parse
from graphql.execution.values import VariableValues
from graphql.language import FragmentDefinitionNode, OperationDefinitionNode

import schema
from resolvers.access import Role
from resolvers.cursors import BEGINNING
from resolvers.events import Event, EventKind
from schema import projection
from schema.live import Encoder
from schema.projection import Projection
from tests.client import Client, Subscription
from tests.server import ServerProcess

DEADLINE_S = 20
API = schema.build()
FEED = """
    subscription ($after: Cursor, $long: Boolean = false) {
      notificationFeed(projectId: "p1", after: $after) {
        cursor notification { notificationId ...more @include(if: $long) }
      }
    }
    fragment more on Notification { topic message createdAt }
"""
ORDINARY = """
    subscription {
      notificationFeed(projectId: "p1") {
        cursor notification { notificationId topic message createdAt deliveries { totalCount } }
      }
    }
"""


def _projection(text: str, **variables: Any) -> Projection | None:
    document = parse(text)
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
    [operation] = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    return projection.shared(API._schema, fragments, operation, VariableValues({}, variables))


def test_those_who_select_the_same_share_what_is_encoded_wherever_they_began() -> None:
    one, other = _projection(FEED, after="a", long=True), _projection(FEED, after="b", long=True)

    assert one is not None
    assert one is other


@pytest.mark.parametrize(("text", "long"), [(FEED, False), (FEED.replace("cursor ", ""), True)])
def test_those_who_select_something_else_do_not(text: str, long: bool) -> None:
    one, other = _projection(FEED, long=True), _projection(text, long=long)

    assert one is not other
    assert other is not None


def test_what_is_shared_is_kept_no_longer_than_it_is_in_use() -> None:
    text = FEED.replace("$long", "$much")
    one = _projection(text, much=True)
    assert text in {key[1] for key in projection._in_use}

    del one

    assert text not in {key[1] for key in projection._in_use}


def test_an_event_is_encoded_once_for_each_selection() -> None:
    made: list[Event] = []

    def read(event: Event) -> dict[str, int]:
        made.append(event)
        return {"number": event.unread_count}

    encoder = Encoder(read)
    first, second = (Event(EventKind.SYNCED, BEGINNING, number, 0) for number in (1, 2))

    encoded = [encoder.encoded(event) for event in (first, first, second, second)]

    assert encoded == [b'{"number":1}'] * 2 + [b'{"number":2}'] * 2
    assert made == [first, second]


async def _next(screen: Subscription) -> Any:
    async with asyncio.timeout(DEADLINE_S):
        message = await screen.receive()
    assert message["type"] == "next", message
    return message["payload"]["data"]["notificationFeed"]


async def _begun(screens: list[Subscription], speaker: Client) -> None:
    """Until all of them hear of the very same record."""
    async with asyncio.timeout(DEADLINE_S):
        last = [""] * len(screens)
        while len(set(last)) > 1 or last == [""] * len(screens):
            said = (await speaker.create("identity.Project", "p1"))["notification"]["notificationId"]
            for number, screen in enumerate(screens):
                try:
                    async with asyncio.timeout(1):
                        while last[number] != said:
                            last[number] = (await _next(screen))["notification"]["notificationId"]
                except TimeoutError:
                    continue


async def test_whatever_the_selection_and_its_way_everybody_is_told_the_same(live: ServerProcess) -> None:
    """Two with one selection, one with another, and one whose events graphql-core executes, beside each other."""
    domain = uuid.uuid4().hex
    admin = live.client("admin", Role.DOMAIN_ADMIN, domain)
    async with AsyncExitStack() as stack:
        asked: list[tuple[str, dict[str, Any]]] = [(FEED, {"long": True})] * 2 + [(FEED, {}), (ORDINARY, {})]
        screens = [await stack.enter_async_context(admin.subscription(text, **given)) for text, given in asked]
        await _begun(screens, admin)
        messages = [{"title": "ä\u2028\U0001f600", "n": 1.5}, {"title": "x" * 200}, {"title": "y" * 70_000}]
        said = [await admin.create("identity.Project", "p1", message=message) for message in messages]
        told = [[await _next(screen) for _ in said] for screen in screens]

    long, same, short, executed = told
    for events in executed:
        assert events["notification"].pop("deliveries") == {"totalCount": 0}
    assert long == same == executed
    assert [event["notification"]["message"] for event in long] == messages
    assert [event["notification"]["notificationId"] for event in long] == [
        each["notification"]["notificationId"] for each in said
    ]
    assert short == [
        {"cursor": event["cursor"], "notification": {"notificationId": event["notification"]["notificationId"]}}
        for event in long
    ]


async def test_services_on_one_feed_with_one_selection_are_told_of_their_own(live: ServerProcess) -> None:
    domain = uuid.uuid4().hex
    one, other = (live.client(name, Role.SERVICE, domain) for name in ("billing", "shipping"))
    async with one.subscription(FEED) as first, other.subscription(FEED) as second:
        await asyncio.gather(_begun([first], one), _begun([second], other))
        said = {id(client): [] for client in (one, other)}  # type: ignore[var-annotated]
        for _ in range(4):
            for client in (one, other):
                made = await client.create("identity.Project", "p1")
                said[id(client)].append(made["notification"]["notificationId"])
        for client, screen in ((one, first), (other, second)):
            told = [(await _next(screen))["notification"]["notificationId"] for _ in range(4)]

            assert told == said[id(client)]
