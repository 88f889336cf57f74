"""What is planned, what is left to the ordinary path, and that every rule holds on both.

That both answer the same is compared in test_planned_differences.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from sqlmodel import func, select
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig

from benchmarks.http import operations as hot
from resolvers import revocations
from resolvers.access import Caller
from resolvers.context import Server
from schema import planned, scalars
from schema.asked import Asked
from schema.context import Context
from schema.documents import Document, Documents
from schema.execution import Schema
from schema.http import Via
from schema.mutation import Mutation
from schema.query import Query
from storage.models import Notification
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, SERVICE
from tests.resolvers.said import MESSAGE, log_protocol, of_user, say
from tests.schema import paths
from tests.schema.world import World

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

CREATION = {"resourceType": "identity.User", "resourceId": "alice", "topic": "monitoring.Alert", "message": MESSAGE}
CREATE = """
    mutation Create($input: CreateNotificationInput!) {
      made: createNotification(input: $input) {
        __typename recipientCount deliveryCount replayed
        notification {
          __typename id notificationId parentNotificationId topic message notificationType notificationLevel isRead
          readAt userId projectId domainId createdAt cursor decisions { channelId protocolId decision reason }
        }
      }
    }
"""
PROFILE = "{ viewer { userId domainId role expiresAt } inbox { unreadCount unseenCount totalCount cursor } }"
DELIVERIES = "{ deliveries(first: 5) { nodes { deliveryId state createdAt } pageInfo { hasNextPage } totalCount } }"


def _context(server: Server, caller: Caller, via: Via = Via.POST) -> Context:
    return Context(server, caller, via)


async def _count(server: Server) -> int:
    async with server.database.read() as session:
        return (await session.exec(select(func.count()).select_from(Notification))).one()


# What is planned


async def test_the_hot_operations_are_planned(server: Server) -> None:
    said = await say(server)
    asked: list[tuple[Caller, str, dict[str, Any]]] = [
        (ALICE, hot.GET, {"id": said.notification_id}),
        (ALICE, hot.LIST, {"first": 20}),
        (ALICE, hot.LIST, {"first": 100}),
        (ALICE, hot.UNREAD, {}),
        (SERVICE, hot.CREATE, {"input": CREATION}),
        (ALICE, PROFILE, {}),
        (ADMIN, DELIVERIES, {}),
    ]
    for caller, text, values in asked:
        assert paths.keep(text)
        answer = await paths.planned(_context(server, caller), text, values)
        assert answer is not None, text
        assert answer.startswith(b'{"data":{')


@on_sqlite
@pytest.mark.parametrize(
    "text",
    [
        "{ plugins { pluginId } }",
        "{ __schema { queryType { name } } }",
        "{ notifications { nodes { deliveries { totalCount } } } }",
        "subscription { inboxChanged { cursor } }",
        'mutation { markAllRead(upTo: "x") { changedCount } }',
        "mutation ($input: CreateNotificationInput!) { createNotification(input: $input) { notifications { topic } } }",
        "mutation ($input: CreateNotificationInput!) { "
        "a: createNotification(input: $input) { replayed } b: createNotification(input: $input) { replayed } }",
        "query ($a: Boolean!, $b: Boolean!, $c: Boolean!, $d: Boolean!) { viewer { "
        "userId @skip(if: $a) role @skip(if: $b) domainId @skip(if: $c) expiresAt @skip(if: $d) } }",
    ],
)
async def test_anything_else_is_left_to_the_ordinary_path(server: Server, text: str) -> None:
    assert paths.keep(text)
    values = {"input": CREATION, **dict.fromkeys("abcd", False)}

    assert await paths.planned(_context(server, ADMIN), text, values) is None
    assert await _count(server) == 0


@on_sqlite
async def test_a_condition_decides_by_the_value_that_it_has_in_each_request(server: Server) -> None:
    text = "query Decide($no: Boolean = false) { viewer { userId role @skip(if: $no) ...more @include(if: $no) } } "
    text += "fragment more on Viewer { domainId }"
    assert paths.keep(text)

    cases: list[tuple[dict[str, Any], bytes | None]] = [
        ({}, b'{"userId":"alice","role":"USER"}'),
        ({"no": True}, b'{"userId":"alice","domainId":"home"}'),
        ({"no": False}, b'{"userId":"alice","role":"USER"}'),
        ({"no": None}, None),
        ({"no": "yes"}, None),
    ]
    for values, expected in cases:
        answer = await paths.planned(_context(server, ALICE), text, values)
        assert answer == (expected and b'{"data":{"viewer":%b}}' % expected)


# The same rules


class _Noting(SchemaExtension):
    """Says what it was there for."""

    seen: ClassVar[list[str | None]] = []

    def on_operation(self) -> Iterator[None]:
        yield
        self.seen.append(self.execution_context.operation_name)


@on_sqlite
async def test_an_extension_sees_every_operation(server: Server) -> None:
    config = StrawberryConfig(scalar_map=scalars.MAP)
    extended = Schema(query=Query, mutation=Mutation, config=config, extensions=[_Noting])
    extended.documents = Documents(plan=planned.of(extended))

    for _ in range(3):
        asked = Asked(hot.UNREAD, {})
        document = extended.documents.of(asked)
        assert isinstance(document, Document)
        assert await document.planned(asked, _context(server, ALICE)) is None
        await extended.execute(hot.UNREAD, context_value=_context(server, ALICE))

    assert extended.documents.find(hot.UNREAD)
    assert _Noting.seen == ["Unread"] * 3


@on_sqlite
async def test_a_revoked_token_is_refused_at_once(server: Server, clock: Clock) -> None:
    given = replace(ALICE, issued_at=clock())
    clock.advance(minutes=1)
    assert paths.keep(hot.UNREAD)
    assert await paths.planned(_context(server, given), hot.UNREAD, {})

    await revocations.revoke(server, ADMIN, user_id="alice", domain_id=None)

    assert await paths.planned(_context(server, given), hot.UNREAD, {}) is None
    assert (await paths.ordinary(_context(server, given), hot.UNREAD, {}))[1] == ["UNAUTHENTICATED"]


async def test_what_a_planned_answer_shows_becomes_read_after_it(server: Server) -> None:
    for _ in range(3):
        await say(server)
    assert paths.keep(hot.LIST)

    for via, unread in [(Via.GET, 3), (Via.POST, 1)]:
        context = _context(server, ALICE, via)
        assert await paths.planned(context, hot.LIST, {"first": 2})
        await context.answered()
        assert paths.keep(hot.UNREAD)
        expected = b'{"data":{"inbox":{"unreadCount":%d}}}' % unread
        assert await paths.planned(_context(server, ALICE), hot.UNREAD, {}) == expected


@on_sqlite
async def test_what_was_not_answered_in_the_end_is_not_marked_as_read(server: Server) -> None:
    await say(server)
    text = "{ notifications { nodes { topic } } wrong: notifications(first: 101) { totalCount } }"
    assert paths.keep(text)
    context = _context(server, ALICE)

    assert await paths.planned(context, text, {}) is None
    await context.answered()

    expected = b'{"data":{"inbox":{"unreadCount":1}}}'
    assert await paths.planned(_context(server, ALICE), hot.UNREAD, {}) == expected


async def test_it_is_the_same_over_http_the_first_time_and_after(world: World) -> None:
    text = "query Again { notifications(first: 2, markRead: false) { nodes { id message createdAt } totalCount } }"

    answers = [(await world.post(ALICE, text)).text for _ in range(3)]

    assert answers == [answers[0]] * 3
    assert '"totalCount":2' in answers[0]


# Creates


def _without_chance(answer: bytes | None) -> str:
    """An answer with the ids and the cursors that are different each time replaced."""
    assert answer is not None
    text = re.sub(r"notification-[0-9a-f]{12}", "notification-X", answer.decode())
    return re.sub(r'"(id|cursor)":"[^"]*"', r'"\1":"X"', text)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"notificationType": "ERROR", "notificationLevel": None, "message": {"ü": [1.0, None, {"a": 2**53}]}},
        {"resourceType": "identity.Project", "resourceId": "p1"},
        {"resourceType": "identity.Domain", "resourceId": "home"},
        {"resourceType": "nobody"},
        {"topic": "x" * 300},
        {"message": [1]},
        {"domainId": "away"},
    ],
)
async def test_a_create_leads_to_the_same_on_both_paths(server: Server, changes: dict[str, Any]) -> None:
    await of_user(server, ALICE, await log_protocol(server))
    values = {"input": {**CREATION, **changes}}
    assert paths.keep(CREATE)

    expected, codes = await paths.ordinary(_context(server, SERVICE), CREATE, values)
    made = await _count(server)
    answer = await paths.planned(_context(server, SERVICE), CREATE, values)

    assert _without_chance(answer) == _without_chance(expected)
    assert await _count(server) == 2 * made
    assert bool(made) is not bool(codes)


async def test_a_repeated_create_gets_its_first_answer_on_both_paths(server: Server) -> None:
    values = {"input": {**CREATION, "idempotencyKey": "key"}}
    other = {"input": {**CREATION, "idempotencyKey": "key", "topic": "other"}}
    assert paths.keep(CREATE)
    first = await paths.planned(_context(server, SERVICE), CREATE, values)
    assert first is not None

    repeated = await paths.planned(_context(server, SERVICE), CREATE, values)
    assert repeated == first.replace(b'"replayed":false', b'"replayed":true')
    assert (await paths.ordinary(_context(server, SERVICE), CREATE, values))[0] == repeated

    refused = await paths.planned(_context(server, SERVICE), CREATE, other)
    expected, codes = await paths.ordinary(_context(server, SERVICE), CREATE, other)
    assert (refused, codes) == (expected, ["ALREADY_EXISTS"])
    assert await _count(server) == 1


@on_sqlite
async def test_nothing_is_created_by_a_get(server: Server) -> None:
    assert paths.keep(CREATE)

    assert await paths.planned(_context(server, SERVICE, Via.GET), CREATE, {"input": CREATION}) is None
    assert await _count(server) == 0


@on_sqlite
@pytest.mark.parametrize("given", [None, {}, {"topic": 5}, {**CREATION, "nothing": 1}, {**CREATION, "message": None}])
async def test_nothing_is_created_of_values_that_are_not_right(server: Server, given: Any) -> None:
    assert paths.keep(CREATE)

    assert await paths.planned(_context(server, SERVICE), CREATE, {"input": given}) is None
    assert await _count(server) == 0
