"""What one tab does, the user's other tab sees, and a tab that was away catches up: over real sockets."""

from __future__ import annotations

import uuid
from typing import Any

from resolvers.access import Role
from tests.client import Client, Subscription
from tests.server import ServerProcess

CHANGED = """
    subscription ($after: Cursor) {
      inboxChanged(after: $after) {
        __typename cursor unreadCount unseenCount originId
        ... on NotificationAdded { notification { notificationId topic } }
        ... on NotificationsRead { notificationIds isRead }
        ... on NotificationsRemoved { notificationIds }
        ... on AllRead { upTo }
        ... on InboxSeen { upTo }
      }
    }
"""
CHANGES = "query ($after: Cursor!) { inboxChanges(after: $after) { events { __typename } cursor hasMore } }"
READ = 'mutation ($ids: [ID!]!) { setNotificationsRead(notificationIds: $ids, originId: "tab-1") { changedCount } }'
SEEN = "mutation ($upTo: Cursor!) { markInboxSeen(upTo: $upTo) { inbox { unseenCount unreadCount } } }"
ALL_READ = "mutation ($upTo: Cursor!) { markAllRead(upTo: $upTo) { inbox { unreadCount } } }"
DELETE = "mutation ($id: ID!) { deleteNotification(notificationId: $id) { inbox { totalCount } } }"


async def _event(tab: Subscription) -> Any:
    return (await tab.event())["inboxChanged"]


def _people(server: ServerProcess) -> tuple[Client, Client]:
    domain = uuid.uuid4().hex
    return server.client("admin", Role.DOMAIN_ADMIN, domain), server.client("user", Role.USER, domain)


async def test_reading_in_one_tab_shows_in_the_other(live: ServerProcess) -> None:
    admin, user = _people(live)
    async with user.subscription(CHANGED) as one, user.subscription(CHANGED) as other:
        tabs = (one, other)
        assert [(await _event(tab))["__typename"] for tab in tabs] == ["InboxSynced"] * 2
        created = await admin.create("identity.User", "user")
        notification_id = created["notification"]["notificationId"]
        for tab in tabs:
            added = await _event(tab)
            assert (added["__typename"], added["unreadCount"], added["unseenCount"]) == ("NotificationAdded", 1, 1)
            assert added["notification"]["notificationId"] == notification_id

        await user.ask(SEEN, upTo=added["cursor"])
        await user.ask(READ, ids=[notification_id])

        for tab in tabs:
            seen, read = await _event(tab), await _event(tab)
            assert (seen["__typename"], seen["unseenCount"], seen["unreadCount"]) == ("InboxSeen", 0, 1)
            assert (read["__typename"], read["unreadCount"], read["originId"]) == ("NotificationsRead", 0, "tab-1")
            assert (read["notificationIds"], read["isRead"]) == ([notification_id], True)


async def test_a_tab_that_was_away_catches_up_and_who_asks_repeatedly_sees_the_same(live: ServerProcess) -> None:
    admin, user = _people(live)
    async with user.subscription(CHANGED) as tab:
        left_at = (await _event(tab))["cursor"]
    gone, kept = [(await admin.create("identity.User", "user"))["notification"]["notificationId"] for _ in range(2)]
    await user.ask(DELETE, id=gone)
    await user.ask(ALL_READ, upTo=(await user.ask("{ inbox { cursor } }"))["inbox"]["cursor"])

    async with user.subscription(CHANGED, after=left_at) as tab:
        events = [await _event(tab) for _ in range(4)]
    polled = (await user.ask(CHANGES, after=left_at))["inboxChanges"]

    assert [event["__typename"] for event in events] == [
        "NotificationAdded",
        "NotificationsRemoved",
        "AllRead",
        "InboxSynced",
    ]
    assert events[0]["notification"]["notificationId"] == kept
    assert events[1]["notificationIds"] == [gone]
    assert [event["__typename"] for event in polled["events"]] == [event["__typename"] for event in events[:3]]
    assert (polled["cursor"], polled["hasMore"]) == (events[-1]["cursor"], False)
