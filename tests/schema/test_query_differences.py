"""docs/queries.md: every difference from the original has an example, which comes to what the page says."""

from __future__ import annotations

import json
from typing import Any

from resolvers import asking
from resolvers.access import Caller, Role
from resolvers.context import Server
from schema.context import Context
from schema.http import Via
from storage import engine
from tests.resolvers.callers import NEVER
from tests.schema.asking import API, problem
from tests.storage.asked import store
from tests.storage.queries_page import PAGE, rows, table

DOCUMENT = "query ($query: QueryInput) { notifications(query: $query) { nodes { notificationId } } }"
DIFFERENCES = table("original | here | example | comes to")


async def _outcome(server: Server, caller: Caller, query: Any) -> str:
    """The numbers of what was found, or the field that is wrong."""
    result = await API.execute(DOCUMENT, {"query": query}, context_value=Context(server, caller, Via.POST))
    if result.data is None:
        code, field = problem(result)
        assert code == "INVALID_ARGUMENT"
        return f"`{field}`"
    found = [node["notificationId"] for node in result.data["notifications"]["nodes"]]
    return " ".join(str(int(each.rpartition("-")[2]) + 1) for each in found)


async def test_a_difference_is_as_the_page_says(server: Server) -> None:
    scope = await store(server.database, rows())
    caller = Caller(scope.domain_id or "", "admin", Role.DOMAIN_ADMIN, NEVER)
    queries = [json.loads(row[2].strip("`")) for row in DIFFERENCES]
    outcomes = [await _outcome(server, caller, query) for query in queries]

    assert [*zip(queries, outcomes, strict=True)] == [*zip(queries, (row[3] for row in DIFFERENCES), strict=True)]
    assert len(outcomes) == 16


def test_the_page_says_how_long_a_query_may_take() -> None:
    assert asking.QUERY_AT_MOST == engine.SCAN_AT_MOST
    assert f"longer than {asking.QUERY_AT_MOST.seconds} seconds" in PAGE
