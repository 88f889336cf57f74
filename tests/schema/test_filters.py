"""Every filter of notifications narrows their list, and its count, as its name says."""

from __future__ import annotations

from typing import Any

import pytest

from resolvers.context import Server
from storage.models import NotificationLevel, NotificationType
from tests.conftest import Clock
from tests.resolvers.callers import ALICE
from tests.resolvers.said import inside, say, say_to_project
from tests.schema.asking import ask
from tests.schema.listed import fields_of, page, topics
from tests.schema.operations import filled

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


def test_every_filter_of_notifications_is_tried() -> None:
    assert set(FILTERS) == fields_of("NotificationFilter")


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
