"""Compiled events: what graphql-core would answer, without it; and graphql-core itself wherever that takes more."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
import strawberry
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

import schema
from resolvers import cursors, inboxes
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.cursors import BEGINNING
from schema.context import Context
from schema.execution import Schema
from schema.http import Via
from tests.resolvers.callers import ADMIN, ALICE
from tests.resolvers.said import inside, log_protocol, outside, say, say_to_project

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

COMPILED = schema.build()
ORDINARY = schema.build()
ORDINARY.execution_context_class = StrawberryGraphQLCoreExecutionContext

EVERYTHING = """
    subscription ($after: Cursor) {
      inboxChanged(after: $after) {
        __typename cursor unreadCount unseenCount originId
        ... on NotificationAdded {
          notification {
            __typename id notificationId parentNotificationId topic message notificationType notificationLevel isRead
            readAt userId projectId domainId createdAt cursor
            decisions { __typename channelId protocolId decision reason detail deferUntil }
          }
        }
        ... on NotificationsRead { notificationIds isRead }
        ... on NotificationsRemoved { notificationIds }
        ... on AllRead { upTo }
        ... on InboxSeen { upTo }
        ... on AllRemoved { upTo }
      }
    }
"""
FRAGMENTS = """
    subscription ($after: Cursor, $yes: Boolean = true, $no: Boolean = false) {
      changed: inboxChanged(after: $after) {
        ...counts
        ... on NotificationAdded { it: notification { id: notificationId } ...added }
        ... on InboxEvent @include(if: $no) { __typename }
        ... @skip(if: $no) { where: cursor }
        originId @include(if: $yes)
        unseenCount @skip(if: $yes)
      }
    }
    fragment added on NotificationAdded { it: notification { topic ...typed } notification { isRead } }
    fragment typed on Notification { kind: notificationType, notificationType, ... on Node { global: id } }
    fragment counts on InboxEvent { n: unreadCount unreadCount unreadCount }
"""
WITH_A_RESOLVER = """
    subscription ($after: Cursor) {
      inboxChanged(after: $after) {
        cursor
        ... on NotificationAdded { notification { topic deliveries(first: 1) { totalCount } } }
      }
    }
"""
CREATED = "subscription ($after: Cursor) { notificationCreated(after: $after) { notificationId message } }"
FEED = """
    subscription ($after: Cursor) {
      notificationFeed(projectId: "p1", after: $after) { cursor notification { topic decisions { decision } } }
    }
"""


@pytest.fixture
async def after(server: Server) -> str:
    """The cursor before a change of every kind."""
    await inside(server, "alice")
    await outside(server, await log_protocol(server))
    await say(server)
    everyone: Any = {"users": None, "up_to": None, "domain_id": None, "origin_id": "tab"}
    await inboxes.delete_all(server, ALICE, **everyone)
    first, _, gone = [(await say(server, topic=f"topic.{number}")).notification_id for number in range(3)]
    await say_to_project(server)
    await inboxes.set_read(server, ALICE, notification_ids=[first], is_read=True, origin_id="tab")
    here = await _cursor(server)
    await inboxes.mark_seen(server, ALICE, up_to=here, origin_id=None)
    await inboxes.mark_all_read(server, ALICE, up_to=here, origin_id=None)
    await inboxes.set_read(server, ALICE, notification_ids=[first], is_read=False, origin_id=None)
    await inboxes.delete(server, ALICE, notification_ids=[gone], origin_id=None)
    return cursors.for_stream(BEGINNING)


async def _cursor(server: Server) -> str:
    state = await inboxes.mine(server, ALICE)
    assert state is not None
    return state.cursor


async def _events(api: Schema, server: Server, caller: Caller, document: str, after: str, count: int) -> list[Any]:
    """The data and the errors of each of the first events."""
    context = Context(server, caller, Via.WEBSOCKET)
    stream: Any = await api.stream(document, {"after": after}, context_value=context)
    async with aclosing(stream):
        return [((result := await anext(stream)).data, result.errors) for _ in range(count)]


@pytest.fixture
def ordinary_ones(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each event that graphql-core was asked for."""
    asked: list[object] = []
    execute = StrawberryGraphQLCoreExecutionContext.execute_operation

    def noted(self: Any, serially: bool | None = None) -> Any:
        asked.append(self.root_value)
        return execute(self, serially)

    monkeypatch.setattr(StrawberryGraphQLCoreExecutionContext, "execute_operation", noted)
    return asked


