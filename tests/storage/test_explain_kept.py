"""How kept statements are answered: from which index, and so on which thread."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import deliveries, inboxes, lines, notification_filters, notification_lists, notifications, planning
from storage.engine import Database
from storage.kept import Statements
from storage.models import NotificationLevel, NotificationType
from storage.notification_filters import ID
from storage.paging import Bounds
from storage.queries import search_index
from storage.queries.operators import Question
from storage.scope import Scope
from storage.selected import Selected
from tests.storage import explaining
from tests.storage.explaining import FOUND, Case, Plan
from tests.storage.populated import BACK, CREATOR, DOMAIN, FIRST, LATER, NEXT, NOW, ORDER, USER

AFTER, BEFORE = (
    (NOW + timedelta(seconds=2_001), "notification-2001"),
    (NOW + timedelta(seconds=1_001), "notification-1001"),
)
PAGES = {
    "first": FIRST,
    "next": NEXT,
    "backwards": BACK,
}
BY_TEXT = Selected(frozenset({"topic", "message", "created_at"}), as_text=True)
Kept = Callable[[Database], Awaitable[Any]]


def _kept_list(scope: Scope, bounds: Bounds = FIRST, **wanted: Any) -> Kept:
    wanted_rows = notification_filters.Filter(**wanted)
    return lambda database: notification_lists.page_kept(database, scope, wanted_rows, ORDER, bounds, BY_TEXT)


def _kept_deliveries(scope: Scope, bounds: Bounds = FIRST, **wanted: Any) -> Kept:
    return lambda database: deliveries.page_kept(database, scope, deliveries.Filter(**wanted), bounds)


LISTS: dict[str, tuple[Scope, dict[str, Any], str]] = {
    "a user": (USER, {}, "notification_by_user"),
    "what a user has not read": (USER, {"is_read": False}, "notification_unread"),
    "a user, to an administrator": (DOMAIN, {"user_id": "u1"}, "notification_by_user"),
    "a domain": (DOMAIN, {}, "notification_by_domain"),
    "a project": (DOMAIN, {"project_id": "p1"}, "notification_by_project"),
    "a creator": (CREATOR, {}, "notification_by_creator"),
}
# Those that are read on the thread of the event loop on SQLite, and the index that bounds what is read.
BOUNDED: dict[str, tuple[Kept, str]] = {
    "a notification": (
        lambda database: notifications.find_kept(database, "notification-1", USER, BY_TEXT),
        "sqlite_autoindex_notification_1",
    ),
    "a delivery": (
        lambda database: deliveries.find_kept(database, "delivery-1", DOMAIN),
        "sqlite_autoindex_delivery_1",
    ),
    "an inbox and its counts": (
        lambda database: inboxes.find_kept(database, inboxes.of_user("d1", "u1")),
        "sqlite_autoindex_inbox_1",
    ),
    **{
        f"{page} page of {name}": (_kept_list(scope, bounds, **wanted), index)
        for page, bounds in PAGES.items()
        for name, (scope, wanted, index) in LISTS.items()
    },
    "a user's since": (_kept_list(USER, created_after=NOW), "notification_by_user"),
    "a domain's until": (_kept_list(DOMAIN, created_before=LATER), "notification_by_domain"),
    **{
        f"{page} page of deliveries of {name}": (_kept_deliveries(scope, bounds), index)
        for page, bounds in PAGES.items()
        for name, scope, index in (
            ("a domain", DOMAIN, "delivery_by_domain"),
            ("a user", USER, "delivery_by_user"),
        )
    },
}
# Those that may have to pass over rows, so that a thread reads them on SQLite.
UNBOUNDED: dict[str, Kept] = {
    "a user's of a project": _kept_list(USER, project_id="p1"),
    "a user who is somebody else": _kept_list(USER, user_id="u2"),
    "a user's between two positions, searched": _kept_list(
        USER, Bounds(limit=20, after=AFTER, before=BEFORE), question=Question(keyword="said")
    ),
    "a user's behind a number": _kept_list(USER, Bounds(limit=20, offset=1_000)),
    "a user's between two positions": _kept_list(USER, Bounds(limit=20, after=AFTER, before=BEFORE)),
    "a user's after a position and before a time": _kept_list(USER, NEXT, created_before=LATER),
    "a user's by topic": lambda database: notification_lists.page_kept(
        database, USER, notification_filters.Filter(), (notification_filters.TOPIC, ID), FIRST
    ),
    "deliveries of a channel": _kept_deliveries(DOMAIN, channel_id="channel-1"),
    "deliveries of a creator": _kept_deliveries(CREATOR),
}


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None, Sequence[Any]]]:
    """The kept statements that are asked: text, the index that is said to bound it, parameters."""
    asked: list[tuple[str, str | None, Sequence[Any]]] = []
    of = Statements.of

    def note(self: Statements, kind: Any, given: Any, fixed: Any) -> Any:
        found = of(self, kind, given, fixed)
        asked.append((found.statement.text, found.index, found.statement.parameters(given)))
        return found

    monkeypatch.setattr(Statements, "of", note)
    return asked


async def _kept_plan(session: AsyncSession, text: str, parameters: Sequence[Any], *, may_sort: bool = False) -> Plan:
    """How it is answered whatever the values are, for it is planned once. A few rows may as well be sorted."""
    connection = await session.connection()
    if connection.dialect.name == "sqlite":
        found = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", tuple(parameters))
    else:
        for setting in (*planning.ONCE.split("; "), f"SET enable_sort = {'on' if may_sort else 'off'}"):
            await connection.exec_driver_sql(setting.replace("SET", "SET LOCAL", 1))
        await connection.exec_driver_sql(f"PREPARE asked AS {text}")
        values = f"({', '.join(['NULL'] * len(parameters))})" if parameters else ""
        found = await connection.exec_driver_sql(f"EXPLAIN EXECUTE asked{values}")
    plan = [str(row[-1]) for row in found]
    if connection.dialect.name == "postgresql":
        await connection.exec_driver_sql("DEALLOCATE asked")
    return plan


async def test_what_is_read_on_the_event_loop_is_bounded_by_the_index_that_is_said_to_do_so(
    filled: Database, kept: list[tuple[str, str | None, Sequence[Any]]]
) -> None:
    faults: dict[str, Any] = {}

    async def explain(session: AsyncSession) -> None:
        for name, (call, index) in BOUNDED.items():
            kept.clear()
            await call(filled)
            assert kept, name
            for text, said, parameters in kept:
                plan = await _kept_plan(session, text, parameters)
                on_sqlite = re.compile(rf"SEARCH (notification|delivery|inbox) USING (COVERING )?INDEX {index} ")
                is_bounded = not filled.is_sqlite or any(on_sqlite.match(line) for line in plan)
                if said != index or not is_bounded or explaining.faults(plan, Case(call=_nothing)):
                    faults[name] = (said, plan)

    async def gather_statistics(session: AsyncSession) -> None:
        await (await session.connection()).exec_driver_sql("ANALYZE")

    async with filled.read() as session:
        await explain(session)
    await filled.write(gather_statistics)
    async with filled.read() as session:
        await explain(session)
    assert faults == {}


FAR_APART = (
    """
    SELECT pg_restore_relation_stats('schemaname', 'public', 'relname', 'notification', 'relpages', 1::integer,
                                     'reltuples', 5000::real),
           pg_restore_attribute_stats('schemaname', 'public', 'relname', 'notification', 'attname', 'domain_id',
                                      'inherited', false, 'null_frac', 0::real, 'avg_width', 3,
                                      'n_distinct', 1::real, 'correlation', 0::real)
    """,
    "SET LOCAL effective_cache_size = '1MB'",
    "SET LOCAL min_parallel_index_scan_size = 0",
)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_page_is_read_in_the_order_of_its_index_however_far_apart_its_rows_may_be(
    filled: Database, kept: list[tuple[str, str | None, Sequence[Any]]]
) -> None:
    """Of one domain's millions, of which memory has room for few: PostgreSQL does not know how long a page is."""
    for bounds in PAGES.values():
        await _kept_list(DOMAIN, bounds)(filled)
    async with filled.read() as session:
        connection = await session.connection()
        for statement in FAR_APART:
            await connection.exec_driver_sql(statement)
        plans = [await _kept_plan(session, text, parameters, may_sort=True) for text, _, parameters in kept]
    assert len(plans) == 5  # the pages, and what is beyond the edges of two
    assert [explaining.faults(plan, Case(call=_nothing)) for plan in plans] == [[]] * 5, plans
    assert "Gather" not in str(plans)


