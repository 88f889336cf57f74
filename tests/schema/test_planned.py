"""What is planned, what is left to the ordinary path, and that every rule holds on both.

That both answer the same is compared in test_planned_differences.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, cast

import orjson
import pytest
from graphql import GraphQLNonNull, GraphQLObjectType, get_named_type
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
from schema.notification import Delivery
from schema.notification import Notification as ShownNotification
from schema.planned import plans
from schema.query import Query
from storage.models import Notification, NotificationType
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, BOB, SERVICE
from tests.resolvers.said import MESSAGE, log_protocol, of_user, say
from tests.schema import paths
from tests.schema.operations import ROOTS, TYPES
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


async def _on_both(server: Server, caller: Caller, text: str, values: dict[str, Any] | None = None) -> str:
    """What a plan answers, and nothing else does: the same as the ordinary path."""
    assert paths.keep(text), text
    expected, codes = await paths.ordinary(_context(server, caller), text, values or {})
    answer = await paths.planned(_context(server, caller), text, values or {})
    assert (answer, codes) == (expected, []), (text, values)
    return expected.decode()


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


OF_ONE = {  # what is selected of a notification, and what is answered for it
    "decisions { decision reason }": '{"decision":"SKIP","reason":"TOPIC"}',
    "__typename deliveries { __typename totalCount nodes { state } }": '"totalCount":1,"nodes":[{"state":"PENDING"}]',
    "of: deliveries(first: 0) { nodes { state } pageInfo { hasNextPage } }": '"of":{"nodes":[],"pageInfo"',
}
OF_ITSELF = """
    query ($deliveryId: ID!) { delivery(deliveryId: $deliveryId) { notification { topic } attempts { error } } }
