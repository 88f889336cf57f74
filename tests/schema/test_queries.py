"""Reading through the API: who asks, an inbox, and a notification as it was said."""

from __future__ import annotations

import pytest

from resolvers.access import Caller
from resolvers.context import Server
from schema.node import global_id
from storage.models import NotificationLevel, NotificationType
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, BOB, SERVICE, SYSTEM
from tests.resolvers.said import MESSAGE, inside, log_protocol, outside, say, say_to_project
from tests.schema.asking import ask
from tests.schema.listed import page

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