async def test_rows_that_are_named_are_read_by_their_ids(
    filled: Database, kept: list[tuple[str, str | None, Sequence[Any]]]
) -> None:
    """However many an inbox has: of which, the plan does not know."""
    await _kept_list(USER, PAGES["first"], notification_ids=("notification-11", "notification-12"))(filled)
    by_id = "sqlite_autoindex_notification_1" if filled.is_sqlite else "notification_notification_id_key"
    for text, _, parameters in kept:
        async with filled.read() as session:
            plan = await _kept_plan(session, text, parameters, may_sort=True)
        assert any(by_id in line for line in plan), plan
        assert not any("notification_by_user" in line for line in plan), plan


def _but_leads(kept: list[tuple[str, str | None, Sequence[Any]]]) -> list[tuple[str, str | None, Sequence[Any]]]:
    """Without what tells first whether a text is rare."""
    return [each for each in kept if each[1] != "content_search" and "pg_stats" not in each[0]]


@pytest.mark.parametrize("page", PAGES)
async def test_a_search_begins_with_the_first_rows_of_its_list_on_the_event_loop(
    filled: Database, page: str, kept: list[tuple[str, str | None, Sequence[Any]]]
) -> None:
    for name, (scope, wanted, index) in LISTS.items():
        if not wanted.keys() & {"is_read"}:  # which is checked of them
            kept.clear()
            await _kept_list(scope, PAGES[page], question=Question(keyword="said"), **wanted)(filled)
            (text, said, parameters), *others = _but_leads(kept)
            async with filled.read() as session:
                plan = await _kept_plan(session, text, parameters)
            assert said == index, name
            assert any(index in line for line in plan) or not filled.is_sqlite, plan
            assert explaining.faults(plan, Case(call=_nothing, sorts=FOUND)) == [], plan
            assert [index for _, index, _ in others] == [None] * len(others)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({"is_read": True}, "notification_by_user"),
        ({"topics": ["a", "b"]}, "notification_by_user"),
        ({"notification_types": [NotificationType.INFO]}, "notification_by_user"),
        ({"notification_levels": [NotificationLevel.LV1], "is_read": False}, "notification_unread"),
        ({"question": Question(keyword="ab")}, "notification_by_user"),
    ],
    ids=["read", "topic", "type", "unread of a level", "two letters"],
)
async def test_what_is_checked_of_rows_is_checked_of_the_first_ones_on_the_event_loop(
    filled: Database, wanted: dict[str, Any], index: str, kept: list[tuple[str, str | None, Sequence[Any]]]
) -> None:
    """On SQLite. On PostgreSQL a second read costs more than it saves."""
    await _kept_list(USER, **wanted)(filled)

    (text, said, parameters), *_ = kept
    assert said == (index if filled.is_sqlite else None)
    if filled.is_sqlite:
        async with filled.read() as session:
            plan = await _kept_plan(session, text, parameters)
        assert explaining.faults(plan, Case(call=_nothing, sorts=FOUND)) == [], plan
        assert any(index in line for line in plan), plan


