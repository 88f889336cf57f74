"""The SpaceONE query format on every list, on either engine: what it finds, in which order, never more than a list."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from graphql import GraphQLInputObjectType
from sqlalchemy import event
from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import asking, paging
from resolvers.access import Caller
from storage import engine, time_limits
from storage.engine import READERS
from storage.queries import fields
from storage.queries.fields import Fields
from storage.queries.operators import Operator
from tests.conftest import Clock, new_postgres
from tests.resolvers.callers import ADMIN, ALICE, AWAY_ADMIN, BOB, SERVICE, SYSTEM
from tests.schema import world as worlds
from tests.schema.operations import TYPES
from tests.schema.world import Answer, World

pytestmark = pytest.mark.asyncio(loop_scope="module")  # that of the worlds

LISTS: dict[str, tuple[Fields, str]] = {  # with what tells the rows apart
    "notifications": (fields.NOTIFICATION, "notificationId"),
    "deliveries": (fields.DELIVERY, "deliveryId"),
    "protocols": (fields.PROTOCOL, "protocolId"),
    "projectChannels": (fields.PROJECT_CHANNEL, "projectChannelId"),
    "userChannels": (fields.USER_CHANNEL, "userChannelId"),
    "quotas": (fields.QUOTA, "quotaId"),
    "notificationUsages": (fields.NOTIFICATION_USAGE, "protocolId"),
}
KEYS = [(name, key) for name, (known, _) in LISTS.items() for key in known.fields]
KEYWORDS = {"notifications": "PODS", "protocols": "vans", "projectChannels": "FRONT", "userChannels": "min"}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgres"])
async def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One world for all tests: none changes it."""
    folder: Path = tmp_path_factory.mktemp("asked")
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{folder / 'tocsin.db'}" if is_sqlite else await new_postgres(request.getfixturevalue("postgres"))
    async with worlds.serving(url, Clock()) as server, worlds.opened(server, await worlds.populate(server)) as world:
        yield world


async def _ask(world: World, name: str, query: Any, *, caller: Caller = ADMIN, **variables: Any) -> Answer:
    document = f"""query ($query: QueryInput, $first: Int, $after: Cursor) {{
        {name}(query: $query, first: $first, after: $after) {{
            nodes {{ {LISTS[name][1]} }} totalCount pageInfo {{ hasNextPage hasPreviousPage endCursor }}
        }}
    }}"""
    return await world.post(caller, document, {"query": query, **variables})


async def _found(world: World, name: str, query: Any, *, caller: Caller = ADMIN, **variables: Any) -> list[str]:
    answer = await _ask(world, name, query, caller=caller, **variables)
    assert answer.error is None, answer.text
    return _ids(name, answer)


def _ids(name: str, answer: Answer) -> list[str]:
    return [node[LISTS[name][1]] for node in answer.data[name]["nodes"]]


@pytest.mark.parametrize("name", LISTS)
async def test_a_filter_finds_one_and_leaves_out_one(home: World, name: str) -> None:
    everything, key = await _found(home, name, None), LISTS[name][1]
    one, others = everything[0], everything[1:]

    assert await _found(home, name, {"filter": [{"k": key, "v": one, "o": "eq"}]}) == [one]
    assert await _found(home, name, {"filter": [{"key": key, "value": one, "operator": "not"}]}) == others
    assert (
        await _found(home, name, {"filterOr": [{"k": key, "v": [one], "o": o} for o in ("in", "not_in")]}) == everything
    )
    assert await _found(home, name, {"filter": [], "filterOr": [], "keyword": " "}) == everything


@pytest.mark.parametrize(("name", "key"), KEYS)
async def test_any_field_is_asked_for_and_sorted_by(home: World, name: str, key: str) -> None:
    everything = await _found(home, name, None)
    there = await _found(home, name, {"filter": [{"k": key, "v": True, "o": "exists"}]})
    missing = await _found(home, name, {"filter": [{"k": key, "o": "eq"}]})

    assert sorted(there + missing) == sorted(everything)
    upwards = await _walked(home, name, {"sort": {"key": key}})
    assert upwards == [*(each for each in upwards if each in missing), *(each for each in upwards if each in there)]
    assert await _walked(home, name, {"sort": {"key": key, "desc": True}}) == upwards[::-1]


async def _walked(world: World, name: str, query: Any) -> list[str]:
    """The whole list, four rows at a time."""
    found: list[str] = []
    after, more = None, True
    while more:
        answer = await _ask(world, name, query, first=4, after=after)
        assert answer.error is None, answer.text
        found += _ids(name, answer)
        after, more = (answer.data[name]["pageInfo"][key] for key in ("endCursor", "hasNextPage"))
    return found


