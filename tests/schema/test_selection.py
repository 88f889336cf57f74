"""Only what an operation selects is read from the database, and it is what the whole would have had in its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, cast

import pytest
from graphql import GraphQLInterfaceType, GraphQLObjectType, get_named_type
from sqlalchemy import event
from strawberry.utils.str_converters import to_camel_case, to_snake_case

from dispatch.schedules import Schedule
from resolvers import protocols, quotas
from resolvers.access import Caller
from resolvers.context import Server
from schema import channel, notification, protocol, quota
from schema.context import Context
from schema.http import Via
from schema.selection import Fields
from storage.kept import Statements
from storage.models import DayOfWeek, DeliveryState
from storage.verdicts import Verdict
from tests.resolvers import working
from tests.resolvers.callers import ADMIN, ALICE
from tests.resolvers.courier import GOOD_TOKEN
from tests.resolvers.said import inside, log_protocol, of_user, outside, say, say_to_project
from tests.schema import paths
from tests.schema.asking import API, ask

QUERY = cast(GraphQLObjectType, API._schema.query_type)
NODE = cast(GraphQLInterfaceType, API._schema.type_map["Node"])


def _type(name: str) -> GraphQLObjectType:
    return cast(GraphQLObjectType, API._schema.type_map[name])


def _lists() -> dict[str, str]:
    """The lists of the API, and the type of what is in each."""
    connections = {name: get_named_type(field.type) for name, field in QUERY.fields.items()}
    return {
        name: get_named_type(each.fields["nodes"].type).name
        for name, each in connections.items()
        if isinstance(each, GraphQLObjectType) and "nodes" in each.fields
    }


def _singles() -> dict[str, str]:
    """What can be read by its id, and its type: by a field of its own, and as a node."""
    named = {get_named_type(field.type).name: name for name, field in QUERY.fields.items()}
    nodes = [each.name for each in API._schema.get_possible_types(NODE)]
    own = {f"{named[each]}({named[each]}Id: $id) {{ %s }}": each for each in nodes if each in named}
    return own | {f"node(id: $id) {{ ... on {each} {{ %s }} }}": each for each in nodes}


LISTS, SINGLES = _lists(), _singles()
FIELDS: Mapping[str, Fields] = {
    "Notification": notification.NOTIFICATION,
    "Delivery": notification.DELIVERY,
    "Protocol": protocol.PROTOCOL,
    "ProjectChannel": channel.PROJECT_CHANNEL,
    "UserChannel": channel.USER_CHANNEL,
    "Quota": quota.QUOTA,
    "NotificationUsage": quota.NOTIFICATION_USAGE,
}
WITHIN = {
    "decisions": "channelId protocolId decision reason detail deferUntil",
    "deliveries": "totalCount",
    "notification": "topic",
    "attempts": "outcome",
    "schedule": "dayOfWeek start end timeZone offHours",
}
# What a field is made of, where that is not the one column of its name.
MADE_OF: Mapping[str, Mapping[str, set[str]]] = {
    "Notification": {
        "id": {"notification_id"},
        "cursor": {"user_id", "inbox_id", "generation", "seq"},
        "deliveries": {"notification_id"},
    },
    "Delivery": {"id": {"delivery_id"}, "notification": {"notification_id"}, "attempts": {"delivery_id"}},
    "Protocol": {"id": {"protocol_id"}, "dataSchema": {"protocol_type", "plugin_id", "options"}},
    "ProjectChannel": {"id": {"channel_id"}, "projectChannelId": {"channel_id"}},
    "UserChannel": {"id": {"channel_id"}, "userChannelId": {"channel_id"}},
    "Quota": {"id": {"quota_id"}},
}
CURSOR_OF = {
    "Notification": {"created_at", "notification_id"},
    "Delivery": {"created_at", "delivery_id"},
    "Protocol": {"created_at", "protocol_id"},
    "ProjectChannel": {"created_at", "channel_id"},
    "UserChannel": {"created_at", "channel_id"},
    "Quota": {"created_at", "quota_id"},
    "NotificationUsage": {"date", "protocol_id"},
}
QUERIES = ("", '(query: {sort: {key: "domainId"}, filter: [{k: "domainId", v: "home", o: "eq"}]})')
MARKED_BY = ["notification.is_read", "notification.notification_id", "notification.user_id"]  # what becomes read by it


@pytest.fixture
async def filled(server: Server) -> Server:
    """Some of everything, with as much in it as there can be."""
    log = await log_protocol(server)
    await outside(server, log)
    await of_user(server, ALICE, log)
    await inside(server, "alice")
    await inside(
        server, "alice", project_id="p2", topics=["disk"], schedule=Schedule((DayOfWeek.MON,), "22:00", "06:30")
    )
    await protocols.create(server, ADMIN, name="Vans", plugin_id="courier", secret_data={"token": GOOD_TOKEN})
    await quotas.create(server, ADMIN, protocol_id=log.protocol_id, day=1_000)
    for topic in ("disk", "network", "power"):
        await say_to_project(server, topic=topic)
        await say(server, topic=topic)
    for claimed in (await working.claim(server.database))[:1]:
        await working.record(server.database, claimed.delivery, Verdict(DeliveryState.DELIVERED))
    return server


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, server: Server) -> Iterator[list[str]]:
    """The statements that read, kept ones and those of sessions, in their order."""
    texts: list[str] = []
    of = Statements.of

    def note(self: Statements, kind: Any, given: Any, fixed: Any) -> Any:
        found = of(self, kind, given, fixed)
        texts.append(found.statement.text)
        return found

    def note_of_session(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT") and "FROM" in statement:
            texts.append(statement)

    reader = server.database._reader.sync_engine
    monkeypatch.setattr(Statements, "of", note)
    event.listen(reader, "before_cursor_execute", note_of_session)
    yield texts
    event.remove(reader, "before_cursor_execute", note_of_session)


def _columns(text: str) -> list[str]:
    """What a statement selects, sorted."""
    selected = text.removeprefix("SELECT ").partition("\nFROM")[0]
    return sorted(part.partition(" AS ")[0] for part in selected.split(", "))


def _read(text: str) -> set[str]:
    """What the values are called that a statement brings."""
    selected = text.removeprefix("SELECT ").partition("\nFROM")[0].strip()
    columns = re.split(r", (?![^(]*\))", selected)  # but not within what a function is given
    return {re.split(r" AS |\.", column)[-1].strip('"') for column in columns} - {"row"}


def _selected(name: str) -> str:
    return f"{name} {{ {WITHIN[name]} }}" if name in WITHIN else name


def _needed(type_name: str, field: str) -> set[str]:
    return MADE_OF.get(type_name, {}).get(field, {to_snake_case(field)})


async def _ids(server: Server, type_name: str) -> tuple[str, str]:
    """The global id and the own one of something of this type."""
    own = next(each for each in _type(type_name).fields if each.lower() == f"{type_name}id".lower())
    [name] = (name for name, listed in LISTS.items() if listed == type_name)
    [node, *_] = await _nodes(server, ADMIN, name, f"id {own}")
    return node["id"], node[own]


def _tables(text: str) -> set[str]:
    return {name for name in ("notification", "content", "inbox", "delivery") if f"{name}." in text}


OF_NOTIFICATIONS: Mapping[str, tuple[list[str], set[str]]] = {
    "nodes { notificationId }": ([], {"notification"}),
    "nodes { id isRead }": ([], {"notification"}),
    "nodes { createdAt }": (["notification.created_at"], {"notification"}),
    "nodes { topic }": (["content.topic"], {"notification", "content"}),
    "edges { node { ... on Notification { message } } }": (["content.message"], {"notification", "content"}),
    "nodes { deliveries { totalCount } }": ([], {"notification"}),
    "nodes { cursor }": (
        ["inbox.generation", "notification.inbox_id", "notification.seq"],
        {"notification", "inbox"},
    ),
}

OF_THEIR_PLACES: Mapping[str, set[str]] = {  # none of them is shown, so none becomes read
    "edges { cursor }": CURSOR_OF["Notification"],
    "pageInfo { endCursor }": CURSOR_OF["Notification"],
    "pageInfo { hasNextPage }": set(),
    "totalCount": set(),
    "nodes @include(if: false) { topic }": set(),
    "... @skip(if: true) { nodes { topic } }": set(),
    "edges { node @skip(if: true) { topic } }": set(),
}

OF_DELIVERIES = {
    "nodes { state attemptCount }": ["delivery.attempt_count", "delivery.state"],
    "nodes { attempts { outcome } }": ["delivery.delivery_id"],
    "totalCount": ["1"],
}


async def test_a_list_reads_the_columns_that_are_selected(filled: Server, asked: list[str]) -> None:
    for selected, (columns, tables) in OF_NOTIFICATIONS.items():
        asked.clear()
        await ask(filled, ALICE, f"{{ notifications {{ {selected} }} }}")
        assert (_columns(asked[0]), _tables(asked[0])) == (sorted(MARKED_BY + columns), tables), selected


async def test_a_list_that_shows_no_notification_reads_nothing_of_what_would_be_marked(
    filled: Server, asked: list[str]
) -> None:
    asks = {f"{{ notifications {{ {selected} }} }}": each for selected, each in OF_THEIR_PLACES.items()}
    for (text, columns), answer in product(asks.items(), (paths.ordinary, paths.planned)):
        assert paths.keep(text)
        asked.clear()
        assert await answer(Context(filled, ALICE, Via.POST), text, {})
        assert _read(asked[0]) == columns, (text, answer)


async def test_a_list_of_deliveries_reads_the_columns_that_are_selected(filled: Server, asked: list[str]) -> None:
    for selected, columns in OF_DELIVERIES.items():
        asked.clear()
        await ask(filled, ADMIN, f"{{ deliveries {{ {selected} }} }}")
        assert _columns(asked[0]) == columns, selected


async def test_a_list_by_topic_reads_no_more_of_the_content(filled: Server, asked: list[str]) -> None:
    await ask(filled, ALICE, "{ notifications(orderBy: {field: TOPIC}) { nodes { isRead } pageInfo { endCursor } } }")

    assert _columns(asked[0]) == ["content.topic", *MARKED_BY]


async def test_a_single_read_reads_the_columns_that_are_selected(filled: Server, asked: list[str]) -> None:
    [node, *_] = (await ask(filled, ALICE, "{ notifications { nodes { notificationId } } }"))["notifications"]["nodes"]
    asked.clear()

    await ask(
        filled, ALICE, "query Q($id: ID!) { notification(notificationId: $id) { topic } }", id=node["notificationId"]
    )

    [text] = asked
    assert _columns(text) == ["content.topic", *MARKED_BY]


async def test_what_becomes_read_is_asked_only_where_something_does(filled: Server, asked: list[str]) -> None:
    [mine, *_] = await _nodes(filled, ALICE, "notifications(markRead: false)", "notificationId")
    asks = (
        "query Q($mark: Boolean) { notifications(markRead: $mark) { nodes { topic } } }",
        "query Q($mark: Boolean, $id: ID!) { notification(notificationId: $id, markRead: $mark) { topic } }",
    )
    cases: list[tuple[Caller, bool | None, list[str]]] = [
        (ALICE, None, MARKED_BY),
        (ALICE, True, MARKED_BY),
        (ALICE, False, []),
        (ADMIN, True, []),
    ]
    for text, (caller, mark, columns), answer in product(asks, cases, (paths.ordinary, paths.planned)):
        assert paths.keep(text)
        asked.clear()
        values = {"mark": mark, "id": mine["notificationId"]}
        assert await answer(Context(filled, caller, Via.POST), text, values)
        assert _columns(asked[0]) == ["content.topic", *columns], (text, caller, mark, answer)


async def test_what_lies_before_a_page_is_asked_only_where_it_is_selected(filled: Server, asked: list[str]) -> None:
    for name in LISTS:
        page = (await ask(filled, ADMIN, f"{{ {name}(first: 1) {{ pageInfo {{ endCursor }} }} }}"))[name]["pageInfo"]
        for selected, statements in (
            ("nodes { __typename }", 1),
            ("pageInfo { endCursor }", 1),
            ("pageInfo { hasPreviousPage }", 2),
        ):
            document = f"query Q($a: Cursor) {{ {name}(after: $a) {{ {selected} }} }}"
            assert paths.keep(document)
            for answer in (paths.ordinary, paths.planned):
                asked.clear()
                shown = await answer(Context(filled, ADMIN, Via.POST), document, {"a": page["endCursor"]})
                assert len(asked) == (statements if shown else 0), (name, selected)


@pytest.mark.parametrize("query", QUERIES)
async def test_every_list_reads_what_the_field_needs_that_is_selected(
    filled: Server, asked: list[str], query: str
) -> None:
    for name, type_name in LISTS.items():
        for field in _type(type_name).fields:
            asked.clear()
            assert await _nodes(filled, ADMIN, name + query, _selected(field))
            assert _read(asked[0]) == _needed(type_name, field), (name, field)


async def test_every_single_read_reads_what_the_field_needs_that_is_selected(filled: Server, asked: list[str]) -> None:
    for document, type_name in SINGLES.items():
        as_node, own = await _ids(filled, type_name)
        for field in _type(type_name).fields:
            asked.clear()
            one = f"query Q($id: ID!) {{ {document % _selected(field)} }}"
            [found] = (await ask(filled, ADMIN, one, id=as_node if document.startswith("node") else own)).values()
            assert found.keys() == {field}
            assert _read(asked[0]) == _needed(type_name, field), (document, field)


async def test_every_list_reads_what_its_cursors_are_made_of_where_they_are_selected(
    filled: Server, asked: list[str]
) -> None:
    for name, type_name in LISTS.items():
        for selected, columns in (
            ("edges { cursor }", CURSOR_OF[type_name]),
            ("pageInfo { endCursor }", CURSOR_OF[type_name]),
            ("pageInfo { hasNextPage }", set()),
            ("totalCount", set()),
        ):
            asked.clear()
            await ask(filled, ADMIN, f"{{ {name} {{ {selected} }} }}")
            assert _read(asked[0]) == columns, (name, selected)


async def test_a_list_in_the_order_of_a_document_reads_it_for_the_cursors(filled: Server, asked: list[str]) -> None:
    query = '(query: {sort: {keys: [{key: "tags.team"}, {key: "pluginId"}]}})'

    await ask(filled, ADMIN, f"{{ protocols{query} {{ nodes {{ name }} pageInfo {{ endCursor }} }} }}")

    assert _read(asked[0]) == {"name", "tags", "plugin_id", "protocol_id"}


async def test_of_a_node_only_what_its_own_type_is_asked_for_is_read(filled: Server, asked: list[str]) -> None:
    as_node, _ = await _ids(filled, "Protocol")
    asked.clear()

    document = """query Q($id: ID!) {
        node(id: $id) { ...Named ... on Node { ... on UserChannel { data } } ... on Quota { day } }
    }
    fragment Named on Protocol { name }"""
    assert (await ask(filled, ADMIN, document, id=as_node))["node"].keys() == {"name"}

    assert _read(asked[0]) == {"name"}


@pytest.mark.parametrize("query", QUERIES)
async def test_a_field_alone_is_what_it_is_among_all(filled: Server, query: str) -> None:
    for caller, name in ((ALICE, "notifications"), *((ADMIN, each) for each in LISTS)):
        fields = _type(LISTS[name]).fields
        whole = await _nodes(filled, caller, name + query, " ".join(map(_selected, fields)))
        assert whole
        for each in fields:
            alone = await _nodes(filled, caller, name + query, _selected(each))
            assert alone == [{each: node[each]} for node in whole], (name, each)


async def _nodes(server: Server, caller: Caller, field: str, selected: str) -> list[Mapping[str, Any]]:
    [answer] = (await ask(server, caller, f"{{ {field} {{ nodes {{ {selected} }} }} }}")).values()
    nodes: list[Mapping[str, Any]] = answer["nodes"]
    return nodes


PARTS = ("edges { cursor }", "pageInfo { startCursor }", "pageInfo { endCursor }", "edges { node { topic } }")


async def test_cursors_alone_are_those_among_all(filled: Server) -> None:
    whole = "nodes { topic } edges { cursor node { topic } } pageInfo { startCursor endCursor hasNextPage }"
    expected = (await ask(filled, ADMIN, f"{{ notifications(first: 2) {{ {whole} }} }}"))["notifications"]

    for part in PARTS:
        alone = (await ask(filled, ADMIN, f"{{ notifications(first: 2) {{ {part} }} }}"))["notifications"]
        [(name, value)] = alone.items()
        if isinstance(value, list):
            assert value == [{key: edge[key] for key in alone[name][0]} for edge in expected[name]]
        else:
            assert value == {key: expected[name][key] for key in value}


async def test_fragments_and_conditions_are_followed(filled: Server) -> None:
    document = """
        query Q($is: Boolean!) {
            notifications { ...Page nodes { topic @include(if: $is) } }
            again: notifications { nodes { isRead } nodes { ... @skip(if: $is) { createdAt } } }
        }
        fragment Page on NotificationConnection { nodes { ... on Node { id } ...Said } }
        fragment Said on Notification { message }
    """

    for decided in (True, False):
        answer = await ask(filled, ALICE, document, **{"is": decided})
        assert {frozenset(node) for node in answer["notifications"]["nodes"]} == {
            frozenset({"id", "message", "topic"} if decided else {"id", "message"})
        }
        assert {frozenset(node) for node in answer["again"]["nodes"]} == {
            frozenset({"isRead"} if decided else {"isRead", "createdAt"})
        }


def test_every_field_of_the_types_says_what_it_is_made_of() -> None:
    assert FIELDS.keys() == {*LISTS.values()}
    for name, fields in FIELDS.items():
        assert {to_camel_case(field) for field in fields.made} == _type(name).fields.keys()
