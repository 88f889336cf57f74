"""Workers that are killed at any instant, and a far side that fails in every way: nothing is lost, nothing overlaps.

`CHAOS_DELIVERIES=5000` in the environment makes it as many; `-s` shows what happened.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime
from typing import Any

import pytest

from resolvers.access import Role
from tests.client import Client
from tests.conftest import new_postgres
from tests.server import ServerProcess
from tests.sink import Answer, Behaviour, Close, Hang, Sink

DELIVERIES = int(os.environ.get("CHAOS_DELIVERIES", "200"))
KILL_EVERY = 40  # creates
DEADLINE_S = 180 + DELIVERIES / 10  # a timeout, and a far side that is too busy, are waited out for a minute
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
    each: list[Behaviour] = [Hang(), Hang(), Answer(429, headers={"retry-after": "1"}), Answer(429)]
    rare = each * (DELIVERIES // 200)
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

    created = {}  # what was said, by the delivery's id
    for number in range(DELIVERIES):
        said = await admin.create("identity.Project", "p1", message={"title": f"Number {number}"})
        created[said["deliveries"][0]["deliveryId"]] = f"Number {number}"
        if number % KILL_EVERY == KILL_EVERY - 1:
            await asyncio.sleep(chance.uniform(0, 0.3))  # any instant
            server.kill()
            server.start()
    end = time.monotonic() + DEADLINE_S
    while await admin.open_deliveries():
        assert time.monotonic() < end, f"still open after {DEADLINE_S} s, seed {seed}"
        await asyncio.sleep(0.2)

    found = {node["deliveryId"]: node async for node in _deliveries(admin)}
    sent = Counter((request.headers["webhook-id"], request.json["message"]["title"]) for request in sink.received)
    assert found.keys() == created.keys(), f"seed {seed}"
    assert {node["state"] for node in found.values()} <= ENDS, f"seed {seed}"
    # A repeat carries the same id, and no other notification does.
    assert sent.keys() <= set(created.items()), f"seed {seed}"
    for delivery_id, node in found.items():
        intervals = [_interval(attempt) for attempt in node["attempts"]]
        overlaps = [(one, other) for one, other in itertools.pairwise(intervals) if other[0] < one[1]]
        assert overlaps == [], f"{delivery_id}, seed {seed}"
        if node["state"] == "DELIVERED":
            assert node["attempts"][-1]["outcome"] == "OK", f"{delivery_id}, seed {seed}"
            assert (delivery_id, created[delivery_id]) in sent, f"{delivery_id}, seed {seed}"
    _tell(found.values(), sent)


def _tell(found: Collection[Any], sent: Counter[tuple[str, str]]) -> None:
    states = Counter(node["state"] for node in found)
    attempts = Counter(attempt["outcome"] for node in found for attempt in node["attempts"])
    repeated = sum(1 for times in sent.values() if times > 1)
    print(f"{dict(states)}, attempts {dict(attempts)}, {sent.total()} requests, {repeated} deliveries sent repeatedly")  # noqa: T201
