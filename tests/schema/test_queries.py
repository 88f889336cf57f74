"""Reading through the API: what was said comes back as the schema describes it, page by page, on either engine."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from graphql import GraphQLInputObjectType, GraphQLInterfaceType

from resolvers.access import Caller
from resolvers.context import Server
from schema.node import global_id
from storage import ids, queue
from storage.models import AttemptOutcome, DeliveryState, NotificationLevel, NotificationType
from storage.queue import Outcome, Room, Tried, Verdict
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, BOB, SERVICE, SYSTEM
from tests.resolvers.courier import GOOD_TOKEN
from tests.resolvers.said import MESSAGE, inside, log_protocol, of_user, outside, say, say_to_project
from tests.schema.asking import ask, refused
from tests.schema.operations import CALLS, OWN_INBOX, TYPES, filled, kind
from tests.schema.world import World

PAGE = """
query (
  $filter: NotificationFilter, $orderBy: [NotificationOrder!],
  $first: Int, $after: Cursor, $last: Int, $before: Cursor
) {
  notifications(filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before) {
    nodes { topic }
    edges { cursor node { topic } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    totalCount
    inbox { unreadCount totalCount }
  }
}
"""


async def page(server: Server, caller: Caller = ALICE, **variables: Any) -> Any:
    return (await ask(server, caller, PAGE, **variables))["notifications"]


def topics(shown: Any) -> list[str]:
    return [edge["node"]["topic"] for edge in shown["edges"]]


async def say_letters(server: Server, clock: Clock, letters: str) -> None:
    for letter in letters:
        await say(server, "alice", topic=letter)
        clock.advance(minutes=1)


# node

NODES = {
    "Notification": "@notification",
    "Delivery": "@delivery",
    "Protocol": "@protocol",
    "ProjectChannel": "@projectChannel",
    "UserChannel": "@userChannel",
    "Quota": "@quota",
}
NODE = "query ($id: ID!) { node(id: $id) { __typename id } }"


def test_every_kind_of_node_is_tried() -> None:
    node = TYPES.type_map["Node"]
    assert isinstance(node, GraphQLInterfaceType)
    assert {type_.name for type_ in TYPES.get_possible_types(node)} == set(NODES)


@pytest.mark.parametrize("type_name", NODES)
async def test_a_node_is_found_by_its_global_id(world: World, type_name: str) -> None:
    id = global_id(type_name, world.of["alice"][NODES[type_name]])

    for caller in (ADMIN, SYSTEM):
        answer = await world.post(caller, NODE, {"id": id})
        assert (answer.error, answer.data) == (None, {"node": {"__typename": type_name, "id": id}})


async def test_the_internal_protocol_is_a_node_before_it_is_stored(server: Server) -> None:
    id = global_id("Protocol", ids.internal_protocol("home"))

    assert (await ask(server, ADMIN, NODE, id=id))["node"]["id"] == id


@pytest.mark.parametrize("type_name", NODES)
async def test_a_node_that_the_caller_may_not_see_is_null(world: World, type_name: str) -> None:
    id = global_id(type_name, world.of["bob"][NODES[type_name]])

    for caller in (ALICE, SERVICE):
        answer = await world.post(caller, NODE, {"id": id})
        assert (answer.error, answer.data) == (None, {"node": None})


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "id",
    [
        "",
        "nonsense",
        "ü",
        "notification-000000000000",
        base64.b64encode(b"\xff:\xff").decode(),
        *map(_encoded, ["Notification", "Notification:", ":", "Viewer:alice", "notification:x", "Query:"]),
        *(_encoded(f"{type_name}:{raw_id}") for type_name in NODES for raw_id in ("x", "a\0b", "x" * 1_000)),
    ],
)
async def test_an_id_that_is_nobodys_is_null_without_an_error(server: Server, id: str) -> None:
    assert await ask(server, ADMIN, NODE, id=id) == {"node": None}


async def test_an_id_of_another_type_finds_nothing(world: World) -> None:
    things = world.of["alice"]
    wrong = [global_id(name, things[thing]) for name in NODES for other, thing in NODES.items() if other != name]

    for id in wrong:
        assert (await world.post(ADMIN, NODE, {"id": id})).data == {"node": None}


# viewer and inbox


@pytest.mark.parametrize("caller", [ALICE, SERVICE, ADMIN, SYSTEM])
async def test_the_viewer_is_who_the_token_says(server: Server, caller: Caller) -> None:
    data = await ask(server, caller, "{ viewer { userId domainId role expiresAt } }")

    assert data["viewer"] == {
        "userId": caller.user_id,
        "domainId": caller.domain_id,
        "role": caller.role.value,
        "expiresAt": "9999-01-01T00:00:00.000Z",
    }


async def test_an_inbox_that_nothing_was_put_into_is_empty(server: Server) -> None:
    query = "{ inbox { unreadCount unseenCount totalCount } }"

    assert await ask(server, BOB, query) == {"inbox": {"unreadCount": 0, "unseenCount": 0, "totalCount": 0}}
    assert await ask(server, SERVICE, query) == {"inbox": None}


async def test_a_list_shows_the_inbox_that_it_is_of(server: Server) -> None:
    await say(server, "alice")
    await say(server, "bob")
    one = {"unreadCount": 1, "totalCount": 1}

    assert (await page(server))["inbox"] == one
    assert (await page(server, filter={"userId": "alice"}))["inbox"] == one
    assert (await page(server, ADMIN, filter={"userId": "bob"}))["inbox"] == one
    assert (await page(server, SYSTEM, filter={"userId": "bob", "domainId": "home"}))["inbox"] == one
    assert (await page(server, SYSTEM, filter={"userId": "bob"}))["inbox"] == {"unreadCount": 0, "totalCount": 0}
    assert (await page(server, ADMIN))["inbox"] is None
    assert (await page(server, SERVICE))["inbox"] is None
    assert (await page(server, filter={"userId": "bob"}))["inbox"] is None


# pages


async def test_pages_are_walked_both_ways_by_the_cursors_of_edges(server: Server, clock: Clock) -> None:
    await say_letters(server, clock, "abcde")

    first = await page(server, first=2)
    second = await page(server, first=2, after=first["edges"][1]["cursor"])
    third = await page(server, first=2, after=second["edges"][1]["cursor"])
    assert [topics(first), topics(second), topics(third)] == [["e", "d"], ["c", "b"], ["a"]]
    assert [shown["pageInfo"]["hasNextPage"] for shown in (first, second, third)] == [True, True, False]
    assert [shown["pageInfo"]["hasPreviousPage"] for shown in (first, second, third)] == [False, True, True]

    last = await page(server, last=2)
    before = await page(server, last=2, before=last["edges"][0]["cursor"])
    assert [topics(last), topics(before)] == [["b", "a"], ["d", "c"]]
    assert [shown["pageInfo"]["hasPreviousPage"] for shown in (last, before)] == [True, True]
    assert [shown["pageInfo"]["hasNextPage"] for shown in (last, before)] == [False, True]

    between = await page(server, after=first["edges"][0]["cursor"], before=third["edges"][0]["cursor"])
    assert topics(between) == ["d", "c", "b"]


async def test_a_page_shows_its_rows_twice_and_where_it_begins_and_ends(server: Server, clock: Clock) -> None:
    await say_letters(server, clock, "abc")

    shown = await page(server)

    assert [node["topic"] for node in shown["nodes"]] == topics(shown) == ["c", "b", "a"]
    assert shown["pageInfo"]["startCursor"] == shown["edges"][0]["cursor"]
    assert shown["pageInfo"]["endCursor"] == shown["edges"][2]["cursor"]
    assert len({edge["cursor"] for edge in shown["edges"]}) == 3


async def test_an_empty_page_has_no_cursors_and_still_counts(server: Server, clock: Clock) -> None:
    await say_letters(server, clock, "ab")

    shown = await page(server, first=0)

    assert (shown["edges"], shown["totalCount"]) == ([], 2)
    assert shown["pageInfo"] == {
        "hasNextPage": True,
        "hasPreviousPage": False,
        "startCursor": None,
        "endCursor": None,
    }


async def test_the_total_counts_what_the_filter_takes_on_every_page(server: Server, clock: Clock) -> None:
    await say_letters(server, clock, "aabab")
    first = await page(server, filter={"topics": ["a"]}, first=1)
    rest = await page(server, filter={"topics": ["a"]}, after=first["edges"][0]["cursor"])

    assert (first["totalCount"], rest["totalCount"], topics(rest)) == (3, 3, ["a", "a"])


SAID = [  # topic, type, level: oldest first
    ("b", NotificationType.INFO, NotificationLevel.LV2),
    ("a", NotificationType.WARNING, NotificationLevel.LV1),
    ("c", NotificationType.INFO, NotificationLevel.ALL),
    ("a", NotificationType.ERROR, NotificationLevel.LV1),
]
ORDERS = {
    "CREATED_AT ASC": ["b", "a", "c", "a"],
    "CREATED_AT DESC": ["a", "c", "a", "b"],
    "TOPIC ASC, CREATED_AT ASC": ["a", "a", "b", "c"],
    "TOPIC DESC, CREATED_AT ASC": ["c", "b", "a", "a"],
    "TYPE ASC, CREATED_AT ASC": ["a", "b", "c", "a"],
    "LEVEL DESC, TYPE ASC": ["b", "a", "a", "c"],
}


@pytest.mark.parametrize("spelled", ORDERS)
async def test_an_order_holds_over_pages(server: Server, clock: Clock, spelled: str) -> None:
    for topic, type_, level in SAID:
        await say(server, "alice", topic=topic, notification_type=type_, notification_level=level)
        clock.advance(minutes=1)
    order = [dict(zip(("field", "direction"), part.split(), strict=True)) for part in spelled.split(", ")]

    walked: list[str] = []
    after = None
    for _ in SAID:
        shown = await page(server, orderBy=order, first=1, after=after)
        walked += topics(shown)
        after = shown["pageInfo"]["endCursor"]

    assert topics(await page(server, orderBy=order)) == walked == ORDERS[spelled]
    assert not shown["pageInfo"]["hasNextPage"]


async def test_a_direction_that_is_not_given_is_descending(server: Server, clock: Clock) -> None:
    await say_letters(server, clock, "acb")

    assert topics(await page(server, orderBy=[{"field": "TOPIC"}])) == ["c", "b", "a"]


async def test_a_cursor_is_of_one_order_only(server: Server, clock: Clock) -> None:
    await say_letters(server, clock, "ab")
    cursor = (await page(server))["pageInfo"]["startCursor"]

    wrong = {"orderBy": [{"field": "TOPIC"}], "after": cursor}
    assert await refused(server, ALICE, PAGE, **wrong) == ("INVALID_ARGUMENT", "after")
    streams = (await ask(server, ALICE, "{ inbox { cursor } }"))["inbox"]["cursor"]
    assert await refused(server, ALICE, PAGE, after=streams) == ("INVALID_ARGUMENT", "after")


# filters

FIRST, SECOND, PROJECTS = "first", "second", "of the project"  # topics of the notifications below
FILTERS: dict[str, list[tuple[Any, list[str]]]] = {
    "notificationIds": [(["@second"], [SECOND]), ([], []), (["notification-000000000000"], [])],
    "topics": [([FIRST, "nothing"], [FIRST]), ([], []), (["fir*"], [])],
    "notificationTypes": [(["ERROR"], [SECOND]), (["ERROR", "INFO"], [PROJECTS, SECOND, FIRST]), ([], [])],
    "notificationLevels": [(["LV2"], [SECOND]), (["LV1"], [])],
    "isRead": [(True, [FIRST]), (False, [PROJECTS, SECOND])],
    "parentNotificationId": [("@record", [PROJECTS]), ("notification-000000000000", [])],
    "projectId": [("p1", [PROJECTS]), ("p2", [])],
    "userId": [("alice", [PROJECTS, SECOND, FIRST]), ("bob", [])],
    "domainId": [("home", [PROJECTS, SECOND, FIRST])],
    "createdAfter": [("2026-01-31T17:12:40.990Z", [PROJECTS, SECOND])],
    "createdBefore": [("2026-01-31T17:12:40.990Z", []), ("2026-01-31T17:12:40.991Z", [FIRST])],
}


def _fields(input_type: str) -> set[str]:
    type_ = TYPES.type_map[input_type]
    assert isinstance(type_, GraphQLInputObjectType)
    return set(type_.fields)


def test_every_filter_of_notifications_is_tried() -> None:
    assert set(FILTERS) == _fields("NotificationFilter")


@pytest.mark.parametrize("name", FILTERS)
async def test_a_filter_narrows_the_list_and_its_count(server: Server, clock: Clock, name: str) -> None:
    things = await _said(server, clock)

    for value, expected in FILTERS[name]:
        shown = await page(server, filter={name: filled(value, things)})
        assert (topics(shown), shown["totalCount"]) == (expected, len(expected))


async def test_filters_narrow_together_and_null_does_not(server: Server, clock: Clock) -> None:
    await _said(server, clock)

    assert topics(await page(server, filter={"topics": [FIRST], "isRead": False})) == []
    assert topics(await page(server, filter={"topics": [FIRST], "isRead": True})) == [FIRST]
    assert len(topics(await page(server, filter=dict.fromkeys(FILTERS)))) == 3


async def _said(server: Server, clock: Clock) -> dict[str, str]:
    """Three notifications for Alice, the first of them read, and the ids that the filters name."""
    await inside(server, "alice")
    first = await say(server, "alice", topic=FIRST)
    read = "mutation ($ids: [ID!]!) { setNotificationsRead(notificationIds: $ids) { changedCount } }"
    await ask(server, ALICE, read, ids=[first.notification_id])
    clock.advance(minutes=1)
    error, level = NotificationType.ERROR, NotificationLevel.LV2
    second = await say(server, "alice", topic=SECOND, notification_type=error, notification_level=level)
    clock.advance(minutes=1)
    record = await say_to_project(server, "p1", topic=PROJECTS)
    return {"@second": second.notification_id, "@record": record.notification_id}


# notifications

NOTIFICATION = """
query ($id: ID!) {
  notification(notificationId: $id) {
    id notificationId parentNotificationId topic message notificationType notificationLevel isRead readAt
    userId projectId domainId createdAt cursor
    decisions { channelId protocolId decision reason detail deferUntil }
    deliveries { totalCount nodes { deliveryId } }
  }
}
"""


async def test_a_notification_is_shown_as_it_was_said(server: Server) -> None:
    said = await say(server, "alice", notification_type=NotificationType.ERROR)
    start = (await ask(server, ALICE, "{ inbox { cursor } }"))["inbox"]["cursor"]

    shown = (await ask(server, ALICE, NOTIFICATION, id=said.notification_id))["notification"]

    assert shown == {
        "id": global_id("Notification", said.notification_id),
        "notificationId": said.notification_id,
        "parentNotificationId": None,
        "topic": "monitoring.Alert",
        "message": MESSAGE,
        "notificationType": "ERROR",
        "notificationLevel": "ALL",
        "isRead": False,
        "readAt": None,
        "userId": "alice",
        "projectId": None,
        "domainId": "home",
        "createdAt": "2026-01-31T17:12:40.990Z",
        "cursor": start,
        "decisions": [],
        "deliveries": {"totalCount": 0, "nodes": []},
    }


async def test_a_record_is_the_parent_of_the_rows_that_it_led_to(server: Server) -> None:
    await inside(server, "alice")
    quiet = await outside(server, await log_protocol(server), level=NotificationLevel.LV5)
    record = await say_to_project(server, notification_level=NotificationLevel.LV1)

    shown = (await ask(server, ADMIN, NOTIFICATION, id=record.notification_id))["notification"]
    [row] = (await page(server, filter={"parentNotificationId": record.notification_id}))["nodes"]

    assert (shown["userId"], shown["projectId"], shown["isRead"], shown["cursor"]) == (None, "p1", False, None)
    assert row == {"topic": shown["topic"]}
    [skipped] = [decision for decision in shown["decisions"] if decision["decision"] == "SKIP"]
    assert (skipped["channelId"], skipped["protocolId"]) == (quiet.channel_id, quiet.protocol_id)
    assert (skipped["reason"], skipped["deferUntil"]) == ("LEVEL", None)


async def test_a_read_notification_says_when(server: Server, clock: Clock) -> None:
    said = await say(server, "alice")
    clock.advance(seconds=1.2344)
    read = "mutation ($ids: [ID!]!) { setNotificationsRead(notificationIds: $ids) { inbox { unreadCount } } }"

    assert await ask(server, ALICE, read, ids=[said.notification_id]) == {
        "setNotificationsRead": {"inbox": {"unreadCount": 0}}
    }
    shown = (await ask(server, ALICE, NOTIFICATION, id=said.notification_id))["notification"]
    assert (shown["isRead"], shown["readAt"]) == (True, "2026-01-31T17:12:42.224Z")


# what is created

CREATE = """
mutation ($inputs: [CreateNotificationInput!]!) {
  createNotifications(inputs: $inputs) {
    __typename
    ... on CreateNotificationPayload {
      replayed recipientCount deliveryCount
      notification { notificationId userId }
      notifications { userId parentNotificationId }
      deliveries { channelId state }
    }
    ... on CreateNotificationError { code field message }
  }
}
"""


def wish(resource_type: str, resource_id: str, **changes: Any) -> dict[str, Any]:
    return {"resourceType": resource_type, "resourceId": resource_id, "topic": "t", "message": MESSAGE, **changes}


async def test_several_creates_have_an_outcome_each(server: Server) -> None:
    await inside(server, "bob", "alice")
    channel = await outside(server, await log_protocol(server))
    keyed = wish("identity.User", "alice", idempotencyKey="once")
    inputs = [
        wish("identity.Project", "p1"),
        wish("identity.User", "alice", topic=" "),
        keyed,
        keyed,
        {**keyed, "topic": "other"},
        wish("identity.User", "x", domainId="away"),
    ]

    outcomes = (await ask(server, SERVICE, CREATE, inputs=inputs))["createNotifications"]

    project, topic, first, again, other, away = outcomes
    record = project["notification"]["notificationId"]
    assert (project["recipientCount"], project["deliveryCount"], project["replayed"]) == (2, 1, False)
    assert sorted(row["userId"] for row in project["notifications"]) == ["alice", "bob"]
    assert {row["parentNotificationId"] for row in project["notifications"]} == {record}
    assert project["deliveries"] == [{"channelId": channel.channel_id, "state": "PENDING"}]
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert first["notification"] == again["notification"] == first["notification"] | {"userId": "alice"}
    errors = [(each["__typename"], each["code"], each["field"]) for each in (topic, other, away)]
    assert errors == [
        ("CreateNotificationError", "INVALID_ARGUMENT", "topic"),
        ("CreateNotificationError", "ALREADY_EXISTS", "idempotencyKey"),
        ("CreateNotificationError", "PERMISSION_DENIED", "domainId"),
    ]
    assert all(each["message"] for each in (topic, other, away))
    assert (await page(server, ALICE))["totalCount"] == 2


async def test_no_creates_are_no_outcomes(server: Server) -> None:
    assert await ask(server, SERVICE, CREATE, inputs=[]) == {"createNotifications": []}


async def test_a_payload_shows_as_many_as_it_is_asked_for(server: Server) -> None:
    await inside(server, "alice", "bob", "carol")
    create = """
      mutation ($input: CreateNotificationInput!) {
        createNotification(input: $input) { recipientCount notifications(first: 2) { userId } deliveries { state } }
      }
    """

    made = (await ask(server, SERVICE, create, input=wish("identity.Project", "p1")))["createNotification"]

    assert (made["recipientCount"], len(made["notifications"]), made["deliveries"]) == (3, 2, [])


# deliveries

DELIVERY = """
query ($id: ID!) {
  delivery(deliveryId: $id) {
    id deliveryId notificationId channelId part protocolId pluginId state reason detail attemptCount
    nextAttemptAt createdAt finishedAt
    notification { notificationId }
    attempts { startedAt durationMs outcome statusCode error responseExcerpt }
  }
}
"""


async def test_a_delivery_shows_its_attempts_oldest_first(server: Server, clock: Clock) -> None:
    protocol = await log_protocol(server)
    channel = await of_user(server, ALICE, protocol)
    said = await say(server, "alice")
    failed = Verdict(DeliveryState.RETRYING, delay=0)
    await _attempt(server, clock, failed, outcome=AttemptOutcome.RETRY, status_code=503, error="busy", duration_ms=12)
    clock.advance(seconds=5)
    done = Verdict(DeliveryState.DELIVERED)
    id = await _attempt(server, clock, done, outcome=AttemptOutcome.OK, response_excerpt="ok", duration_ms=7)

    shown = (await ask(server, ALICE, DELIVERY, id=id))["delivery"]

    assert shown == {
        "id": global_id("Delivery", id),
        "deliveryId": id,
        "notificationId": said.notification_id,
        "channelId": channel.channel_id,
        "part": 0,
        "protocolId": protocol.protocol_id,
        "pluginId": "log",
        "state": "DELIVERED",
        "reason": None,
        "detail": None,
        "attemptCount": 2,
        "nextAttemptAt": None,
        "createdAt": "2026-01-31T17:12:40.990Z",
        "finishedAt": "2026-01-31T17:12:45.990Z",
        "notification": {"notificationId": said.notification_id},
        "attempts": [
            {
                "startedAt": "2026-01-31T17:12:40.990Z",
                "durationMs": 12,
                "outcome": "RETRY",
                "statusCode": 503,
                "error": "busy",
                "responseExcerpt": None,
            },
            {
                "startedAt": "2026-01-31T17:12:45.990Z",
                "durationMs": 7,
                "outcome": "OK",
                "statusCode": None,
                "error": None,
                "responseExcerpt": "ok",
            },
        ],
    }


async def _attempt(server: Server, clock: Clock, verdict: Verdict, **facts: Any) -> str:
    """Claim the one delivery that is due, and record an attempt of it. Returns its id."""
    claims = await server.database.write(lambda session: queue.claim(session, Room(1), lease=60, now=clock.now))
    delivery = claims.claimed[0].delivery
    attempt = Tried(clock.now, **facts)
    outcomes, patience = [Outcome(delivery, verdict, attempt)], timedelta(hours=120)
    await server.database.write(lambda session: queue.record(session, outcomes, now=clock.now, patience=patience))
    return delivery.delivery_id


DELIVERY_FILTERS: dict[str, list[tuple[Any, int]]] = {
    "deliveryIds": [(["@delivery"], 1), ([], 0), (["delivery-000000000000"], 0)],
    "notificationId": [("@notification", 1), ("notification-000000000000", 0)],
    "channelId": [("@userChannel", 2), ("user-ch-000000000000", 0)],
    "protocolId": [("@protocol", 6), ("@unusedProtocol", 0)],
    "states": [(["PENDING", "SKIPPED"], 6), (["SKIPPED"], 2), (["DEAD"], 0), ([], 0)],
    "domainId": [("home", 6)],
    "createdAfter": [("2026-01-31T17:12:40.989Z", 6), ("2026-01-31T17:12:40.990Z", 0)],
    "createdBefore": [("2026-01-31T17:12:40.991Z", 6), ("2026-01-31T17:12:40.990Z", 0)],
}


def test_every_filter_of_deliveries_is_tried() -> None:
    assert set(DELIVERY_FILTERS) == _fields("DeliveryFilter")


@pytest.mark.parametrize("name", DELIVERY_FILTERS)
async def test_a_filter_of_deliveries_narrows_the_list_and_its_count(world: World, name: str) -> None:
    listing = "query ($filter: DeliveryFilter) { deliveries(filter: $filter) { totalCount nodes { state } } }"

    for value, expected in DELIVERY_FILTERS[name]:
        answer = await world.post(ADMIN, listing, {"filter": {name: filled(value, world.of["alice"])}})
        shown = answer.data["deliveries"]
        assert (len(shown["nodes"]), shown["totalCount"]) == (expected, expected)


async def test_deliveries_are_paged_by_their_cursors(world: World) -> None:
    listing = """
      query ($after: Cursor) {
        deliveries(first: 4, after: $after) { nodes { deliveryId } pageInfo { endCursor hasNextPage } }
      }
    """
    first = (await world.post(ADMIN, listing)).data["deliveries"]
    rest = (await world.post(ADMIN, listing, {"after": first["pageInfo"]["endCursor"]})).data["deliveries"]

    seen = [node["deliveryId"] for node in first["nodes"] + rest["nodes"]]
    assert (len(seen), len(set(seen))) == (6, 6)
    assert (first["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasNextPage"]) == (True, False)


async def test_a_delivery_outlives_its_notification(world: World) -> None:
    things = world.of["alice"]
    delete = "mutation ($id: ID!) { deleteNotification(notificationId: $id) { changedCount inbox { totalCount } } }"
    deleted = (await world.post(ALICE, delete, {"id": things["@notification"]})).data["deleteNotification"]
    shown = (await world.post(ALICE, DELIVERY, {"id": things["@delivery"]})).data["delivery"]

    assert deleted == {"changedCount": 1, "inbox": {"totalCount": 1}}
    assert (shown["notification"], shown["notificationId"]) == (None, things["@notification"])


# secrets


@pytest.mark.parametrize("operation", [operation for operation in CALLS if kind(operation) != "subscription"])
async def test_no_answer_holds_a_secret(world: World, operation: str) -> None:
    """The protocol's token, and the channels' doors, which their plugin says are secret."""
    owner = "admin" if operation in OWN_INBOX else "alice"
    answer = await world.try_out(ADMIN, operation, filled(CALLS[operation], world.of[owner]), depth=4)

    assert answer.error is None
    for secret in (GOOD_TOKEN, '"front"', '"back"', '"1234"'):
        assert secret not in answer.text


async def test_a_secret_is_shown_as_a_mask(world: World) -> None:
    things = world.of["alice"]
    protocol = await world.try_out(ADMIN, "protocol", {"protocolId": things["@protocol"]})
    unused = await world.try_out(ADMIN, "protocol", {"protocolId": things["@unusedProtocol"]})
    channel = await world.try_out(ALICE, "userChannel", {"userChannelId": things["@userChannel"]})

    assert protocol.data["protocol"]["secretData"] == "********"
    assert unused.data["protocol"]["secretData"] is None
    assert channel.data["userChannel"]["data"] == "********"
