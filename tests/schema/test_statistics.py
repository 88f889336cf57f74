"""Statistics as the API spells them: stages in variables and in documents, results as JSON, mistakes by their place."""

from __future__ import annotations

from typing import Any

import pytest

from resolvers.context import Server
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE
from tests.resolvers.said import say
from tests.schema.asking import ask, refused

STAT = "query ($query: StatisticsQueryInput!) { notificationStat(query: $query) { results totalCount } }"
WRITTEN_OUT = """{ notificationStat(query: {aggregate: [
    {group: {keys: [{k: "topic", n: "topic"}, {k: "created_at", n: "on", dateFormat: "%d.%m.%Y"}],
             fields: [{n: "all", o: "count"}, {n: "costs", o: "push", k: "message.cost"}]}},
    {sort: {key: "all", desc: true}}, {limit: 1}]}) { results totalCount } }"""


async def test_stages_may_be_written_in_the_document(server: Server, clock: Clock) -> None:
    for topic, cost in (("a", 1), ("b", 2), ("b", 3.5)):
        await say(server, "alice", topic=topic, message={"cost": cost})
        clock.advance(seconds=1)

    answer = await ask(server, ALICE, WRITTEN_OUT)

    results = [{"topic": "b", "on": "31.01.2026", "all": 2, "costs": [2, 3.5]}]
    assert answer == {"notificationStat": {"results": results, "totalCount": None}}


async def test_stages_may_come_in_variables_and_results_in_pages(server: Server, clock: Clock) -> None:
    for topic in "abc":
        await say(server, "alice", topic=topic)
        clock.advance(seconds=1)
    query = {
        "filter": [{"k": "topic", "v": "a", "o": "not"}],
        "aggregate": [{"project": {"onlyKeys": ["topic"], "excludeKeys": []}}],
        "page": {"start": 2, "limit": 1},
    }

    answer = await ask(server, ADMIN, STAT, query=query)
    distinct = await ask(server, ALICE, STAT, query={"distinct": "topic"})

    assert answer == {"notificationStat": {"results": [{"topic": "c"}], "totalCount": 2}}
    assert distinct == {"notificationStat": {"results": ["a", "b", "c"], "totalCount": None}}


async def test_statistics_mark_nothing_as_read(server: Server) -> None:
    await say(server, "alice")
    await ask(server, ALICE, STAT, query={"aggregate": [{"limit": 10}]})

    assert await ask(server, ALICE, "{ inbox { unreadCount } }") == {"inbox": {"unreadCount": 1}}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "query.aggregate"),
        ({"aggregate": [{}]}, "query.aggregate.0"),
        ({"aggregate": [{"limit": 1, "skip": 1}]}, "query.aggregate.0"),
        ({"aggregate": [{"limit": None}]}, "query.aggregate.0.limit"),
        ({"aggregate": [{"group": {"fields": [{"n": "x", "o": "median"}]}}]}, "query.aggregate.0.group.fields.0.o"),
        ({"aggregate": [{"unwind": {"path": "nothing"}}]}, "query.aggregate.0.unwind.path"),
    ],
)
async def test_a_mistake_is_told_by_its_place(server: Server, query: dict[str, Any], field: str) -> None:
    assert await refused(server, ADMIN, STAT, query=query) == ("INVALID_ARGUMENT", field)
