"""Statistics for callers: of what they may list and nothing else, and their mistakes told by their place."""

from __future__ import annotations

from typing import Any

import pytest

from resolvers import stages, statistics
from resolvers.access import Caller
from resolvers.asking import Slice
from resolvers.context import Server
from resolvers.errors import InvalidArgument, PermissionDenied
from resolvers.statistics import StatisticsQuery
from storage.statistics import Record, Result
from tests.resolvers.callers import ADMIN, ALICE, AWAY_ADMIN, BOB, SERVICE, SYSTEM
from tests.resolvers.said import say, say_to_project

COUNT = [{"count": {"name": "n"}}]
TOPICS = {"group": {"keys": [{"k": "topic", "n": "topic"}], "fields": [{"n": "all", "o": "count"}]}}
AWAY = {"k": "domain_id", "v": "away", "o": "eq"}


async def read(server: Server, caller: Caller, *, record: Record = Record.NOTIFICATION, **query: Any) -> Result:
    return await statistics.read(server, caller, record, StatisticsQuery(**query))


async def count(server: Server, caller: Caller, **query: Any) -> int:
    results = (await read(server, caller, aggregate=COUNT, **query)).results
    return sum(row["n"] for row in results)


async def test_everybody_counts_what_they_may_list(server: Server) -> None:
    await say(server, "alice")
    await say(server, "alice")
    await say(server, "bob")
    await say_to_project(server)
    await say(server, "carol", caller=AWAY_ADMIN)

    counted = [await count(server, caller) for caller in (ALICE, BOB, SERVICE, ADMIN, AWAY_ADMIN, SYSTEM)]
    assert counted == [2, 1, 1, 4, 1, 0]
    assert await count(server, SYSTEM, filter=[AWAY]) == 1
    assert await count(server, SYSTEM, filter=[{**AWAY, "v": "home"}]) == 4


async def test_no_filter_widens_what_is_seen(server: Server) -> None:
    await say(server, "alice")
    await say(server, "bob")
    await say(server, "carol", caller=AWAY_ADMIN)
    always = {"k": "topic", "v": None, "o": "not"}
    bob = {"k": "userId", "v": "bob", "o": "eq"}

    assert await count(server, ALICE, filter=[bob]) == 0
    assert await count(server, ALICE, filter_or=[bob, always]) == 1
    assert await count(server, ADMIN, filter=[AWAY]) == 0
    assert await count(server, ADMIN, filter_or=[AWAY, always]) == 2
    assert (await read(server, ALICE, distinct="user_id")).results == ["alice"]
    stage = {"match": {"filterOr": [bob, always]}}
    assert (await read(server, ALICE, aggregate=[stage, *COUNT])).results == [{"n": 1}]


async def test_a_keyword_and_filters_choose_the_records(server: Server) -> None:
    await say(server, "alice", message={"title": "Disk full", "cost": 2})
    await say(server, "alice", message={"title": "Network down", "cost": 5})

    assert await count(server, ALICE, keyword="DISK") == 1
    assert await count(server, ALICE, filter=[{"key": "message.cost", "value": 2, "operator": "gt"}]) == 1
    found = await read(server, ALICE, aggregate=[TOPICS], page=Slice(1, 10))
    assert (found.results, found.total_count) == ([{"topic": "monitoring.Alert", "all": 2}], 1)


async def test_a_role_that_may_not_list_may_not_count(server: Server) -> None:
    for caller, record in ((ALICE, Record.PROTOCOL), (SERVICE, Record.QUOTA), (SERVICE, Record.USER_CHANNEL)):
        with pytest.raises(PermissionDenied):
            await read(server, caller, record=record, aggregate=COUNT)


