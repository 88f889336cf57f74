"""Events told at once, off rows of text: byte for byte what graphql-core answers for them, on both engines."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import orjson
import pytest

import schema
from resolvers import inboxes
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.cursors import BEGINNING, for_stream
from schema.context import Context
from schema.execution import Schema
from schema.http import Via
from storage import added_rows
from tests.resolvers.callers import ADMIN, ALICE
from tests.resolvers.said import inside, log_protocol, outside, say, say_to_project
from tests.schema import test_projection
from tests.schema.test_projection import CREATED, FRAGMENTS, ORDINARY

DEADLINE_S = 20
API = schema.build()
DECISIONS = "decisions { __typename channelId protocolId decision reason detail deferUntil }"
EVERYTHING = test_projection.EVERYTHING.replace(DECISIONS, "")
FEED = test_projection.FEED.replace("decisions { decision }", "message createdAt cursor projectId userId")
ODD = {"title": 'ä\u2028\u007f\U0001f600"\\', "n": [1.5, -0.0, 10**18, None, True], "tags": {"": {}}}


class Outlet:
    def __init__(self) -> None:
        self.told: list[bytes] = []
        self.come = asyncio.Event()

    def push(self, payload: bytes) -> bool:
        self.told.append(payload)
        self.come.set()
        return True


@pytest.fixture
async def after(server: Server) -> str:
    """The cursor before changes of all kinds, of which none is left out."""
    await inside(server, "alice")
    await outside(server, await log_protocol(server))
    first = (await say(server, message=ODD)).notification_id
    await say_to_project(server, message=ODD)
    await inboxes.set_read(server, ALICE, notification_ids=[first], is_read=True, origin_id='"tab"')
    state = await inboxes.mine(server, ALICE)
    assert state is not None
    await inboxes.mark_seen(server, ALICE, up_to=state.cursor, origin_id=None)
    await inboxes.mark_all_read(server, ALICE, up_to=state.cursor, origin_id=None)
    gone = (await say(server)).notification_id
    await inboxes.delete(server, ALICE, notification_ids=[gone], origin_id="tab")
    return for_stream(BEGINNING)


async def _answered(api: Schema, server: Server, caller: Caller, document: str, after: str, count: int) -> list[bytes]:
    stream: Any = await api.stream(document, {"after": after}, context_value=Context(server, caller, Via.WEBSOCKET))
    async with aclosing(stream):
        return [orjson.dumps({"data": (await anext(stream)).data}) for _ in range(count)]


async def _told(server: Server, caller: Caller, document: str, after: str, count: int) -> list[bytes]:
    outlet, context = Outlet(), Context(server, caller, Via.WEBSOCKET)
    stream: Any = await API.stream(document, {"after": after}, context_value=context, root_value=outlet)
    waiting = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(DEADLINE_S):
        while len(outlet.told) < count:
            outlet.come.clear()
            await outlet.come.wait()
    waiting.cancel()
    await asyncio.wait([waiting])
    return outlet.told


@pytest.mark.parametrize(
    ("document", "caller", "count"),
    [(EVERYTHING, ALICE, 7), (FRAGMENTS, ALICE, 7), (CREATED, ALICE, 2), (FEED, ADMIN, 1)],
)
async def test_what_is_told_is_what_graphql_core_answers(
    server: Server, after: str, document: str, caller: Caller, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = await _answered(ORDINARY, server, caller, document, after, count)
    monkeypatch.setattr(added_rows, "with_values", None)  # nobody calls it

    assert await _told(server, caller, document, after, count) == answered


async def test_what_is_more_than_text_is_told_all_the_same(server: Server, after: str) -> None:
    answered = await _answered(ORDINARY, server, ALICE, test_projection.EVERYTHING, after, 7)

    assert await _told(server, ALICE, test_projection.EVERYTHING, after, 7) == answered