@pytest.mark.parametrize(("name", "keyword"), KEYWORDS.items())
async def test_a_keyword_is_looked_for_in_whatever_case(home: World, name: str, keyword: str) -> None:
    found = await _found(home, name, {"keyword": keyword})

    assert found
    assert set(found) <= set(await _found(home, name, None))
    assert await _found(home, name, {"keyword": "nowhere"}) == []


@pytest.mark.parametrize("name", LISTS)
async def test_a_page_is_taken_by_numbers(home: World, name: str) -> None:
    everything = await _found(home, name, None)
    for start, limit, shown in ((1, 1, everything[:1]), (-5, 1, everything[:1]), (2, 100, everything[1:]), (99, 1, [])):
        answer = await _ask(home, name, {"page": {"start": start, "limit": limit}})

        assert _ids(name, answer) == shown
        assert answer.data[name]["totalCount"] == len(everything)
        assert answer.data[name]["pageInfo"]["hasNextPage"] == (start < 2 and len(everything) > 1)
        assert answer.data[name]["pageInfo"]["hasPreviousPage"] == (start > 1)


@pytest.mark.parametrize("name", LISTS)
async def test_only_counting_reads_no_rows(home: World, name: str) -> None:
    everything = await _found(home, name, None)
    query = {"filter": [{"k": "domainId", "v": "home", "o": "eq"}], "countOnly": True}
    with _statements(home) as executed:
        answer = await _ask(home, name, query)

    assert answer.data[name]["nodes"] == []
    assert answer.data[name]["totalCount"] == len(everything)
    assert [statement.lower().startswith("select count(") for statement in executed if "SELECT" in statement] == [True]


@pytest.mark.parametrize("name", LISTS)
async def test_a_list_counts_only_where_the_count_is_selected(home: World, name: str) -> None:
    key = LISTS[name][1]
    document = "query ($query: QueryInput) { %s(query: $query) { nodes { %s } %s } }"
    query = {"filter": [{"k": key, "v": "", "o": "gt"}]}

    for selected, counts in (("pageInfo { hasNextPage }", 0), ("totalCount", 1)):
        with _statements(home) as executed:
            await home.post(ADMIN, document % (name, key, selected), {"query": query})
        assert sum("count(" in statement.lower() for statement in executed) == counts
        assert any("SELECT" in statement for statement in executed)


@contextmanager
def _statements(world: World) -> Iterator[list[str]]:
    executed: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        executed.append(statement)

    engine = world.server.database._reader.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield executed
    event.remove(engine, "before_cursor_execute", note)


TRICKS: list[Any] = [
    {"filter": [{"k": "domain_id", "v": "away", "o": "eq"}]},
    {"filter": [{"k": "domainId", "v": "", "o": "not"}]},
    {"filterOr": [{"k": "domainId", "v": "away", "o": "eq"}, {"k": "domainId", "v": True, "o": "not"}]},
    {"filterOr": [{"k": "domainId", "v": "' OR 1=1 --", "o": "not_contain"}, {"k": "domainId", "v": "", "o": "regex"}]},
    {"filterOr": [{"k": "createdAt", "v": "now", "o": "timediff_lte"}], "keyword": "a e i o u"},
    {"sort": {"key": "domainId", "desc": True}, "page": {"start": 0, "limit": 100}},
]
OF_USERS = [
    {"filterOr": [{"k": "user_id", "v": "bob", "o": "eq"}, {"k": "user_id", "v": None, "o": "eq"}]},
    {"filter": [{"k": "userId", "v": ["alice", "bob", "carol", None], "o": "in"}]},
    {"filter": [{"k": "userId", "v": True, "o": "exists"}], "sort": {"key": "userId"}},
]


@pytest.mark.parametrize("caller", [ADMIN, ALICE, BOB, SERVICE, AWAY_ADMIN, SYSTEM], ids=lambda caller: caller.user_id)
@pytest.mark.parametrize("name", ["notifications", "deliveries", "userChannels", "protocols"])
async def test_no_query_shows_more_than_the_list(home: World, name: str, caller: Caller) -> None:
    listed = await _ask(home, name, None, caller=caller)
    seen = set() if listed.error else set(_ids(name, listed))
    for query in TRICKS + (OF_USERS if name in ("notifications", "userChannels") else []):
        answer = await _ask(home, name, query, caller=caller)

        assert answer.code == listed.code
        assert answer.error or set(_ids(name, answer)) <= seen
        assert answer.error or answer.data[name]["totalCount"] <= len(seen)


