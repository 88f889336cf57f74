"""docs/persisted.md says what is so: its requests are answered as it tells, and its codes are the code's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from resolvers import access
from resolvers.context import Server
from schema import build
from schema.documents import PersistedQueryNotFound, PersistedQueryNotInList, Trusted
from tests.resolvers.callers import ALICE
from tests.resolvers.said import say
from tests.schema import world as worlds
from tests.schema.world import SIGNING_KEY, World

PAGE = (Path(__file__).parent.parent.parent / "docs" / "persisted.md").read_text()
HASH, WITH_HASH, FILE, BY_ID = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
UNREAD = {"data": {"inbox": {"unreadCount": 1}}}

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def _ask(world: World, asked: object) -> Any:
    token = access.issue(SIGNING_KEY, ALICE)
    answer = await world.http.post("/graphql", json=asked, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    return answer.json()


def _code(answer: Any) -> str:
    [error] = answer["errors"]
    code: str = error["extensions"]["code"]
    assert f"| `{code}` |" in PAGE
    return code


async def test_a_document_is_known_by_its_hash_as_the_page_tells(server: Server) -> None:
    await say(server)
    async with worlds.opened(server, {}, api=build()) as world:
        assert _code(await _ask(world, HASH)) == PersistedQueryNotFound.code
        assert await _ask(world, WITH_HASH) == UNREAD
        assert await _ask(world, HASH) == UNREAD


@pytest.mark.parametrize("only", [False, True])
async def test_a_trusted_document_is_known_by_its_id_as_the_page_tells(server: Server, only: bool) -> None:
    await say(server)
    async with worlds.opened(server, {}, api=build(Trusted(FILE, only=only))) as world:
        assert await _ask(world, HASH) == UNREAD
        assert await _ask(world, {"documentId": "unread"}) == UNREAD
        [node] = (await _ask(world, BY_ID))["data"]["notifications"]["nodes"]
        assert node["topic"] == "monitoring.Alert"

        other = await _ask(world, {"query": "{ viewer { userId } }"})
        assert (_code(other) == PersistedQueryNotInList.code) if only else (other["data"] is not None)
