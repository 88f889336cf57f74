"""A server that is killed after it has disabled a channel, and before it has told anybody."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from resolvers import alerts
from resolvers.access import Role
from storage import channels
from storage.engine import Database
from tests.client import Client, eventually
from tests.server import ServerProcess

USER_CHANNEL = """
    mutation ($input: CreateUserChannelInput!) { createUserChannel(input: $input) { userChannel { userChannelId } } }
"""
TOLD = "query ($topics: [String!]) { notifications(filter: {topics: $topics}, markRead: false) { nodes { message } } }"


async def _commit_of_a_worker(database_url: str, channel_id: str) -> None:
    """What a worker commits when the channel has only failed for too long."""
    database, now = Database(database_url), datetime.now(UTC).replace(microsecond=0)
    await database.open()
    for moment in (now - timedelta(days=5), now):
        judge = partial(channels.judge, worked=[], failed=[channel_id], now=moment, patience=timedelta(days=5))
        disabled = await database.write(judge)
    await database.close()
    assert [channel.channel_id for channel in disabled] == [channel_id]


async def _told(user: Client) -> list[Any]:
    listed = (await user.ask(TOLD, topics=[alerts.CHANNEL_DISABLED]))["notifications"]["nodes"]
    return [row["message"]["channelId"] for row in listed]


async def test_the_owner_is_told_after_the_restart_and_once(
    serve: Callable[..., ServerProcess], database_url: str
) -> None:
    server = serve(database_url=database_url)
    admin, user = server.client("admin", Role.DOMAIN_ADMIN), server.client("user", Role.USER)
    asked = {"protocolId": await admin.protocol("log"), "name": "mine", "data": {}}
    channel_id = (await user.ask(USER_CHANNEL, input=asked))["createUserChannel"]["userChannel"]["userChannelId"]
    server.kill()
    await _commit_of_a_worker(database_url, channel_id)

    for _ in range(2):
        server.start()
        assert await eventually(partial(_told, user), bool) == [channel_id]
        server.kill()
