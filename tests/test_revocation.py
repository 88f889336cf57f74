"""Revoked tokens end what they opened, on every process, and open nothing any more."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import httpx
import pytest
from websockets.asyncio.client import connect

import main
from dispatch.hub import Hub
from resolvers.access import Role
from storage import revocations
from storage.engine import Database
from storage.keys import load_key
from storage.models import Revocation
from tests.client import GRAPHQL_TRANSPORT_WS, Client, Subscription
from tests.conftest import assert_ends_well
from tests.server import ServerProcess
from tests.valkey import Valkey

REVOKE = "mutation ($user: ID!) { revokeTokens(userId: $user) { revokedAt } }"
STREAM = "subscription { inboxChanged { __typename } }"
VIEWER = "{ viewer { userId } }"
REVOKED = (4403, "UNAUTHENTICATED: the token was revoked")
AT_ONCE_S = 3.0  # less than the check of the rows takes at worst


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, valkey: Valkey) -> Iterator[ServerProcess]:
    """Shared: a test takes a domain of its own."""
    server = ServerProcess(tmp_path_factory.mktemp("revoking") / "data", broadcast_url=valkey.url)
    server.start()
    yield server
    assert_ends_well(server)


@pytest.fixture
def domain() -> str:
    return uuid.uuid4().hex


@pytest.fixture
async def sockets() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as sockets:
        yield sockets


async def _opened(sockets: AsyncExitStack, client: Client) -> Subscription:
    subscription = await sockets.enter_async_context(client.subscription(STREAM))
    assert (await subscription.event())["inboxChanged"]["__typename"] == "InboxSynced"
    return subscription


async def _refusal(client: Client) -> str:
    """The code that a query is refused with."""
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        answer = await http.post(f"{client.url}/graphql", json={"query": VIEWER}, headers=client.headers)
    [error] = answer.json()["errors"]
    return str(error["extensions"]["code"])


async def _refused_socket(client: Client) -> int:
    """The code that a new socket is closed with."""
    address = f"{client.url.replace('http', 'ws', 1)}/graphql"
    async with connect(address, subprotocols=[GRAPHQL_TRANSPORT_WS], proxy=None) as socket:
        subscription = Subscription(socket)
        await subscription.send(type="connection_init", payload=client.headers)
        return (await subscription.closed())[0]


@asynccontextmanager
async def _another_process(server: ServerProcess, broadcast_url: str) -> AsyncIterator[tuple[Database, Hub]]:
    """What a process beside the server would write to, and speak through."""
    database = Database(f"sqlite:///{server.folder / 'tocsin.db'}")
    hub = Hub(broadcast_url, channel=main._channel(load_key(server.folder / "signing.key")))
    await database.open()
    await hub.open()
    yield database, hub
    await hub.close()
    await database.close()


async def test_a_revoked_users_sockets_end_and_others_stay(
    server: ServerProcess, domain: str, sockets: AsyncExitStack
) -> None:
    admin, alice = server.client("admin", Role.DOMAIN_ADMIN, domain), server.client("alice", Role.USER, domain)
    bob, namesake = server.client("bob", Role.USER, domain), server.client("alice", Role.USER, f"not {domain}")
    hers = [await _opened(sockets, alice) for _ in range(3)]
    others = [await _opened(sockets, client) for client in (bob, namesake)]

    await admin.ask(REVOKE, user="alice")

    assert [await socket.closed() for socket in hers] == [REVOKED] * 3
    for socket in others:
        await socket.send(type="ping")
        assert await socket.receive() == {"type": "pong"}


async def test_a_revoked_token_opens_nothing_and_a_new_one_does_also_after_a_restart(
    server: ServerProcess, domain: str, sockets: AsyncExitStack
) -> None:
    admin, alice = server.client("admin", Role.DOMAIN_ADMIN, domain), server.client("alice", Role.USER, domain)
    await admin.ask(REVOKE, user="alice")
    again = server.client("alice", Role.USER, domain)

    for restart in (False, True):
        if restart:
            server.terminate()
            server.start()
        assert await _refusal(alice) == "UNAUTHENTICATED"
        assert await _refused_socket(alice) == 4403
        assert await again.ask(VIEWER) == {"viewer": {"userId": "alice"}}
        await (await _opened(sockets, again)).socket.close()


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "not told"])
async def test_what_another_process_revokes_ends_here_at_once_or_when_the_rows_are_looked_at(
    server: ServerProcess, domain: str, sockets: AsyncExitStack, valkey: Valkey, is_told: bool
) -> None:
    alice = server.client("alice", Role.USER, domain)
    hers = await _opened(sockets, alice)
    revocation = Revocation(domain_id=domain, user_id="alice", revoked_at=datetime.now(UTC))

    async with _another_process(server, valkey.url) as (database, hub):
        await database.write(lambda session: revocations.put(session, revocation))
        if is_told:
            await hub.publish_revocation()
        async with asyncio.timeout(AT_ONCE_S if is_told else None):
            assert await hers.closed() == REVOKED
    assert await _refusal(alice) == "UNAUTHENTICATED"
