"""Workers that are killed at any instant, and a far side that fails in every way: nothing is lost, nothing overlaps."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import pytest

from resolvers.access import Role
from tests.client import Client
from tests.conftest import new_postgres
from tests.server import ServerProcess
from tests.sink import Answer, Behaviour, Close, Hang, Sink

DELIVERIES = 200
KILLS = 5
DEADLINE_S = 180  # a timeout, and a far side that is too busy, are waited out for a minute
ENDS = {"DELIVERED", "DEAD"}

PAGE = """
    query ($after: Cursor) {
      deliveries(first: 100, after: $after) {
        nodes { deliveryId state reason attempts { startedAt durationMs outcome } }
        pageInfo { hasNextPage endCursor }
      }
    }
"""


def _behaviours(chance: random.Random) -> list[Behaviour]:
    """For the first requests; all later ones are answered well."""
    rare: list[Behaviour] = [Hang(), Hang(), Answer(429, headers={"retry-after": "1"}), Answer(429)]
    common: list[Behaviour] = [Answer(), Answer(500), Answer(503), Close(), Close(b"HTTP/1.1 200 O")]
    return chance.sample(rare + chance.choices(common, k=DELIVERIES), DELIVERIES + len(rare))


async def _deliveries(client: Client) -> AsyncIterator[Any]:
    after, more = None, True
    while more:
        page = (await client.ask(PAGE, after=after))["deliveries"]
        for node in page["nodes"]:
            yield node
        more, after = page["pageInfo"]["hasNextPage"], page["pageInfo"]["endCursor"]


def _interval(attempt: Any) -> tuple[float, float]:
    started = datetime.fromisoformat(attempt["startedAt"]).timestamp()
    return started, started + attempt["durationMs"] / 1000


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_every_delivery_ends_whatever_happens_to_its_worker(
    engine: str, sink: Sink, serve: Callable[..., ServerProcess], request: pytest.FixtureRequest
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    sink.script.extend(_behaviours(chance))
    settings = {"dispatch_timeout": "1", "dispatch_retry_schedule": ",".join(["0.2", "0.5"] + ["1"] * 8)}
    if engine == "postgres":
        settings["database_url"] = await new_postgres(request.getfixturevalue("postgres"))
    server = serve(**settings)
    admin = server.client("admin", Role.DOMAIN_ADMIN)
    await admin.channel("p1", await admin.protocol("webhook"), {"url": sink.url()})

    created = []
    for number in range(DELIVERIES):
        created.append((await admin.create("identity.Project", "p1"))["deliveries"][0]["deliveryId"])
        if number % (DELIVERIES // KILLS) == DELIVERIES // KILLS - 1:
            await asyncio.sleep(chance.uniform(0, 0.3))  # any instant
            server.kill()
            server.start()
    end = time.monotonic() + DEADLINE_S
    while await admin.open_deliveries():
        assert time.monotonic() < end, f"still open after {DEADLINE_S} s, seed {seed}"
        await asyncio.sleep(0.2)

    found = {node["deliveryId"]: node async for node in _deliveries(admin)}
    sent = [request.headers["webhook-id"] for request in sink.received]
    assert found.keys() == set(created), f"seed {seed}"
    assert {node["state"] for node in found.values()} <= ENDS, f"seed {seed}"
    assert set(sent) <= set(created), f"seed {seed}"
    for delivery_id, node in found.items():
        intervals = [_interval(attempt) for attempt in node["attempts"]]
        overlaps = [(one, other) for one, other in itertools.pairwise(intervals) if other[0] < one[1]]
        assert overlaps == [], f"{delivery_id}, seed {seed}"
        if node["state"] == "DELIVERED":
            assert node["attempts"][-1]["outcome"] == "OK", f"{delivery_id}, seed {seed}"
            assert delivery_id in sent, f"{delivery_id}, seed {seed}"
