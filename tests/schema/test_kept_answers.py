"""An answer that was kept is the one that would be given anew, after every change, whoever made it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import product
from typing import Any

import httpx
import orjson
import pytest
from graphql import parse

from benchmarks.http import operations as hot
from resolvers import inboxes, notifications, retention, revocations
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import Unavailable
from resolvers.paging import Window
from resolvers.retention import Keep
from schema import build, limits
from schema.asked import Asked
from schema.context import Context
from schema.documents import Document
from schema.execution import Schema
from schema.http import GraphQLApp, Via
from schema.planned import kept_answers
from storage.engine import Database
from storage.notification_filters import Filter
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, BOB, SERVICE
from tests.resolvers.said import inside, say, say_to_project
from tests.schema import paths

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ROOM = 1_000_000
FIELDS = """
    __typename id notificationId parentNotificationId topic message notificationType notificationLevel
    isRead readAt userId projectId domainId createdAt cursor
"""
EVERYTHING = f"""
    query Everything($first: Int, $isRead: Boolean, $after: Cursor) {{
      inbox {{ unreadCount unseenCount totalCount cursor }}
      notifications(first: $first, after: $after, filter: {{isRead: $isRead}}, markRead: false) {{
        nodes {{ {FIELDS} }} edges {{ cursor node {{ topic }} }} totalCount inbox {{ unreadCount cursor }}
        pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }}
      }}
      oldest: notifications(last: 1, markRead: false) {{ nodes {{ topic isRead }} }}
    }}