@pytest.mark.parametrize(
    ("document", "caller", "count"),
    [(EVERYTHING, ALICE, 10), (FRAGMENTS, ALICE, 10), (CREATED, ALICE, 3), (FEED, ADMIN, 1)],
)
async def test_an_event_is_what_graphql_core_would_answer(
    server: Server, after: str, document: str, caller: Caller, count: int, ordinary_ones: list[object]
) -> None:
    compiled = await _events(COMPILED, server, caller, document, after, count)
    assert ordinary_ones == []

    assert compiled == await _events(ORDINARY, server, caller, document, after, count)
    assert len(ordinary_ones) == count
    assert [list(data) for data, _ in compiled] == [list(compiled[0][0])] * count


async def test_the_events_were_of_every_kind_that_an_inbox_has(server: Server, after: str) -> None:
    events = await _events(COMPILED, server, ALICE, EVERYTHING, after, 10)
    elsewhere = cursors.stream_position(await _cursor(server), field="after")._replace(generation=1)
    events += await _events(COMPILED, server, ALICE, EVERYTHING, cursors.for_stream(elsewhere), 1)

    kinds = {data["inboxChanged"]["__typename"] for data, _ in events}
    possible = COMPILED._schema.get_possible_types(COMPILED._schema.type_map["InboxEvent"])  # type: ignore[arg-type]
    assert kinds == {each.name for each in possible}


async def test_a_field_with_a_resolver_takes_the_ordinary_way(
    server: Server, after: str, ordinary_ones: list[object]
) -> None:
    events = await _events(COMPILED, server, ALICE, WITH_A_RESOLVER, after, 10)

    assert len(ordinary_ones) == 10
    added = [data["inboxChanged"]["notification"] for data, _ in events if "notification" in data["inboxChanged"]]
    assert [each["deliveries"] for each in added] == [{"totalCount": 0}] * len(added)
    assert added


@strawberry.type
class Reading:
    value: int
    parts: list[int] | None


@strawberry.type
class Query:
    nothing: int = 0


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def reading(self) -> AsyncGenerator[Reading, None]:
        for value, parts in ((1, [1, 2]), (None, None), ("no number", []), (2**40, None), (2, [None]), (3, None)):
            yield Reading(value=value, parts=parts)  # type: ignore[arg-type]


async def test_an_event_that_cannot_be_answered_says_why_and_the_next_one_comes(server: Server) -> None:
    apis = [Schema(query=Query, subscription=Subscription) for _ in range(2)]
    apis[1].execution_context_class = StrawberryGraphQLCoreExecutionContext
    document = "subscription { reading { value parts } }"

    compiled, ordinary = [await _events(api, server, ALICE, document, "", 6) for api in apis]

    assert [data for data, _ in compiled] == [data for data, _ in ordinary]
    assert compiled[0] == ({"reading": {"value": 1, "parts": [1, 2]}}, None)
    assert compiled[5] == ({"reading": {"value": 3, "parts": None}}, None)
    paths = [[error.path for error in errors or ()] for _, errors in compiled]
    assert paths == [[error.path for error in errors or ()] for _, errors in ordinary]
    assert paths == [
        [],
        [["reading", "value"]],
        [["reading", "value"]],
        [["reading", "value"]],
        [["reading", "parts", 0]],
        [],
    ]