async def test_filter_and_query_narrow_together(home: World) -> None:
    document = """query ($query: QueryInput) {
        notifications(filter: {userId: "alice"}, query: $query) { nodes { userId } totalCount }
    }"""
    for user, count in (("alice", 2), ("bob", 0)):
        answer = await home.post(ADMIN, document, {"query": {"filter": [{"k": "userId", "v": user, "o": "eq"}]}})

        assert answer.data["notifications"]["nodes"] == [{"userId": user}] * count
        assert answer.data["notifications"]["totalCount"] == count


async def test_a_cursor_belongs_to_its_order(home: World) -> None:
    for name in LISTS:
        answer = await _ask(
            home, name, {"sort": {"key": "protocolId" if "otifications" not in name else "topic"}}, first=1
        )
        cursor = answer.data[name]["pageInfo"]["endCursor"]
        for other in (None, {"sort": {"key": "domainId"}}):
            answer = await _ask(home, name, other, after=cursor)

            assert (answer.code, answer.field) == ("INVALID_ARGUMENT", "after")


PAGE = {"start": 1, "limit": 1}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"filter": [{"k": "nothing", "v": 1, "o": "eq"}]}, "query.filter.0.k"),
        ({"filter": [{"key": "nothing", "v": 1, "o": "eq"}]}, "query.filter.0.key"),
        ({"filter": [{"k": "topic", "v": 1, "o": "equals"}]}, "query.filter.0.o"),
        ({"filter": [{"k": "topic", "v": 1, "operator": "equals"}]}, "query.filter.0.operator"),
        ({"filterOr": [{"k": "topic", "o": "eq"}, {"k": "topic", "v": [], "o": "eq"}]}, "query.filterOr.1.v"),
        ({"filter": [{"k": "topic", "value": "(", "o": "regex"}]}, "query.filter.0.value"),
        ({"filter": [{"k": "topic", "o": "contain"}]}, "query.filter.0.value"),
        ({"filter": [{"k": "topic", "key": "topic", "v": "x", "o": "eq"}]}, "query.filter.0.k"),
        ({"filter": [{"k": "topic", "v": None, "value": "x", "o": "eq"}]}, "query.filter.0.v"),
        ({"filter": [{"k": "topic", "v": "x", "o": "eq", "operator": "eq"}]}, "query.filter.0.o"),
        ({"filter": [{"v": "x", "o": "eq"}]}, "query.filter.0.key"),
        ({"filter": [{"k": None, "v": "x", "o": "eq"}]}, "query.filter.0.k"),
        ({"filter": [{"k": "topic", "v": "x"}]}, "query.filter.0.operator"),
        ({"filter": [{"k": "topic", "v": "x", "o": "eq"}] * 51}, "query.filter.50"),
        ({"keyword": "x" * 256}, "query.keyword"),
        ({"sort": {"key": "nothing"}}, "query.sort.key"),
        ({"sort": {"keys": [{"key": "topic"}, {"key": "nothing"}]}}, "query.sort.keys.1.key"),
        ({"sort": {"key": "message.\0"}}, "query.sort.key"),
        ({"sort": {"key": "topic", "keys": [{"key": "userId"}]}}, "query.sort.key"),
        ({"sort": {"desc": True, "keys": [{"key": "topic"}]}}, "query.sort.desc"),
        ({"sort": {"keys": [{"key": f"message.{key}"} for key in "abcdefghi"]}}, "query.sort.keys.8"),
        ({"page": {"limit": 101}}, "query.page.limit"),
        ({"page": {"limit": 0}}, "query.page.limit"),
        ({"page": {"start": 1, "limit": -1}, "countOnly": True}, "query.page.limit"),
    ],
)
async def test_a_mistake_is_told_by_its_field(home: World, query: Any, field: str) -> None:
    answer = await _ask(home, "notifications", query)

    assert (answer.code, answer.field) == ("INVALID_ARGUMENT", field)


@pytest.mark.parametrize("name", LISTS)
async def test_a_page_that_is_too_large_is_told_how_large_it_may_be(home: World, name: str) -> None:
    most, above = paging.MAX_PAGE, paging.MAX_PAGE + 1

    for answer, field in (
        (await _ask(home, name, None, first=above), "first"),
        (await _ask(home, name, {"page": {"limit": above}}), "query.page.limit"),
    ):
        assert (answer.code, answer.field) == ("INVALID_ARGUMENT", field)
        assert str(most) in answer.text
    assert (await _ask(home, name, None, first=most)).error is None


