"""First light: a notification goes from one call to inboxes, open sockets and channels, through a real server.

The two messages are the examples that the notification API and the plugin API are documented with.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from resolvers.access import Role
from tests.client import CREATE, FIELDS, Client, eventually
from tests.server import ServerProcess, run
from tests.sink import Sink

DOMAIN = "domain-123456789012"
PROJECT = "resource-123456789012"

CREATED: dict[str, Any] = {
    "resourceType": "identity.Project",
    "resourceId": PROJECT,
    "topic": "monitoring.Alert",
    "message": {
        "title": "[Alerting] Not Running Pods 0:OK alert",
        "description": "[spaceone-dev] Not Running Pods 0 is OK\n\nFailure level : WorkerNode\nPanel ... ",
        "tags": {
            "urgency": "LOW",
            "resource_id": "pod",
            "assignee": "user1@example.com",
            "created_at": "2022-01-01T17:12:45.990Z",
            "state": "ACKNOWLEDGED",
            "project_id": "project-123456789012",
        },
    },
    "notificationType": "INFO",
    "notificationLevel": "LV2",
    "domainId": DOMAIN,
}

PUSHED: dict[str, Any] = {
    "data": {"email": "user5@example.com"},
    "message": {
        "tags": [
            {"key": "Alert Number", "options": {"short": True}, "value": "#108664"},
            {"options": {"short": True}, "key": "State", "value": "TRIGGERED"},
            {"value": "LOW", "options": {"short": True}, "key": "Urgency"},
            {"value": "kubectl-webhook", "key": "Triggered by", "options": {"short": True}},
            {"value": "SpaceONE > Project1", "key": "Project"},
            {"value": "spaceone-api", "key": "Resource"},
        ],
        "occurred_at": "2022-06-27T09:22:57.967Z",
        "callbacks": [
            {
                "url": "https://monitoring.example.com/monitoring/v1/alert/alert-x1v2c3v456/ACKNOWLEDGED",
                "label": "Acknowledge Alerts",
            }
        ],
        "link": "https://console.example.com/alert-manager/alert/alert-x1v2c3v456",
        "title": "[Alerting] Notification of access to the SpaceONE",
        "description": "SSH Access to spaceone-api from admin",
    },
    "notificationType": "INFO",
}

LIVE = f"subscription ($after: Cursor) {{ notificationCreated(after: $after) {{ {FIELDS} }} }}"
INBOX = f"""
    {{
      inbox {{ unreadCount unseenCount totalCount }}
      notifications(markRead: false) {{ totalCount nodes {{ {FIELDS} }} }}
    }}
"""
USERS = ("user1@example.com", "user2@example.com")


def clients(server: ServerProcess) -> list[Client]:
    """The users, each with a token from the command line."""
    commands = [run(server.folder, "token", "--domain", DOMAIN, "--user", user, "--role", "USER") for user in USERS]
    return [Client(server.url, command.stdout.strip()) for command in commands]


async def test_one_call_reaches_two_open_screens_two_inboxes_and_a_webhook(
    serve: Callable[..., ServerProcess], database_url: str, sink: Sink
) -> None:
    server = serve(database_url=database_url)
    admin, service = server.client("admin", Role.DOMAIN_ADMIN, DOMAIN), server.client("alerts", Role.SERVICE, DOMAIN)
    people = clients(server)
    inside = await admin.channel(PROJECT, await admin.internal_protocol(), {"users": USERS}, level="LV2")
    outside = await admin.channel(PROJECT, await admin.protocol("webhook"), {"url": sink.url()}, level="LV2")

    async with AsyncExitStack() as screens:
        live = []
        for person in people:
            cursor = (await person.ask("{ inbox { cursor } }"))["inbox"]["cursor"]
            live.append(await screens.enter_async_context(person.subscription(LIVE, after=cursor)))
        created = (await service.ask(CREATE, input=CREATED))["createNotification"]
        events = [(await screen.event())["notificationCreated"] for screen in live]

    record = created["notification"]
    said = {name: value for name, value in CREATED.items() if name in record}
    sent = [{"channelId": channel, "decision": "SEND", "reason": None} for channel in (inside, outside)]
    assert (created["recipientCount"], created["deliveryCount"], created["replayed"]) == (2, 1, False)
    assert record == {**record, **said, "projectId": PROJECT, "userId": None, "cursor": None}
    assert sorted(record["decisions"], key=str) == sorted(sent, key=str)

    for user, person, event in zip(USERS, people, events, strict=True):
        assert event == {**event, **said}
        assert (event["userId"], event["projectId"], event["isRead"]) == (user, PROJECT, False)
        assert event["parentNotificationId"] == record["notificationId"]
        assert await person.ask(INBOX) == {
            "inbox": {"unreadCount": 1, "unseenCount": 1, "totalCount": 1},
            "notifications": {"totalCount": 1, "nodes": [event]},
        }

    [delivery] = created["deliveries"]
    delivered = await service.settled(delivery["deliveryId"])
    [request] = sink.received
    assert request.headers["webhook-id"] == delivery["deliveryId"]
    assert request.json == {
        **said,
        "deliveryId": delivery["deliveryId"],
        "notificationId": record["notificationId"],
        "createdAt": record["createdAt"],
    }
    [attempt] = delivered["attempts"]
    assert (delivered["state"], delivered["channelId"], delivered["attemptCount"]) == ("DELIVERED", outside, 1)
    assert (attempt["outcome"], attempt["statusCode"], attempt["error"]) == ("OK", 200, None)
    assert await admin.open_deliveries() == 0


async def test_a_message_is_pushed_straight_through_a_protocol(live: ServerProcess) -> None:
    """Through the plugin `log`: its line is in the server's log, and tells nothing of where the message went."""
    domain = "pushes"
    admin, service = live.client("admin", Role.DOMAIN_ADMIN, domain), live.client("alerts", Role.SERVICE, domain)

    pushed = await service.push(await admin.protocol("log"), **PUSHED)

    delivered = await service.settled(pushed["delivery"]["deliveryId"])
    assert pushed["notification"]["message"] == PUSHED["message"]
    assert (delivered["state"], delivered["attemptCount"]) == ("DELIVERED", 1)
    [line] = [line for line in live.logged("notification") if line["domain_id"] == domain]
    assert line["delivery_id"] == delivered["deliveryId"]
    assert line["title"] == PUSHED["message"]["title"]
    assert PUSHED["data"]["email"] not in live.log


async def test_a_crowd_is_promised_at_once_and_reached_in_moments(live: ServerProcess) -> None:
    domain, crowd = "crowds", sorted(f"user-{number}" for number in range(250))
    admin = live.client("admin", Role.DOMAIN_ADMIN, domain)
    await admin.channel(PROJECT, await admin.internal_protocol(), {"users": crowd})

    created = await admin.create("identity.Project", PROJECT)

    assert created["recipientCount"] == 250
    record_id = created["notification"]["notificationId"]
    reached = await eventually(lambda: admin.recipients(record_id), lambda users: len(users) >= 250)
    assert sorted(reached) == crowd
    people = [live.client(user, Role.USER, domain) for user in crowd]
    for person in people:
        assert await person.ask("{ inbox { unreadCount totalCount } }") == {
            "inbox": {"unreadCount": 1, "totalCount": 1}
        }
