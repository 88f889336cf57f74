"""Clients without websockets lose nothing either: event streams that are resumed, and asking again and again."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx

import main
from resolvers.access import Role
from tests import event_stream
from tests.client import Client, eventually
from tests.event_stream import EventStream
from tests.server import ServerProcess

CHANGED = """
    subscription ($after: Cursor) {
      inboxChanged(after: $after) {
        __typename cursor unreadCount ... on NotificationAdded { notification { notificationId } }
      }
    }
"""
CREATED = "subscription ($after: Cursor) { notificationCreated(after: $after) { cursor } }"
CHANGES = """
    query ($after: Cursor!) {
      inboxChanges(after: $after) {
        events { __typename ... on NotificationAdded { notification { isRead } } } cursor hasMore
      }
    }
"""
CURSOR = "{ inbox { cursor unreadCount } }"
REVOKE = 'mutation { revokeTokens(userId: "user") { revokedAt } }'


def _people(server: ServerProcess) -> tuple[Client, Client]:
    domain = uuid.uuid4().hex
    return server.client("admin", Role.DOMAIN_ADMIN, domain), server.client("user", Role.USER, domain)


def _stream(
    user: Client, query: str = CHANGED, *, method: str = "POST", **variables: object
) -> AbstractContextManager[EventStream]:
    return event_stream.opened(user.url, query, token=f"Bearer {user.token}", method=method, **variables)


def _change(stream: EventStream) -> Any:
    return stream.result()["data"]["inboxChanged"]


async def _said(admin: Client) -> str:
    return str((await admin.create("identity.User", "user"))["notification"]["notificationId"])


async def _cursor(user: Client) -> str:
    return str((await user.ask(CURSOR))["inbox"]["cursor"])


def _poll(user: Client, after: str, tag: str = "") -> httpx.Response:
    """What a client asks that has the answer of this tag."""
    asked = {"query": CHANGES, "variables": json.dumps({"after": after})}
    with httpx.Client(trust_env=False, verify=False) as client:
        return client.get(f"{user.url}/graphql", params=asked, headers={**user.headers, "If-None-Match": tag})


async def test_an_event_stream_brings_what_was_missed_and_then_what_is_new_each_once(live: ServerProcess) -> None:
    admin, user = _people(live)
    before = await _cursor(user)
    said = [await _said(admin) for _ in range(3)]

    with _stream(user, method="GET", after=before) as stream:
        first, second = _change(stream), _change(stream)
    with _stream(user, after=second["cursor"]) as stream:  # it left, and comes back
        third = _change(stream)
        assert _change(stream)["__typename"] == "InboxSynced"
        said.append(await _said(admin))
        fourth = _change(stream)

    seen = (first, second, third, fourth)
    assert [added["notification"]["notificationId"] for added in seen] == said
    assert [added["unreadCount"] for added in seen] == [1, 2, 3, 4]


async def test_a_revoked_token_ends_its_event_stream(live: ServerProcess) -> None:
    admin, user = _people(live)
    with _stream(user) as stream:
        assert _change(stream)["__typename"] == "InboxSynced"

        await admin.ask(REVOKE)

        (_, result), complete = stream.rest()
    [error] = result["errors"]
    assert (error["message"], error["extensions"]["code"]) == ("The token was revoked.", "UNAUTHENTICATED")
    assert complete == ("complete", None)


async def test_asking_again_costs_no_answer_until_something_happens(live: ServerProcess) -> None:
    admin, user = _people(live)
    await _said(admin)
    cursor = await _cursor(user)
    nothing = _poll(user, cursor)
    assert nothing.json()["data"]["inboxChanges"] == {"events": [], "cursor": cursor, "hasMore": False}

    unchanged = _poll(user, cursor, nothing.headers["etag"])
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    await _said(admin)
    changed = _poll(user, cursor, nothing.headers["etag"])

    assert (changed.status_code, changed.headers["cache-control"]) == (200, "private, no-cache")
    page = changed.json()["data"]["inboxChanges"]
    assert page["events"] == [{"__typename": "NotificationAdded", "notification": {"isRead": False}}]
    assert _poll(user, cursor, changed.headers["etag"]).status_code == 304  # who asks this way has read nothing
    assert _poll(user, page["cursor"]).json()["data"]["inboxChanges"]["events"] == []
    assert (await user.ask(CURSOR))["inbox"]["unreadCount"] == 2


async def test_who_comes_back_goes_on_or_is_told_to_begin_anew(serve: Callable[..., ServerProcess]) -> None:
    server = serve(log_keep_changes="2")
    admin, user = _people(server)
    before = await _cursor(user)
    said = [await _said(admin) for _ in range(4)]
    kept = _poll(user, before)
    assert len(kept.json()["data"]["inboxChanges"]["events"]) == len(said)
    with _stream(user, after=before) as stream:
        *_, last, _ = [_change(stream) for _ in range(len(said) + 1)]
        assert server.terminate() == 0
        assert stream.rest() == []  # not completed: it is to be resumed
    server.start()  # it prunes the log
    said.append(await _said(admin))

    with _stream(user, after=last["cursor"]) as stream:
        assert _change(stream)["notification"]["notificationId"] == said[-1]
    page = await eventually(lambda: _page(user, before), lambda page: len(page["events"]) == 1)

    assert page["events"] == [{"__typename": "InboxReset"}]
    with _stream(user, after=before) as stream:
        reset = _change(stream)
    assert (reset["__typename"], reset["unreadCount"], reset["cursor"]) == ("InboxReset", len(said), page["cursor"])
    with _stream(user, CREATED, after=before) as stream:
        (_, result), complete = stream.rest()
    assert (result["errors"][0]["extensions"]["code"], complete) == ("CURSOR_EXPIRED", ("complete", None))
    assert _poll(user, before, kept.headers["etag"]).status_code == 200


async def _page(user: Client, after: str) -> Any:
    return _poll(user, after).json()["data"]["inboxChanges"]


async def test_a_page_of_an_allowed_origin_may_ask_conditionally_and_read_the_tag(tmp_path: Path) -> None:
    app = main.application(main.Settings(data_dir=tmp_path, allowed_origins=("https://app.example",)))
    origin = {"Origin": "https://app.example"}
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization, if-none-match"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
        allowed = await client.options("/graphql", headers={**origin, **asked})
        answer = await client.get("/graphql", params={"query": "{ __typename }"}, headers=origin)

    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "https://app.example")
    assert "etag" in answer.headers["access-control-expose-headers"]
    assert answer.headers["etag"]
    assert answer.headers["vary"] == "Authorization, Accept, Origin"