async def test_of_a_rare_topic_the_rest_is_asked_of_the_index_of_texts(
    filled: Database, kept: list[tuple[str, str | None, Sequence[Any]]]
) -> None:
    """If there is a rest: a user has none."""
    for scope, index in ((USER, "notification_by_user"), (DOMAIN, "notification_by_domain")):
        kept.clear()
        await _kept_list(scope, topics=["topic.that.nobody.has"])(filled)

        (_, said, _), *others = kept
        assert said == index
        is_asked = any("content_search" in text or "pg_stats" in text for text, _, _ in others)
        assert is_asked is (scope is DOMAIN)


OF_CONTENTS = ("notification_by_content (content_id=?",)
BY_INBOX = (
    *("SEARCH inbox ", "SEARCH notification USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)", "UNION ALL"),
    *("SEARCH inbox ", "USING COVERING INDEX notification_by_content (content_id=? AND user_id=?)"),
)


@pytest.mark.parametrize(
    ("scope", "last", "led"), [(USER, "notification_by_content", BY_INBOX), (DOMAIN, None, OF_CONTENTS)]
)
async def test_what_is_rare_is_looked_up_on_the_event_loop(
    filled: Database,
    scope: Scope,
    last: str | None,
    led: Sequence[str],
    kept: list[tuple[str, str | None, Sequence[Any]]],
) -> None:
    """On SQLite, up to the few contents that have it, and further where each has a row of the user's and no more.

    Or where the user's inbox is short: it says so before any row is read.
    """
    await _kept_list(scope, question=Question(keyword="word1241"))(filled)

    if filled.is_sqlite:
        assert [index for _, index, _ in kept] == ["content_search", last]
        async with filled.read() as session:
            plans = [await _kept_plan(session, text, parameters) for text, _, parameters in kept]
        assert [explaining.faults(plan, Case(call=_nothing, sorts=FOUND)) for plan in plans] == [[], []], plans
        assert re.search(".*".join(map(re.escape, led)), " ".join(plans[1])), plans[1]


async def test_the_next_changes_of_many_inboxes_are_read_from_indexes(
    filled: Database, kept: list[tuple[str, str | None, Sequence[Any]]]
) -> None:
    """Both on SQLite's event loop: the changes, and what was said by them."""
    assert (await lines.after(filled, {1: 0, 2: 0}, limit=200)).of(1)

    assert len(kept) == 2
    async with filled.read() as session:
        plans = [await _kept_plan(session, text, parameters) for text, _, parameters in kept]
    assert [explaining.faults(plan, Case(call=_nothing)) for plan in plans] == [[], []], plans
    # From the position on: an inbox may have had thousands of changes before.
    led = r"SEARCH change .*inbox_id=\? AND seq>" if filled.is_sqlite else r"Index Cond: .*inbox_id = .* AND \(seq >"
    assert any(re.search(led, line) for line in plans[0]), plans[0]


async def _nothing(_session: AsyncSession) -> None:
    pass


@pytest.mark.parametrize("name", UNBOUNDED)
async def test_what_may_have_to_pass_over_rows_is_not_read_on_the_event_loop(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kept: list[tuple[str, str | None, Sequence[Any]]],
) -> None:
    monkeypatch.setattr(search_index, "FEW", 0)  # nothing is rare
    await UNBOUNDED[name](database)

    assert {index for _, index, _ in _but_leads(kept)} == {None}