"""
OF_DELIVERY = '"notification":{"topic":"monitoring.Alert"},"attempts":[]'

# What of a row has a resolver of its own, or is made of parsed JSON.
NOT_AS_TEXT = {"Notification": {"decisions", "deliveries"}, "Delivery": {"notification", "attempts"}}


def _as_text(type_name: str) -> list[str]:
    fields = cast(GraphQLObjectType, TYPES.type_map[type_name]).fields
    return ["__typename", *(name for name in fields if name not in NOT_AS_TEXT[type_name])]


def _of_pages(name: str) -> Iterator[str]:
    """What there is to select of a list, one by one."""
    type_ = cast(GraphQLObjectType, get_named_type(ROOTS["query"].fields[name].type))
    for field in _as_text(get_named_type(type_.fields["nodes"].type).name):
        yield from (f"nodes {{ {field} }}", f"edges {{ node {{ {field} }} }}")
    for field in ("__typename", *cast(GraphQLObjectType, TYPES.type_map["PageInfo"]).fields):
        yield f"pageInfo {{ {field} }}"
    yield from ("__typename", "totalCount", "edges { cursor }", "edges { __typename }")
    if "inbox" in type_.fields:
        yield from ("inbox { cursor }", "inbox { __typename }")


async def test_each_part_of_a_list_and_of_a_row_is_read_as_text(server: Server, clock: Clock) -> None:
    await of_user(server, ALICE, await log_protocol(server))
    for topic in "abcd":
        await say(server, topic=topic)
        clock.advance(minutes=1)
    asked = await _each_part(server)
    expected = {text: await paths.ordinary(_context(server, ALICE), text, {}) for text in asked}

    with pytest.MonkeyPatch.context() as patch:
        for type_ in (ShownNotification, Delivery):
            patch.setattr(type_, "from_row", None)  # so that nothing is made of a row, but the answer
        for text, (answer, codes) in expected.items():
            assert (await paths.planned(_context(server, ALICE), text, {}), codes) == (answer, []), text


async def _each_part(server: Server) -> list[str]:
    asked = []
    for one, name in (("notification", "notifications"), ("delivery", "deliveries")):
        listed = orjson.loads(
            await _on_both(server, ALICE, f"{{ {name} {{ edges {{ cursor node {{ {one}Id }} }} }} }}")
        )
        first = listed["data"][name]["edges"][0]
        own, cursor = first["node"][f"{one}Id"], first["cursor"]
        pages = ("(first: 2)", f'(first: 2, after: "{cursor}")', "(first: 20)", "(first: 0)")
        asked += [f"{{ {name}{page} {{ {part} }} }}" for page in pages for part in _of_pages(name)]
        asked += [f'{{ {one}({one}Id: "{own}") {{ {each} }} }}' for each in _as_text(one.title())]
    assert all(map(paths.keep, asked))
    return asked


async def test_fields_with_resolvers_are_planned_beside_lists(server: Server) -> None:
    protocol = await log_protocol(server)
    await of_user(server, ALICE, protocol)
    await of_user(server, ALICE, protocol, topics=["other"])
    said = {"id": (await say(server)).notification_id}
    one = "query ($id: ID!) { notification(notificationId: $id, markRead: false) { topic %s } }"

    for selected, shown in OF_ONE.items():
        assert shown in await _on_both(server, ALICE, one % selected, said)
        assert await _on_both(server, BOB, one % selected, said) == '{"data":{"notification":null}}'
    listed = orjson.loads(await _on_both(server, ALICE, "{ deliveries { nodes { deliveryId } } }"))
    [found] = listed["data"]["deliveries"]["nodes"]
    assert OF_DELIVERY in await _on_both(server, ALICE, OF_ITSELF, found)
    for caller, inbox in ((ALICE, '"inbox":{"unreadCount":1}'), (ADMIN, '"inbox":null')):
        assert inbox in await _on_both(server, caller, "{ notifications { inbox { unreadCount } totalCount } }")


async def test_of_what_is_not_there_not_even_the_type_is_told(server: Server) -> None:
    text = '{ notification(notificationId: "x") { __typename } delivery(deliveryId: "x") { __typename } }'

    assert await _on_both(server, ALICE, text) == '{"data":{"notification":null,"delivery":null}}'


@on_sqlite
@pytest.mark.parametrize(
    "text",
    [
        "{ __typename of: __typename }",
        "query ($a: Boolean = true, $b: Boolean = false, $c: Boolean = true) "
        "{ viewer { userId @skip(if: $a) role @skip(if: $b) domainId @include(if: $c) } }",
    ],
)
async def test_it_is_planned_too(server: Server, text: str) -> None:
    await _on_both(server, ALICE, text)


@on_sqlite
async def test_an_operation_is_planned_where_no_values_are_given_for_its_variables(server: Server) -> None:
    text = "query Q($first: Int = 0) { notifications(first: $first) { totalCount } }"
    assert paths.keep(text)

    asked = Asked(text, None)
    document = paths.PLANNED.documents.of(asked)

    assert isinstance(document, Document)
    assert await document.planned(asked, _context(server, ALICE)) == b'{"data":{"notifications":{"totalCount":0}}}'


_LIST = "{ notifications(%s markRead: false) { nodes { topic } } }"
_OF_TOPICS = "query ($t: [String!])" + _LIST % "filter: {topics: $t},"
_IN_ORDER = "query ($o: [NotificationOrder!])" + _LIST % "orderBy: $o,"
_TOWARDS = "query ($d: OrderDirection)" + _LIST % "orderBy: [{field: TOPIC, direction: $d}],"
_SO_MANY = "query ($n: Int = 1)" + _LIST % "first: $n,"
_TWO_TOPICS = 'query ($t: String = "c")' + _LIST % 'filter: {topics: ["a", $t]},'
_FILTERED = "query ($f: NotificationFilter)" + _LIST % "filter: $f,"
_BY_ID = "query ($id: ID!) { notification(notificationId: $id) { topic } }"
_BY_KNOWN_ID = 'query ($id: ID = "x") { notification(notificationId: $id) { topic } }'

# What is said is of the topics a to d, the newest of d; c is an error. Of each: which are found, in their order.
TAKEN: list[tuple[str, dict[str, Any], str]] = [
    (_OF_TOPICS, {}, "dcba"),
    (_OF_TOPICS, {"t": None}, "dcba"),
    (_OF_TOPICS, {"t": []}, ""),
    (_OF_TOPICS, {"t": ["a", "b"]}, "ba"),
    (_OF_TOPICS, {"t": "a"}, "a"),
    (_IN_ORDER, {"o": [{"field": "TOPIC", "direction": "ASC"}]}, "abcd"),
    (_IN_ORDER, {"o": {"field": "TOPIC"}}, "dcba"),
    (_IN_ORDER, {"o": [{"field": "TYPE", "direction": "ASC"}, {"field": "TOPIC"}]}, "cdba"),
    (_TOWARDS, {}, "dcba"),
    (_TOWARDS, {"d": "ASC"}, "abcd"),
    (_SO_MANY, {}, "d"),
    (_SO_MANY, {"n": None}, "dcba"),
    (_SO_MANY, {"n": 2}, "dc"),
    (_SO_MANY, {"n": 2.0}, "dc"),
    (_TWO_TOPICS, {}, "ca"),
    (_TWO_TOPICS, {"t": "d"}, "da"),
    (_FILTERED, {"f": {"notificationTypes": "ERROR", "isRead": False}}, "c"),
    (_FILTERED, {"f": {"isRead": True}}, ""),
    (_FILTERED, {"f": {"topics": ["a", "b", "c"], "notificationTypes": ["INFO"], "userId": None}}, "ba"),
    ("query ($r: Boolean)" + _LIST % "filter: {isRead: $r},", {}, "dcba"),
    ("query ($r: Boolean)" + _LIST % "filter: {isRead: $r},", {"r": True}, ""),
    ('query ($f: NotificationFilter = {topics: ["a", "b"]})' + _LIST % "filter: $f,", {}, "ba"),
    (_LIST % 'filter: {topics: "a"},', {}, "a"),
    (_LIST % 'filter: {topics: ["a", "c"], notificationTypes: [ERROR]}, orderBy: null,', {}, "c"),
    (_LIST % "filter: {topics: null, notificationTypes: INFO},", {}, "dba"),
    (_LIST % "orderBy: {field: TOPIC, direction: ASC}, first: 2,", {}, "ab"),
    (_LIST % "filter: {userId: 12},", {}, ""),
]
NOT_TAKEN: list[tuple[str, dict[str, Any]]] = [
    (_OF_TOPICS, {"t": [5]}),
    (_OF_TOPICS, {"t": [None]}),
    (_OF_TOPICS, {"t": {}}),
    (_IN_ORDER, {"o": [{"direction": "ASC"}]}),
    (_IN_ORDER, {"o": [{"field": "TOPIC", "direction": None}]}),
    (_IN_ORDER, {"o": ["TOPIC"]}),
    (_TOWARDS, {"d": None}),
    (_TOWARDS, {"d": "UP"}),
    ("query ($n: Int!)" + _LIST % "first: $n,", {}),
    (_SO_MANY, {"n": "1"}),
    (_SO_MANY, {"n": 1.5}),
    (_SO_MANY, {"n": True}),
    (_TWO_TOPICS, {"t": None}),
    (_FILTERED, {"f": {"nothing": 1}}),
    (_FILTERED, {"f": []}),
    (_FILTERED, {"f": {"isRead": "yes"}}),
    (_FILTERED, {"f": {"createdAfter": "yesterday"}}),
    (_BY_ID, {}),
    (_BY_ID, {"id": None}),
    (_BY_ID, {"id": 1.5}),
    (_BY_KNOWN_ID, {"id": None}),
]


@pytest.fixture
async def four_topics(server: Server, clock: Clock) -> Server:
    for topic in "abcd":
        type_ = NotificationType.ERROR if topic == "c" else NotificationType.INFO
        await say(server, topic=topic, notification_type=type_)
        clock.advance(minutes=1)
    return server


@on_sqlite
async def test_values_and_literals_of_every_form_are_taken(four_topics: Server) -> None:
    for text, values, topics in TAKEN:
        answer = orjson.loads(await _on_both(four_topics, ALICE, text, values))
        assert "".join(node["topic"] for node in answer["data"]["notifications"]["nodes"]) == topics, (text, values)


@on_sqlite
async def test_values_that_are_not_right_are_left_to_the_ordinary_path(four_topics: Server) -> None:
    for text, values in NOT_TAKEN:
        assert paths.keep(text), text
        assert await paths.planned(_context(four_topics, ALICE), text, values) is None, (text, values)
        _, codes = await paths.ordinary(_context(four_topics, ALICE), text, values)
        assert codes == ["INVALID_ARGUMENT"], (text, values)


def test_a_mutation_that_is_planned_answers_with_something_or_with_an_error_of_the_whole() -> None:
    """An error that left only its own place null is more than a plan presents."""
    fields = ROOTS["mutation"].fields

    assert plans.MUTATIONS
    assert all(isinstance(fields[name].type, GraphQLNonNull) for name in plans.MUTATIONS)


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
@pytest.mark.parametrize(
    "given",
    [None, {}, {"topic": 5}, *({**CREATION, **wrong} for wrong in ({"topic": 5}, {"nothing": 1}, {"message": None}))],
)
async def test_nothing_is_created_of_values_that_are_not_right(server: Server, given: Any) -> None:
    assert paths.keep(CREATE)

    assert await paths.planned(_context(server, SERVICE), CREATE, {"input": given}) is None
    assert await _count(server) == 0
