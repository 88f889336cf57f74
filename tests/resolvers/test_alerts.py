"""Whoever owns a channel that only failed is told when it is disabled."""

from __future__ import annotations

import pytest

from resolvers import alerts, notifications
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import InvalidArgument
from resolvers.paging import Window
from storage.models import Notification, NotificationType
from storage.notifications import Filter
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE
from tests.resolvers.said import log_protocol, of_user, outside


async def _told(server: Server, caller: Caller) -> list[Notification]:
    wanted = Filter(topics=[alerts.CHANNEL_DISABLED])
    return (await notifications.page(server, caller, wanted, domain_id=None, order_by=[], window=Window())).page.rows


async def test_a_user_is_told_of_an_own_channel(server: Server, clock: Clock) -> None:
    channel = await of_user(server, ALICE, await log_protocol(server))
    channel.failing_since = clock.now

    await alerts.channel_disabled(server, channel, operators=None)

    [row] = await _told(server, ALICE)
    assert row.content.notification_type is NotificationType.ERROR
    assert row.content.message["channelId"] == channel.channel_id
    assert "since 2026-01-31 17:12 UTC" in row.content.message["description"]


async def test_operators_are_told_of_a_projects_channel(server: Server) -> None:
    channel = await outside(server, await log_protocol(server))

    await alerts.channel_disabled(server, channel, operators=None)
    assert await _told(server, ADMIN) == []
    await alerts.channel_disabled(server, channel, operators="identity.Project:ops")

    [record] = await _told(server, ADMIN)
    assert record.project_id == "ops"


async def test_an_alert_that_cannot_be_created_is_only_logged(server: Server) -> None:
    channel = await outside(server, await log_protocol(server))
    channel.name = "\0"  # no message can hold it

    await alerts.channel_disabled(server, channel, operators="identity.User:ops")

    assert await _told(server, ADMIN) == []


@pytest.mark.parametrize("text", ["", "ops", "identity.Project", "identity.Project:", "identity.Domain:d"])
def test_whom_to_tell_is_a_project_or_a_user(text: str) -> None:
    with pytest.raises(InvalidArgument):
        alerts.resource(text)