"""


@dataclass
class Keeping:
    """A server that keeps answers. `asked` is how many statements its database was asked meanwhile."""

    server: Server
    schema: Schema = field(default_factory=lambda: build(answers_kept_bytes=ROOM))

    async def ask(
        self,
        text: str,
        values: Mapping[str, Any] | None = None,
        *,
        caller: Caller = ALICE,
        via: Via = Via.POST,
        operation: str | None = None,
    ) -> bytes | None:
        self.schema.documents.keep(text, parse(text, **limits.PARSE_OPTIONS))  # type: ignore[arg-type]
        asked = Asked(text, dict(values or {}), operation)
        document = self.schema.documents.of(asked)
        assert isinstance(document, Document)
        context = Context(self.server, caller, via)
        answer = await document.planned(asked, context)
        await context.answered()
        return answer

    async def is_kept(self, text: str, values: Mapping[str, Any] | None = None, **how: Any) -> bool:
        """Whether the same question, asked again and again, is answered with nothing but the number of the inbox."""
        first = await self.ask(text, values, **how)
        await self.ask(text, values, **how)
        with _reads(self.server.database) as kinds:
            again = await self.ask(text, values, **how)
        assert first is not None
        return again == first and kinds == ["inbox"]


@contextmanager
def _reads(database: Database) -> Iterator[list[str]]:
    """Which table each kept statement that is asked meanwhile begins with."""
    asked: list[str] = []
    rows = database.rows

    async def noted(kind: Any, given: Any, fixed: Any = None) -> list[Any]:
        statement = database._kept.of(kind, given, fixed).statement.text
        asked.append(statement.partition("FROM ")[2].split()[0])
        return await rows(kind, given, fixed)

    database.rows = noted  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        database.rows = rows  # type: ignore[method-assign]


@pytest.fixture
def keeping(server: Server) -> Keeping:
    return Keeping(server)


@pytest.fixture
async def elsewhere(server: Server) -> AsyncIterator[Server]:
    """Another process on the same database."""
    database = Database(server.database.url.render_as_string(hide_password=False))
    await database.open()
    yield replace(server, database=database)
    await database.close()


# After every change


async def _ids(server: Server) -> list[str]:
    listing = await notifications.page(server, ALICE, Filter(), domain_id=None, order_by=[], window=Window())
    return [row.notification_id for row in listing.page.rows]


async def _head(server: Server) -> str:
    return (await inboxes.of(server, inboxes.own(ALICE))).cursor


async def _sweep(server: Server) -> None:
    keep = Keep(notification_age=timedelta(hours=1))
    while await retention.sweep(server, keep):
        pass


async def _read(server: Server, *, is_read: bool = True, caller: Caller = ALICE) -> None:
    ids = (await _ids(server))[:2]
    await inboxes.set_read(server, caller, notification_ids=ids, is_read=is_read, origin_id=None)


async def _read_all(server: Server) -> None:
    await inboxes.mark_all_read(server, ALICE, up_to=await _head(server), origin_id=None)


async def _see(server: Server) -> None:
    await inboxes.mark_seen(server, ALICE, up_to=await _head(server), origin_id=None)


async def _delete(server: Server, caller: Caller = ALICE) -> None:
    ids = (await _ids(server))[1:2]
    await inboxes.delete(server, caller, notification_ids=ids, origin_id=None)


async def _empty(server: Server, caller: Caller = ALICE, users: list[str] | None = None) -> None:
    await inboxes.delete_all(server, caller, users=users, up_to=None, domain_id=None, origin_id=None)


CHANGES: Mapping[str, Callable[[Server], Awaitable[Any]]] = {
    "a create": say,
    "a create with another topic": lambda server: say(server, topic="other", message={"title": "ünïcode 🔔"}),
    "a project's create": say_to_project,
    "a domain's create": lambda server: say(server, "home", resource_type="identity.Domain", caller=ADMIN),
    "somebody else's create": lambda server: say(server, "bob"),
    "read": _read,
    "unread": lambda server: _read(server, is_read=False),
    "read by an administrator": lambda server: _read(server, caller=ADMIN),
    "seen": _see,
    "more": say,
    "all read": _read_all,
    "deleted": _delete,
    "deleted by an administrator": lambda server: _delete(server, ADMIN),
    "emptied by an administrator": lambda server: _empty(server, ADMIN, ["alice"]),
    "said again": say,
    "emptied": _empty,
    "and again": say,
    "aged": _sweep,
    "a last one": say,
}
VALUES: list[dict[str, Any]] = [{"first": 1}, {"first": 20}, {"first": 20, "isRead": False}, {"isRead": True}]


async def test_after_every_change_a_kept_answer_is_the_one_that_is_given_anew(
    server: Server, elsewhere: Server, keeping: Keeping, clock: Clock
) -> None:
    await inside(server, "alice", "bob")
    await say(server)
    assert paths.keep(EVERYTHING)

    for maker, (name, change) in product((server, elsewhere), CHANGES.items()):
        clock.advance(minutes=90 if name == "aged" else 1)
        before = [await keeping.ask(EVERYTHING, values) for values in VALUES]
        await change(maker)
        for _ in range(3):
            after = [await keeping.ask(EVERYTHING, values) for values in VALUES]
            anew = [await paths.planned(Context(server, ALICE, Via.POST), EVERYTHING, values) for values in VALUES]
            assert after == anew, name
            assert None not in after
        assert (before == after) == (name == "somebody else's create"), name
        assert await keeping.is_kept(EVERYTHING, VALUES[1]), name


async def test_a_change_between_the_number_and_the_rows_is_not_kept_as_what_was_before(
    server: Server, elsewhere: Server, keeping: Keeping
) -> None:
    """Such an answer is newer than the number that it is kept under, and that number is gone."""
    assert paths.keep(EVERYTHING)
    await say(server)
    await keeping.ask(EVERYTHING, {"first": 20})
    mine = inboxes.mine

    async def then_changed(*given: Any) -> Any:
        state = await mine(*given)
        await say(elsewhere, topic="meanwhile")
        return state

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inboxes, "mine", then_changed)
        first = await keeping.ask(EVERYTHING, {"first": 20})
    await say(server, topic="later")
    second = await keeping.ask(EVERYTHING, {"first": 20})

    assert first is not None
    assert b"meanwhile" in first
    assert second == await paths.planned(Context(server, ALICE, Via.POST), EVERYTHING, {"first": 20})


async def test_what_becomes_read_by_being_shown_is_marked_each_time(server: Server, keeping: Keeping) -> None:
    await say(server)
    await keeping.ask(hot.LIST, {"first": 20})
    for _ in range(2):
        await say(server)
        by_get = [await keeping.ask(hot.LIST, {"first": 20}, via=Via.GET) for _ in range(3)]
        by_post = [await keeping.ask(hot.LIST, {"first": 20}) for _ in range(3)]

        assert [b'"isRead":false' in (answer or b"") for answer in by_get] == [True, True, True]
        assert [b'"isRead":false' in (answer or b"") for answer in by_post] == [True, False, False]
    assert b'"unreadCount":0' in (await keeping.ask(hot.UNREAD) or b"")


@on_sqlite
async def test_what_was_shown_but_not_marked_yet_is_marked_by_the_next_one(server: Server) -> None:
    await say(server)
    assert paths.keep(hot.LIST)
    for _ in range(3):
        context = Context(server, ALICE, Via.POST)
        assert await paths.planned(context, hot.LIST, {"first": 20}, api=paths.KEEPING)
        assert context.marks


# What is kept, and for whom


@pytest.mark.parametrize(
    ("is_kept", "text"),
    [
        (True, hot.LIST.replace("$first: Int!", "$first: Int = 20")),
        (True, '{ __typename notifications { totalCount __typename } notification(notificationId: "x") { topic } }'),
        (False, "{ notifications { nodes { decisions { reason } } } }"),
        (False, "{ notifications { nodes { topic } } viewer { expiresAt } }"),
        (False, "{ notifications { nodes { topic } } deliveries { nodes { state } } }"),
        (False, "{ notifications(query: {page: {limit: 5}}) { nodes { topic } } }"),
        (False, hot.UNREAD),
        (False, '{ notification(notificationId: "x") { topic } }'),
    ],
)
@on_sqlite
async def test_only_lists_of_the_own_inbox_are_kept(server: Server, keeping: Keeping, is_kept: bool, text: str) -> None:
    await say(server)
    assert await keeping.ask(text) != b""
    await keeping.ask(text)
    with _reads(server.database) as kinds:
        await keeping.ask(text)
    assert (kinds == ["inbox"]) is (is_kept or text == hot.UNREAD)
    assert bool(_kept(keeping)) is is_kept


def _kept(keeping: Keeping) -> int:
    """How many answers are kept."""
    plan: Any = keeping.schema.documents._plan
    [kept] = [
        cell.cell_contents for cell in plan.__closure__ if isinstance(cell.cell_contents, kept_answers.KeptAnswers)
    ]
    return len(kept)


async def test_nobody_is_answered_what_is_another_ones(server: Server, keeping: Keeping) -> None:
    """Other users, the same user of another domain, other roles of the same name, other variables and operations."""
    callers = [
        ALICE,
        BOB,
        replace(ALICE, domain_id="away"),
        replace(ADMIN, user_id="alice"),
        replace(SERVICE, user_id="alice"),
    ]
    for caller in callers:
        await say(server, caller.user_id, caller=replace(SERVICE, domain_id=caller.domain_id))
        await say(
            server, caller.user_id, caller=replace(SERVICE, domain_id=caller.domain_id), topic=str(caller.domain_id)
        )
    two = f"query One {{ notifications(first: 1, markRead: false) {{ nodes {{ {FIELDS} }} }} }} "
    two += f"query Two {{ notifications(last: 1, markRead: false) {{ nodes {{ {FIELDS} }} }} }}"
    asked: list[tuple[str, dict[str, Any], str | None]] = [
        (EVERYTHING, {"first": first}, None) for first in (1, 20)
    ] + [(two, {}, "One"), (two, {}, "Two")]
    other = Keeping(server, build())  # which keeps nothing

    for _ in range(3):
        for caller, (text, values, operation) in product(callers, asked):
            how: dict[str, Any] = {"caller": caller, "operation": operation}
            assert await keeping.ask(text, values, **how) == await other.ask(text, values, **how)
    assert _kept(keeping) == 3 * len(asked)
    assert _kept(other) == 0


@on_sqlite
async def test_a_user_whom_nobody_has_heard_of_is_answered_anew(server: Server, keeping: Keeping) -> None:
    assert not await keeping.is_kept(EVERYTHING)
    assert _kept(keeping) == 0
    await say(server)
    assert b'"totalCount":1' in (await keeping.ask(EVERYTHING) or b"")


@on_sqlite
async def test_a_revoked_token_is_refused_though_its_answer_is_kept(
    server: Server, keeping: Keeping, clock: Clock
) -> None:
    given = replace(ALICE, issued_at=clock())
    await say(server)
    clock.advance(minutes=1)
    assert await keeping.is_kept(EVERYTHING, caller=given)

    await revocations.revoke(server, ADMIN, user_id="alice", domain_id=None)

    assert await keeping.ask(EVERYTHING, caller=given) is None
    assert await keeping.ask(EVERYTHING, caller=replace(given, issued_at=clock() + timedelta(minutes=1)))


@on_sqlite
async def test_no_more_is_kept_than_there_is_room_for(server: Server) -> None:
    await say(server, message={"text": "x" * 1_000})
    text = "{ notifications(markRead: false) { nodes { topic message } } }"
    keeping = Keeping(server, build(answers_kept_bytes=40_000))
    largest = 0
    for number in range(100):
        for _ in range(2):
            assert await keeping.ask(text, {"unused": f"{number:04}"}) is not None
        largest = max(largest, _kept(keeping))
    assert 10 < largest < 40_000 / 1_000
    with _reads(server.database) as kinds:
        await keeping.ask(text, {"unused": "0099"})
        await keeping.ask(text, {"unused": "0000"})
    assert kinds == ["inbox", "notification"]

    small = Keeping(server, build(answers_kept_bytes=10_000))  # of which one answer may take a sixteenth
    assert not await small.is_kept(text)
    assert _kept(small) == 0


@on_sqlite
async def test_what_is_refused_is_left_to_the_ordinary_path_each_time(server: Server, keeping: Keeping) -> None:
    await say(server)
    text = "{ notifications(first: 101, markRead: false) { nodes { topic } } }"
    assert [await keeping.ask(text) for _ in range(3)] == [None] * 3
    assert _kept(keeping) == 0


async def test_one_answer_takes_its_room_once_though_several_ask_for_it_at_once(server: Server) -> None:
    text = "{ notifications(first: 1, markRead: false) { nodes { message } } }"
    keeping = Keeping(server, build(answers_kept_bytes=30_000))
    for _ in range(8):
        await say(server, message={"text": "x" * 1_000})
        for _ in range(3):
            await asyncio.gather(*(keeping.ask(text) for _ in range(8)))
    assert await keeping.is_kept(text)
    assert _kept(keeping) == 1


@on_sqlite
async def test_the_variables_take_room_too(server: Server) -> None:
    await say(server)
    keeping = Keeping(server, build(answers_kept_bytes=40_000))
    for number in range(60):
        for _ in range(2):
            await keeping.ask("{ notifications(markRead: false) { totalCount } }", {str(number): "x" * 1_000})
    assert 10 < _kept(keeping) < 40_000 / (1_000 + kept_answers.ENTRY_BYTES)


@on_sqlite
async def test_what_was_asked_the_longest_ago_makes_room(server: Server) -> None:
    await say(server, message={"text": "x" * 1_000})
    text = "{ notifications(markRead: false) { nodes { topic message } } }"
    keeping = Keeping(server, build(answers_kept_bytes=40_000))
    for number in range(60):
        for _ in range(2):
            await keeping.ask(text, {"unused": number})
        with _reads(server.database) as kinds:
            await keeping.ask(text, {"unused": 0})
        assert kinds == ["inbox"], number


@on_sqlite
async def test_a_server_that_keeps_nothing_reads_no_number(server: Server) -> None:
    await say(server)
    keeping = Keeping(server, build())
    with _reads(server.database) as kinds:
        for _ in range(3):
            await keeping.ask("{ notifications(markRead: false) { nodes { topic } } }")
    assert kinds == ["notification"] * 3


@on_sqlite
async def test_an_answer_is_found_whatever_order_the_variables_come_in(server: Server, keeping: Keeping) -> None:
    await say(server)
    assert await keeping.is_kept(EVERYTHING, {"first": 20, "isRead": False})
    with _reads(server.database) as kinds:
        await keeping.ask(EVERYTHING, {"isRead": False, "first": 20})
    assert kinds == ["inbox"]


@on_sqlite
async def test_where_nobody_says_the_number_it_is_answered_anew(
    server: Server, keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_given: Any) -> Any:
        raise Unavailable("Not now.")

    await say(server)
    text = "{ notifications(markRead: false) { totalCount } }"
    monkeypatch.setattr(inboxes, "mine", fails)
    assert [await keeping.ask(text) for _ in range(3)] == [b'{"data":{"notifications":{"totalCount":1}}}'] * 3
    assert _kept(keeping) == 0


@on_sqlite
async def test_of_variables_that_cannot_be_written_nothing_is_kept(server: Server, keeping: Keeping) -> None:
    text = "{ notifications(markRead: false) { nodes { userId } } }"
    for user in ("alice", "bob"):
        await say(server, user)
    for _ in range(3):
        for caller, unused in product((ALICE, BOB), (2**70, "\ud800")):
            shown = await keeping.ask(text, {"unused": unused}, caller=caller)
            assert shown == b'{"data":{"notifications":{"nodes":[{"userId":"%b"}]}}}' % caller.user_id.encode()
    assert _kept(keeping) == 0


@on_sqlite
async def test_what_is_asked_once_costs_no_number(server: Server, keeping: Keeping) -> None:
    await say(server)
    with _reads(server.database) as kinds:
        await keeping.ask(EVERYTHING, {"first": 20})
    assert kinds == ["inbox", "inbox", "notification", "notification"]  # all of them the answer's own
    assert _kept(keeping) == 0


@on_sqlite
async def test_an_answer_that_was_never_found_begins_anew_when_its_inbox_changes(
    server: Server, keeping: Keeping
) -> None:
    text = hot.LIST.replace("first: $first", "first: $first, markRead: false")
    kept = []
    for _ in range(4):  # one that changes between any two questions
        await say(server)
        await keeping.ask(text, {"first": 20})
        kept.append(_kept(keeping))
    assert kept == [0, 1, 0, 0]

    assert await keeping.is_kept(text, {"first": 20})
    await say(server)
    await keeping.ask(text, {"first": 20})
    assert _kept(keeping) == 1


@on_sqlite
async def test_more_questions_in_turn_than_there_is_room_for_leave_what_is_kept(server: Server) -> None:
    await say(server, message={"text": "x" * 1_000})
    text = "{ notifications(markRead: false) { nodes { topic message } } }"
    keeping = Keeping(server, build(answers_kept_bytes=40_000))
    for _ in range(5):  # a question that displaces another would do so every second time
        with _reads(server.database) as kinds:
            for number in range(60):
                await keeping.ask(text, {"unused": f"{number:04}"})

    found = 60 - kinds.count("notification")
    assert found == _kept(keeping) > 15
    assert len(kinds) == 60  # nor does the number cost anything where there is no room

    for _ in range(2):  # what comes back sooner displaces what does not
        await keeping.ask(text, {"unused": "new"})
    assert await keeping.is_kept(text, {"unused": "new"})


@on_sqlite
async def test_no_more_questions_are_remembered_than_there_is_room_for(
    server: Server, keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_answers, "MAX_ASKED", 10)
    text = "{ notifications(markRead: false) { nodes { topic } } }"
    await say(server)
    for number in range(11):
        await keeping.ask(text, {"unused": number})

    await keeping.ask(text, {"unused": 10})
    assert _kept(keeping) == 1
    await keeping.ask(text, {"unused": 0})  # which the eleventh has displaced
    assert _kept(keeping) == 1
    await keeping.ask(text, {"unused": 1})  # and nothing else
    assert _kept(keeping) == 2


@on_sqlite
async def test_by_get_it_has_the_same_etag_until_the_inbox_changes(
    server: Server, keeping: Keeping, clock: Clock
) -> None:
    await say(server)
    app = GraphQLApp(keeping.schema, open_context=lambda _given, via: Context(server, ALICE, via), ide=lambda _: None)  # type: ignore[arg-type, return-value]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tocsin") as client:

        async def get(etag: str = "") -> httpx.Response:
            return await client.get("/graphql", params={"query": EVERYTHING}, headers={"If-None-Match": etag})

        answers = [await get() for _ in range(4)]
        etag = answers[0].headers["etag"]
        assert {answer.headers["etag"] for answer in answers} == {etag}
        with _reads(server.database) as kinds:
            assert (await get(etag)).status_code == 304
        assert kinds == ["inbox"]

        clock.advance(minutes=1)
        await say(server, topic="new")
        changed = await get(etag)
        assert changed.status_code == 200
        assert orjson.loads(changed.content)["data"]["notifications"]["nodes"][0]["topic"] == "new"


def test_every_field_that_is_kept_is_one_of_the_api() -> None:
    types = paths.PLANNED._schema.type_map
    for name, fields in kept_answers.OF_THE_INBOX.items():
        assert fields <= types[name].fields.keys(), name  # type: ignore[attr-defined]