async def test_pages_are_by_numbers_or_by_cursors(home: World) -> None:
    cursor = (await _ask(home, "notifications", None)).data["notifications"]["pageInfo"]["endCursor"]
    for window in ({"first": 1}, {"after": cursor}):
        answer = await _ask(home, "notifications", {"page": PAGE}, **window)

        assert (answer.code, answer.field) == ("INVALID_ARGUMENT", "query.page")
    for argument in ("last: 1", f'before: "{cursor}"'):
        answer = await home.post(
            ADMIN, f"{{ notifications(query: {{page: {{limit: 1}}}}, {argument}) {{ totalCount }} }}"
        )

        assert (answer.code, answer.field) == ("INVALID_ARGUMENT", "query.page")


async def test_the_schema_names_every_operator() -> None:
    filter_type = cast(GraphQLInputObjectType, TYPES.type_map["QueryFilter"])
    description = filter_type.fields["operator"].description or ""

    assert re.findall(r"[a-z_]+", description.replace(" or ", " ")) == list(Operator)


async def test_an_order_is_asked_for_once(home: World) -> None:
    document = '{ notifications(orderBy: [{field: TOPIC}], query: {sort: {key: "topic"}}) { totalCount } }'
    answer = await home.post(ADMIN, document)

    assert (answer.code, answer.field) == ("INVALID_ARGUMENT", "orderBy")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (
            {"filter": [{"k": "topic", "v": "t", "o": "contain"}, {"k": "topic", "v": "a", "o": "regex"}]},
            "query.filter.1.v",
        ),
        ({"filterOr": [{"key": "topic", "value": ["a"], "operator": "regex_in"}]}, "query.filterOr.0.value"),
        ({"keyword": "po"}, "query"),
        ({"sort": {"key": "message.title"}}, "query"),
        ({"keyword": "pods", "countOnly": True}, "query"),
    ],
)
async def test_what_takes_too_long_is_the_callers_mistake(
    home: World, monkeypatch: pytest.MonkeyPatch, query: Any, field: str
) -> None:
    async with _patient_for_nothing(home, monkeypatch) as world:
        answer = await _when_locked(world, lambda: _ask(world, "notifications", query))
        monkeypatch.undo()
        answers = [await _ask(world, "notifications", query) for _ in range(READERS + 1)]

    assert (answer.code, answer.field) == ("INVALID_ARGUMENT", field)
    assert [later.error for later in answers] == [None] * len(answers)  # each connection is as before


@asynccontextmanager
async def _patient_for_nothing(world: World, patch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """The same world, on a database that looks at the clock all the time."""
    patch.setattr(time_limits, "STEPS", 1)
    at_most = timedelta(milliseconds=0 if world.server.database.is_sqlite else 50)
    patch.setattr(asking, "QUERY_AT_MOST", at_most)
    patch.setattr(engine, "SCAN_AT_MOST", at_most)
    url = world.server.database.url.render_as_string(hide_password=False)
    async with worlds.serving(url, Clock()) as server, worlds.opened(server, {}) as hasty:
        yield hasty


async def _when_locked(world: World, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """SQLite takes longer than nothing for anything; PostgreSQL waits for a lock."""

    async def locked(session: AsyncSession) -> Answer:
        if not world.server.database.is_sqlite:
            await (await session.connection()).exec_driver_sql("LOCK TABLE notification")
        return await ask()

    return await world.server.database.write(locked)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("{ nodes { topic } }", {"nodes": []}),
        ("{ totalCount }", {"totalCount": 0}),
    ],
    ids=["list", "count"],
)
async def test_a_filter_that_no_index_answers_ends_too(
    home: World, monkeypatch: pytest.MonkeyPatch, shown: str, expected: Mapping[str, Any]
) -> None:
    """The order is no index's either: in another one, the first rows would be looked at."""
    document = f'{{ notifications(filter: {{topics: ["nothing"]}}, orderBy: {{field: TOPIC}}) {shown} }}'
    async with _patient_for_nothing(home, monkeypatch) as world:
        answer = await _when_locked(world, lambda: world.post(ADMIN, document))
        monkeypatch.undo()
        later = await world.post(ADMIN, document)

    assert (answer.code, answer.field) == ("INVALID_ARGUMENT", "filter")
    assert later.data == {"notifications": expected}
