"""A socket on which nothing happens takes little of the server's memory, whatever was done to open it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from resolvers.access import Role
from tests.client import Client
from tests.server import ServerProcess

SOCKETS = 400
AT_ONCE = 20  # that are being opened
MOST_KB = 30  # of each; 17 to 20 were measured with 1,000
SUBSCRIPTIONS = {
    "an inbox of its own": "subscription { inboxChanged { __typename cursor unreadCount } }",
    "one feed for all": 'subscription { notificationFeed(projectId: "p") { cursor notification { topic message } } }',
}
PING, PONG = "ping", {"type": "pong"}


def _resident_kb(server: ServerProcess) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


async def _open(sockets: AsyncExitStack, client: Client, query: str) -> None:
    """A socket whose subscription has begun: what is asked after it is answered."""
    subscription = await sockets.enter_async_context(client.subscription(query))
    await subscription.send(type=PING)
    while await subscription.receive() != PONG:
        pass


async def _open_all(sockets: AsyncExitStack, clients: list[Client], query: str) -> None:
    for start in range(0, len(clients), AT_ONCE):
        await asyncio.gather(*(_open(sockets, client, query) for client in clients[start : start + AT_ONCE]))


@pytest.mark.parametrize("query", SUBSCRIPTIONS.values(), ids=SUBSCRIPTIONS)
async def test_an_idle_socket_takes_little_memory(query: str, serve: Callable[..., ServerProcess]) -> None:
    server = serve()
    role = Role.USER if "inboxChanged" in query else Role.DOMAIN_ADMIN
    clients = [server.client(f"user-{number}", role) for number in range(2 * AT_ONCE + SOCKETS)]
    async with AsyncExitStack() as sockets:
        await _open_all(sockets, clients[: 2 * AT_ONCE], query)  # what is made once is made by now
        before = _resident_kb(server)

        await _open_all(sockets, clients[2 * AT_ONCE :], query)

        assert (_resident_kb(server) - before) / SOCKETS <= MOST_KB
