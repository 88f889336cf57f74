"""Lists of notifications, page by page and in any order."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from resolvers import notifications
from resolvers.context import Server
from schema.context import Context
from schema.http import Via
from storage.models import NotificationLevel, NotificationType
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, SERVICE, SYSTEM
from tests.resolvers.said import say
from tests.schema import paths
from tests.schema.asking import ask, refused
from tests.schema.listed import PAGE, page, say_letters, topics

RESUMABLE = "{ notifications(markRead: false) { nodes { notificationId } inbox { cursor } } }"
MISSED = """
    query ($after: Cursor!) {
      inboxChanges(after: $after) { events { ... on NotificationAdded { notification { notificationId } } } }
    }
"""


async def test_a_list_shows_the_inbox_that_it_is_of(server: Server) -> None:
    await say(server, "alice")
    await say(server, "bob")
    one = {"unreadCount": 1, "totalCount": 1}

    assert (await page(server))["inbox"] == one
    assert (await page(server, filter={"userId": "alice"}))["inbox"] == one
    assert (await page(server, ADMIN, filter={"userId": "bob"}))["inbox"] == one
    assert (await page(server, SYSTEM, filter={"userId": "bob", "domainId": "home"}))["inbox"] == one
    assert (await page(server, SYSTEM, filter={"userId": "bob"}))["inbox"] == {"unreadCount": 0, "totalCount": 0}
    assert (await page(server, ADMIN))["inbox"] is None
    assert (await page(server, SERVICE))["inbox"] is None
    assert (await page(server, filter={"userId": "bob"}))["inbox"] is None


@pytest.mark.parametrize("path", [paths.planned, paths.ordinary])
async def test_what_comes_while_a_list_is_read_comes_after_the_cursor_of_its_inbox(
    server: Server, monkeypatch: pytest.MonkeyPatch, path: Any
) -> None:
    await say(server)
    assert paths.keep(RESUMABLE)
    page_alone = notifications.page

    async def page_and_one_more(*given: Any, **named: Any) -> Any:
        listing = await page_alone(*given, **named)
        await say(server)
        return listing

    monkeypatch.setattr(notifications, "page", page_and_one_more)
    answer = await path(Context(server, ALICE, Via.POST), RESUMABLE, {})
    listed = orjson.loads(answer[0] if isinstance(answer, tuple) else answer)["data"]["notifications"]
    assert len(listed["nodes"]) == 1
    missed = (await ask(server, ALICE, MISSED, after=listed["inbox"]["cursor"]))["inboxChanges"]["events"]
    assert len(missed) == 1


async def test_pages_are_walked_both_ways_by_the_cursors_of_edges(server: Server, clock: Clock) -> None:
    await say_letters(server, clock, "abcde")

    first = await page(server, first=2)
    second = await page(server, first=2, after=first["edges"][1]["cursor"])
    third = await page(server, first=2, after=second["edges"][1]["cursor"])
    assert [topics(first), topics(second), topics(third)] == [["e", "d"], ["c", "b"], ["a"]]
    assert [shown["pageInfo"]["hasNextPage"] for shown in (first, second, third)] == [True, True, False]
    assert [shown["pageInfo"]["hasPreviousPage"] for shown in (first, second, third)] == [False, True, True]

    last = await page(server, last=2)
    before = await page(server, last=2, before=last["edges"][0]["cursor"])
    assert [topics(last), topics(before)] == [["b", "a"], ["d", "c"]]
    assert [shown["pageInfo"]["hasPreviousPage"] for shown in (last, before)] == [True, True]
    assert [shown["pageInfo"]["hasNextPage"] for shown in (last, before)] == [False, True]

    between = await page(server, after=first["edges"][0]["cursor"], before=third["edges"][0]["cursor"])
    assert topics(between) == ["d", "c", "b"]


async def test_a_page_shows_its_rows_twice_and_where_it_begins_and_ends(server: Server, clock: Clock) -> None:
    await say_letters(server, clock, "abc")

    shown = await page(server)

    assert [node["topic"] for node in shown["nodes"]] == topics(shown) == ["c", "b", "a"]
    assert shown["pageInfo"]["startCursor"] == shown["edges"][0]["cursor"]
    assert shown["pageInfo"]["endCursor"] == shown["edges"][2]["cursor"]
    assert len({edge["cursor"] for edge in shown["edges"]}) == 3


async def test_an_empty_page_has_no_cursors_and_still_counts(server: Server, clock: Clock) -> None:
    await say_letters(server, clock, "ab")

    shown = await page(server, first=0)

    assert (shown["edges"], shown["totalCount"]) == ([], 2)
    assert shown["pageInfo"] == {
        "hasNextPage": True,
        "hasPreviousPage": False,
        "startCursor": None,
        "endCursor": None,
    }


async def test_the_total_counts_what_the_filter_takes_on_every_page(server: Server, clock: Clock) -> None:
    await say_letters(server, clock, "aabab")
    first = await page(server, filter={"topics": ["a"]}, first=1)
    rest = await page(server, filter={"topics": ["a"]}, after=first["edges"][0]["cursor"])

    assert (first["totalCount"], rest["totalCount"], topics(rest)) == (3, 3, ["a", "a"])


SAID = [  # topic, type, level: oldest first
    ("b", NotificationType.INFO, NotificationLevel.LV2),
    ("a", NotificationType.WARNING, NotificationLevel.LV1),
    ("c", NotificationType.INFO, NotificationLevel.ALL),
    ("a", NotificationType.ERROR, NotificationLevel.LV1),
]
ORDERS = {
    "CREATED_AT ASC": ["b", "a", "c", "a"],
    "CREATED_AT DESC": ["a", "c", "a", "b"],
    "TOPIC ASC, CREATED_AT ASC": ["a", "a", "b", "c"],
    "TOPIC DESC, CREATED_AT ASC": ["c", "b", "a", "a"],
    "TYPE ASC, CREATED_AT ASC": ["a", "b", "c", "a"],
    "LEVEL DESC, TYPE ASC": ["b", "a", "a", "c"],
}


@pytest.mark.parametrize("spelled", ORDERS)
async def test_an_order_holds_over_pages(server: Server, clock: Clock, spelled: str) -> None:
    for topic, type_, level in SAID:
        await say(server, "alice", topic=topic, notification_type=type_, notification_level=level)
        clock.advance(minutes=1)
    order = [dict(zip(("field", "direction"), part.split(), strict=True)) for part in spelled.split(", ")]

    walked: list[str] = []
    after = None
    for _ in SAID:
        shown = await page(server, orderBy=order, first=1, after=after)
        walked += topics(shown)
        after = shown["pageInfo"]["endCursor"]

    assert topics(await page(server, orderBy=order)) == walked == ORDERS[spelled]
    assert not shown["pageInfo"]["hasNextPage"]


async def test_a_direction_that_is_not_given_is_descending(server: Server, clock: Clock) -> None:
    await say_letters(server, clock, "acb")

    assert topics(await page(server, orderBy=[{"field": "TOPIC"}])) == ["c", "b", "a"]


async def test_a_cursor_is_of_one_order_only(server: Server, clock: Clock) -> None:
    await say_letters(server, clock, "ab")
    cursor = (await page(server))["pageInfo"]["startCursor"]

    wrong = {"orderBy": [{"field": "TOPIC"}], "after": cursor}
    assert await refused(server, ALICE, PAGE, **wrong) == ("INVALID_ARGUMENT", "after")
    streams = (await ask(server, ALICE, "{ inbox { cursor } }"))["inbox"]["cursor"]
    assert await refused(server, ALICE, PAGE, after=streams) == ("INVALID_ARGUMENT", "after")