def _group(*fields: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return [{"group": {"fields": list(fields), **more}}]


def _project(*fields: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return [{"project": {"fields": list(fields), **more}}]


def _nested(levels: int) -> dict[str, Any]:
    inner = {"o": "sum", "fields": [_nested(levels - 1)]} if levels else {"k": "message.a"}
    return {"n": "x", **inner}


A = {"k": "message.a"}
COUNTED = {"n": "n", "o": "count"}
MESSAGES = {"group": {"keys": [{"k": "message", "n": "m"}]}}
MISTAKES: list[tuple[str, list[Any]]] = [
    ("aggregate", []),
    ("aggregate", [{"limit": 1}] * (stages.MAX_STAGES + 1)),
    ("aggregate.5.unwind", [{"unwind": {"path": "message.a"}}] * (stages.MAX_UNWINDS + 1)),
    ("aggregate.0.group.keys", [{"group": {}}]),
    ("aggregate.0.group.keys", [{"group": {"keys": [{"k": "topic", "n": str(n)} for n in range(11)]}}]),
    ("aggregate.0.group.keys.0.key", [{"group": {"keys": [{"n": "x"}]}}]),
    ("aggregate.0.group.keys.0.k", [{"group": {"keys": [{"k": "nothing", "n": "x"}]}}]),
    ("aggregate.0.group.keys.0.key", [{"group": {"keys": [{"key": "topic.x", "n": "x"}]}}]),
    ("aggregate.0.group.keys.0.name", [{"group": {"keys": [{"k": "topic"}]}}]),
    ("aggregate.0.group.keys.0.n", [{"group": {"keys": [{"k": "topic", "n": "a.b"}]}}]),
    ("aggregate.0.group.keys.0.n", [{"group": {"keys": [{"k": "topic", "n": "$a"}]}}]),
    ("aggregate.0.group.keys.0.k", [{"group": {"keys": [{"k": "topic", "key": "topic", "n": "a"}]}}]),
    ("aggregate.0.group.keys.1.n", [{"group": {"keys": [{"k": "topic", "n": "a"}, {"k": "isRead", "n": "a"}]}}]),
    ("aggregate.0.group.keys.0.dateFormat", [{"group": {"keys": [{"k": "topic", "n": "a", "dateFormat": "%Y"}]}}]),
    ("aggregate.0.group.keys.0.dateFormat", [{"group": {"keys": [{"k": "created_at", "n": "a", "dateFormat": "%x"}]}}]),
    ("aggregate.0.group.keys.0.dateFormat", [{"group": {"keys": [{"k": "created_at", "n": "a", "dateFormat": "%"}]}}]),
    ("aggregate.0.group.fields.0.name", _group({"o": "count"})),
    ("aggregate.0.group.fields.1.n", _group(COUNTED, COUNTED)),
    ("aggregate.0.group.fields.0.n", _group(COUNTED, keys=[{"k": "topic", "n": "n"}])),
    ("aggregate.0.group.fields.0.operator", _group({"n": "x", "k": "topic"})),
    ("aggregate.0.group.fields.0.o", _group({"n": "x", "k": "topic", "o": "median"})),
    ("aggregate.0.group.fields.0.key", _group({"n": "x", "o": "sum"})),
    ("aggregate.0.group.fields.0.k", _group({"n": "x", "k": "topic", "o": "sum"})),
    ("aggregate.0.group.fields.0.k", _group({"n": "x", "k": "isRead", "o": "average"})),
    ("aggregate.0.group.fields.0.k", _group({"n": "x", "k": "topic", "o": "merge_objects"})),
    ("aggregate.0.group.fields.0.fields", _group({"n": "x", "k": "topic", "o": "max", "fields": [A]})),
    ("aggregate.0.group.fields.0.k", _group({"n": "x", "k": "topic", "o": "push", "fields": [{**A, "n": "a"}]})),
    ("aggregate.0.group.fields.0.fields.0.name", _group({"n": "x", "o": "push", "fields": [A]})),
    ("aggregate.0.group.fields.0.fields.0.o", _group({"n": "x", "o": "push", "fields": [{**A, "n": "a", "o": "sum"}]})),
    ("aggregate.0.group.fields.0.fields.0.k", _group({"n": "x", "o": "push", "fields": [{"k": "y", "n": "a"}]})),
    ("aggregate.0.group.fields.0.conditions.0.o", _group({**COUNTED, "conditions": [{"k": "topic", "o": "is"}]})),
    ("aggregate.0.group.fields.0.conditions.0.k", _group({**COUNTED, "conditions": [{"k": "x", "o": "eq"}]})),
    ("aggregate.0.group.fields.100", _group(*({"n": str(n), "o": "count"} for n in range(101)))),
    ("aggregate.0.sort.key", [{"sort": {}}]),
    ("aggregate.0.sort.key", [{"sort": {"key": "nothing"}}]),
    ("aggregate.0.sort.keys.1.key", [{"sort": {"keys": [{"key": "topic"}, {"key": "nothing"}]}}]),
    ("aggregate.0.sort.key", [{"sort": {"key": "topic", "keys": [{"key": "topic"}]}}]),
    ("aggregate.0.sort.desc", [{"sort": {"desc": True, "keys": [{"key": "topic"}]}}]),
    ("aggregate.0.limit", [{"limit": 0}]),
    ("aggregate.0.skip", [{"skip": -1}]),
    ("aggregate.0.count.name", [{"count": {"name": " "}}]),
    ("aggregate.1.sort.key", [*COUNT, {"sort": {"key": "topic"}}]),
    ("aggregate.1.sort.key", [*COUNT, {"sort": {"key": "n.a"}}]),
    ("aggregate.1.sort.key", [*_group({"n": "x", **A, "o": "push"}), {"sort": {"key": "x."}}]),
    ("aggregate.0.unwind.path", [{"unwind": {"path": "nothing"}}]),
    ("aggregate.0.project.fields", [{"project": {}}]),
    ("aggregate.0.project.excludeKeys.0", [{"project": {"excludeKeys": ["nothing"]}}]),
    ("aggregate.0.project.onlyKeys.0", [{"project": {"onlyKeys": ["message.a"]}}]),
    ("aggregate.0.project.onlyKeys", [{"project": {"onlyKeys": []}}]),
    ("aggregate.1.project.excludeKeys", [*COUNT, {"project": {"excludeKeys": ["n"]}}]),
    ("aggregate.0.project.fields.0.key", _project({"n": "x"})),
    ("aggregate.0.project.fields.0.k", _project({"n": "x", "k": "nothing"})),
    ("aggregate.0.project.fields.0.k", _project({"n": "x", "k": "topic", "o": "size"})),
    ("aggregate.0.project.fields.0.o", _project({"n": "x", "k": "topic", "o": "modulo"})),
    ("aggregate.0.project.fields.0.fields", _project({"n": "x", "o": "subtract", "fields": [A]})),
    ("aggregate.0.project.fields.0.fields", _project({"n": "x", "o": "add"})),
    ("aggregate.0.project.fields.0.fields", _project({"n": "x", "o": "add", "fields": [A] * 11})),
    ("aggregate.0.project.fields.0.fields.1.k", _project({"n": "x", "o": "add", "fields": [A, {"k": "topic"}]})),
    ("aggregate.0.project.fields.0.k", _project({"n": "x", **A, "o": "add", "fields": [A, A]})),
    ("aggregate.0.project.fields.0.fields", _project({"n": "x", **A, "fields": [A]})),
    ("aggregate.0.project.fields.0.fields", _project({"n": "x", **A, "o": "size", "fields": [A]})),
    ("aggregate.0.project.fields.0.conditions", _project({"n": "x", **A, "conditions": [{"k": "topic", "o": "eq"}]})),
    ("aggregate.0.project.fields.0.fields.0.fields.0.fields.0.fields", _project(_nested(4))),
    ("aggregate.0.match.filter", [{"match": {}}]),
    ("aggregate.0.match.filterOr.0.v", [{"match": {"filterOr": [{"k": "topic", "v": [], "o": "eq"}]}}]),
    ("aggregate.1.match.filter", [{"match": {"filter": [{"k": "topic", "o": "eq"}] * 50}}] * 2),
    (
        "aggregate.3.match.filter",
        [{"match": {"filter": [{**A, "o": "match", "v": dict.fromkeys("abcdefghijklm")}]}}] * 4,
    ),
    ("aggregate.1.match.filter.0.k", [MESSAGES, {"match": {"filter": [{"k": "m" + ".a" * 8, "o": "eq"}]}}]),
    ("aggregate.1.sort.key", [MESSAGES, {"sort": {"key": "m" + ".a" * 8}}]),
    ("aggregate.1.match.filter", [{"match": {"filter": [{"k": "topic", "v": ["a"] * 600, "o": "in"}]}}] * 2),
]


async def test_a_mistake_is_told_by_its_place(server: Server) -> None:
    for field, aggregate in MISTAKES:
        with pytest.raises(InvalidArgument) as refused:
            await read(server, ADMIN, aggregate=aggregate)

        assert (aggregate, refused.value.field) == (aggregate, f"query.{field}")
    assert await count(server, ADMIN) == 0


async def test_other_mistakes_are_told_by_their_place(server: Server) -> None:
    mistakes: dict[str, dict[str, Any]] = {
        "query.distinct": {"distinct": "nothing"},
        "query.filter.0.k": {"filter": [{"k": "nothing", "o": "eq"}], "aggregate": COUNT},
        "query.filterOr.0.o": {"filter_or": [{"k": "topic", "o": "is"}], "aggregate": COUNT},
        "query.page.limit": {"page": Slice(1, 101), "aggregate": COUNT},
    }
    for field, query in mistakes.items():
        with pytest.raises(InvalidArgument) as refused:
            await read(server, ADMIN, **query)
        assert refused.value.field == field
    with pytest.raises(InvalidArgument) as refused:
        await read(server, ADMIN, aggregate=COUNT, distinct="topic")
    assert refused.value.field == "query.distinct"
