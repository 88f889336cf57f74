"""Several creates in one call, and what each is told of what it led to."""

from __future__ import annotations

from typing import Any

from resolvers.context import Server
from tests.resolvers.callers import ALICE, SERVICE
from tests.resolvers.said import MESSAGE, inside, log_protocol, outside
from tests.schema.asking import ask
from tests.schema.listed import page

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
