"""Whoever owns a channel that only failed is told when it is disabled: once, whoever is killed on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

import pytest

from resolvers import alerts, channels, notifications
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import InvalidArgument
from resolvers.paging import Window
from storage import channels as channel_rows
from storage.channels import Kind
from storage.engine import Database, Work
from storage.errors import DatabaseUnavailable
from storage.models import Channel, NotificationType, ResourceState
from storage.notification_filters import Filter
from storage.notifications import NotificationRow
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE
from tests.resolvers.said import log_protocol, of_user, outside

T = TypeVar("T")

FAILED_FOR = timedelta(days=5)


async def _told(server: Server, caller: Caller) -> list[NotificationRow]:
    wanted = Filter(topics=[alerts.CHANNEL_DISABLED])
    return (await notifications.page(server, caller, wanted, domain_id=None, order_by=[], window=Window())).page.rows


async def _disable(server: Server, clock: Clock, *failed: Channel) -> None:
    """Commit what a worker commits when these have only failed for too long, and tell nobody."""
    judge = partial(channel_rows.judge, worked=[], failed=[channel.channel_id for channel in failed])
    for _ in range(2):
        await server.database.write(partial(judge, now=clock.now, patience=FAILED_FOR))
        clock.advance(days=5)


async def test_a_user_is_told_of_an_own_channel(server: Server, clock: Clock) -> None:
    channel = await of_user(server, ALICE, await log_protocol(server))
    await _disable(server, clock, channel)

    await alerts.tell(server, operators=None)

    [row] = await _told(server, ALICE)
    assert row.content.notification_type is NotificationType.ERROR
    assert row.content.message["channelId"] == channel.channel_id
    assert "since 2026-01-31 17:12 UTC" in row.content.message["description"]


async def test_operators_are_told_of_a_projects_channel(server: Server, clock: Clock) -> None:
    await _disable(server, clock, await outside(server, await log_protocol(server)))

    await alerts.tell(server, operators="identity.Project:ops")

    [record] = await _told(server, ADMIN)
    assert record.project_id == "ops"


async def test_nobody_is_told_of_a_projects_channel_where_there_are_no_operators(server: Server, clock: Clock) -> None:
    await _disable(server, clock, await outside(server, await log_protocol(server)))

    await alerts.tell(server, operators=None)
    await alerts.tell(server, operators="identity.Project:ops")

    assert await _told(server, ADMIN) == []


async def test_one_disabling_is_told_once_and_another_again(server: Server, clock: Clock) -> None:
    channel = await of_user(server, ALICE, await log_protocol(server))
    for times in (1, 2):
        await _disable(server, clock, channel)
        for _ in range(2):
            await alerts.tell(server, operators=None)
        assert len(await _told(server, ALICE)) == times
        enabled = ResourceState.ENABLED
        await channels.set_state(server, ALICE, Kind.USER, channel_id=channel.channel_id, state=enabled)


class Dying(Database):
    """Dies right before its n-th commit from now, or right after it."""

    def __init__(self, alive: Database, *, commits: int, after: bool) -> None:
        self.__dict__.update(vars(alive))
        self._commits = commits
        self._after = after

    async def write(self, work: Work[T]) -> T:
        self._commits -= 1
        if self._commits < 0 or (self._commits == 0 and not self._after):
            raise DatabaseUnavailable("It was killed.")
        result = await super().write(work)
        if self._commits == 0:
            raise DatabaseUnavailable("It was killed.")
        return result


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("commits", [1, 2])
async def test_whoever_dies_on_the_way_has_told_once_in_the_end(
    server: Server, clock: Clock, commits: int, after: bool
) -> None:
    await _disable(server, clock, await of_user(server, ALICE, await log_protocol(server)))
    dying = replace(server, database=Dying(server.database, commits=commits, after=after))

    with pytest.raises(DatabaseUnavailable):
        await alerts.tell(dying, operators=None)
    await alerts.tell(server, operators=None)

    assert len(await _told(server, ALICE)) == 1


async def test_an_alert_that_cannot_be_created_keeps_no_other_from_its_owner(server: Server, clock: Clock) -> None:
    protocol = await log_protocol(server)
    await _disable(server, clock, await outside(server, protocol))
    await _disable(server, clock, await of_user(server, ALICE, protocol))

    await alerts.tell(server, operators="identity.Planet:ops")

    assert len(await _told(server, ALICE)) == 1
    async with server.database.read() as session:
        assert await channel_rows.to_alert(session, limit=9) == []


@pytest.mark.parametrize("text", ["", "ops", "identity.Project", "identity.Project:", "identity.Domain:d"])
def test_whom_to_tell_is_a_project_or_a_user(text: str) -> None:
    with pytest.raises(InvalidArgument):
        alerts.resource(text)
