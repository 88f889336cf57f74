"""Random operations, planned and not: the same bytes, the same errors, the same rows to be marked as read.

`PLAN_SEED=...` in the environment chooses the seed.
"""

from __future__ import annotations

import gc
import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from resolvers import notifications
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import Refused, Unauthenticated
from resolvers.paging import Window
from schema.context import Context
from schema.http import Via
from storage.notification_filters import Filter
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, BOB, SERVICE, SYSTEM
from tests.resolvers.said import say
from tests.schema import paths
from tests.schema import world as worlds
from tests.schema.random_operations import Author, Operation

DOCUMENTS = 200  # on each engine
RUNS = 5  # of each
PLANNED_AT_LEAST = 0.7  # of those that go well

CALLERS: Sequence[Caller | Refused] = (
    ALICE,
    ALICE,
    ALICE,
    ALICE,
    BOB,
    ADMIN,
    ADMIN,
    ADMIN,
    SERVICE,
    SYSTEM,
    Unauthenticated("Who?"),
)


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("PLAN_SEED", random.randrange(2**32)))
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    return seed


@pytest.fixture
async def known(server: Server, clock: Clock) -> dict[str, list[Any]]:
    """What is worth asking for, after all kinds of things were said."""
    of = await worlds.populate(server)
    for message in MESSAGES:
        clock.advance(minutes=1)
        await say(server, "alice", topic="ünïcode.🔔", message=message)
    listing = await notifications.page(server, ALICE, Filter(), domain_id=None, order_by=[], window=Window())
    things = {name for owned in of.values() for name in owned}

    def ids(*names: str) -> list[Any]:
        return [owned[name] for owned in of.values() for name in names if name in owned]

    return {
        "notificationId": ids("@notification", "@heldNotification"),
        "notificationIds": ids("@notification"),
        "deliveryId": ids("@delivery", "@heldDelivery"),
        "deliveryIds": ids("@delivery"),
        "resourceType": ["identity.User", "identity.User", "identity.Project", "identity.Domain", "nobody"],
        "resourceId": ["alice", "bob", "p1", "home"],
        "domainId": ["home", "home", "away"],
        "userId": ["alice", "bob", "carol"],
        "topics": ["monitoring.Alert", "ünïcode.🔔", "none"],
        "topic": ["monitoring.Alert", "ünïcode.🔔", "a\0b"],
        "first": [0, 1, 1, 2, 2, 3, 20, 20, 100, 100, 101],
        "last": [1, 2, 2, 3, 100],
        "if": [True, False],
        "idempotencyKey": ["key"],
        "id": [*ids("@node"), "nothing"],
        "ID": [*ids(*things), "nobody", 12],
        "String": ["", "a", "key"],
        "Int": [0, 1, 7, -1],
        "Boolean": [True, False],
        "DateTime": ["2026-01-31T17:12:40.990Z", "2026-01-31T18:20:00+01:00", "2030-01-01T00:00:00Z"],
        "Cursor": [*map(listing.cursor, listing.page.rows[:3]), *ids("@head")],
        "JSON": [{"title": "hello"}, MESSAGES[0], [1], "text", 1.5, None],
    }


MESSAGES: Sequence[dict[str, Any]] = (
    {"title": "Zwölf", "tags": {"a": [1, 2.5, None, True, {"b": []}]}, "emoji": "🔔"},
    {"numbers": [0.1, 1e300, -0.0, 1.0, 2**53, -(2**63), 1e-7], "": {"\u2028": '\\"\n\t/'}},
    {"title": "", "nested": [[[{}]]]},
)


class Twins:
    """Runs on both paths, and compares."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.outcomes: Counter[str] = Counter()

    async def compare(self, operation: Operation, callers: random.Random) -> None:
        if not paths.keep(operation.text):
            self.outcomes["not valid"] += 1
            return
        for values in operation.runs:
            await self._run(operation.text, values, callers.choice(CALLERS))

    async def _run(self, text: str, values: Mapping[str, Any], caller: Caller | Refused) -> None:
        create, one, other = (Context(self.server, caller, Via.POST) for _ in range(3))
        if text.startswith("mutation"):  # what is compared are two repeats of it
            await paths.ordinary(create, text, values)
        expected, codes = await paths.ordinary(one, text, values)
        answer = await paths.planned(other, text, values)
        assert "INTERNAL" not in codes, (text, values, caller)
        if answer is None:
            self.outcomes["left with errors" if codes else "left"] += 1
            return
        self.outcomes["refused" if codes else "planned"] += 1
        assert answer.decode() == expected.decode(), (text, values, caller)
        assert one._fetched == other._fetched, (text, values, caller)
        if not text.startswith("mutation"):
            await self._run_again(text, values, caller, answer, one)

    async def _run_again(
        self, text: str, values: Mapping[str, Any], caller: Caller | Refused, answer: bytes, first: Context
    ) -> None:
        """Where answers are kept: once to be kept, and once to be found."""
        for _ in range(2):
            context = Context(self.server, caller, Via.POST)
            assert await paths.planned(context, text, values, api=paths.KEEPING) == answer, (text, values, caller)
            assert first._fetched == context._fetched, (text, values, caller)


@pytest.fixture
def _left_alone() -> Iterator[None]:
    """Where one field fails, graphql-core leaves its neighbours' coroutines: they are swept up at the end only."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_left_alone")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
async def test_the_planned_path_answers_what_the_ordinary_one_does(
    server: Server, known: dict[str, list[Any]], seed: int
) -> None:
    chance = random.Random(seed)
    author, twins = Author(chance, known), Twins(server)

    for number in range(DOCUMENTS):
        operation = author.creation(runs=4) if number % 8 == 0 else author.query(runs=RUNS)
        await twins.compare(operation, chance)
    gc.collect()

    print(twins.outcomes)  # noqa: T201 - shown when the test fails
    went_well = twins.outcomes["planned"] + twins.outcomes["left"]
    assert twins.outcomes["planned"] >= PLANNED_AT_LEAST * went_well
    assert twins.outcomes["planned"] >= DOCUMENTS
    assert twins.outcomes["refused"] > 0
    assert twins.outcomes["not valid"] < DOCUMENTS / 4
