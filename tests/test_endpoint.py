"""/graphql is answered before the router is asked, and for pages of other hosts as for everyone else."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

import main
from resolvers.access import Role
from tests.client import CREATE
from tests.server import ServerProcess

ORIGIN = "https://app.example"
JSON = {"Content-Type": "application/json"}
UNREAD = "{ inbox { unreadCount } }"


@asynccontextmanager
async def _client(folder: Path, *origins: str) -> AsyncIterator[httpx.AsyncClient]:
    app = main.application(main.Settings(data_dir=folder, allowed_origins=origins))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
        yield client


@pytest.mark.parametrize(
    "content", [b'{"query": "{ __typename }"}', b'{"query": "{ viewer { userId } }"}', b"nonsense"]
)
async def test_a_page_of_an_allowed_origin_reads_answers_and_refusals(tmp_path: Path, content: bytes) -> None:
    async with _client(tmp_path, ORIGIN) as client:
        answer = await client.post("/graphql", content=content, headers={**JSON, "Origin": ORIGIN})
        elsewhere = await client.post("/graphql", content=content, headers={**JSON, "Origin": "https://evil.example"})

    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-origin" not in elsewhere.headers


@pytest.mark.parametrize("spelled", ["HTTPS://App.Example", "https://app.example/", "https://app.example:443"])
async def test_an_allowed_origin_may_be_spelled_as_an_address(tmp_path: Path, spelled: str) -> None:
    async with _client(tmp_path, spelled) as client:
        answer = await client.post("/graphql", json={"query": "{ __typename }"}, headers={"Origin": ORIGIN})

    assert answer.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize(
    "origin",
    ["", "app.example", "null", "https://app.example/page", "https://user@app.example", "https://\u00e4pp.example"],
)
def test_what_no_browser_would_say_is_no_allowed_origin(tmp_path: Path, origin: str) -> None:
    with pytest.raises(ValidationError, match="must be origins such as"):
        main.Settings(data_dir=tmp_path, allowed_origins=("https://good.example", origin))


async def test_a_page_asks_first_and_only_an_allowed_one_is_told_to_go_on(tmp_path: Path) -> None:
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    async with _client(tmp_path, ORIGIN) as client:
        allowed = await client.options("/graphql", headers={**asking, "Origin": ORIGIN})
        refused = await client.options("/graphql", headers={**asking, "Origin": "https://evil.example"})

    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (400, False)


async def test_without_allowed_origins_no_page_of_another_host_is_answered(tmp_path: Path) -> None:
    async with _client(tmp_path) as client:
        answer = await client.post("/graphql", json={"query": "{ __typename }"}, headers={"Origin": ORIGIN})

    assert answer.json() == {"data": {"__typename": "Query"}}
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("path", "status"), [("/graphql", 400), ("/graphql/", 307), ("/graphql/x", 404), ("/graphqlx", 404), ("/", 307)]
)
async def test_only_the_address_itself_is_the_endpoint(tmp_path: Path, path: str, status: int) -> None:
    async with _client(tmp_path) as client:
        answer = await client.get(path)

    assert answer.status_code == status


async def test_what_a_proxy_says_of_the_scheme_is_believed_where_an_address_is_named(tmp_path: Path) -> None:
    async with _client(tmp_path) as client:
        plain = await client.get("/healthz/")
        behind = await client.get("/healthz/", headers={"X-Forwarded-Proto": "https"})

    assert (plain.headers["location"], behind.headers["location"]) == ("http://here/healthz", "https://here/healthz")


async def test_what_is_planned_is_conditional_too(live: ServerProcess) -> None:
    domain = uuid.uuid4().hex
    admin, user = live.client("admin", Role.DOMAIN_ADMIN, domain), live.client("user", Role.USER, domain)
    for _ in range(3):  # by then the document is kept
        await user.ask(UNREAD)

    async with httpx.AsyncClient(base_url=live.url, headers=user.headers, trust_env=False) as client:
        first = await client.get("/graphql", params={"query": UNREAD})
        tag = {"If-None-Match": first.headers["etag"]}
        unchanged = await client.get("/graphql", params={"query": UNREAD}, headers=tag)
        await admin.create("identity.User", "user")
        changed = await client.get("/graphql", params={"query": UNREAD}, headers=tag)

    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert (first.json()["data"], changed.json()["data"]) == (
        {"inbox": {"unreadCount": 0}},
        {"inbox": {"unreadCount": 1}},
    )


async def test_a_mutation_by_get_is_refused_though_it_is_planned(live: ServerProcess) -> None:
    domain = uuid.uuid4().hex
    admin, user = live.client("admin", Role.DOMAIN_ADMIN, domain), live.client("user", Role.USER, domain)
    for _ in range(3):
        await admin.create("identity.User", "user")
    asked = {"resourceType": "identity.User", "resourceId": "user", "topic": "a.topic", "message": {"title": "A"}}

    async with httpx.AsyncClient(base_url=live.url, headers=admin.headers, trust_env=False) as client:
        answer = await client.get("/graphql", params={"query": CREATE, "variables": json.dumps({"input": asked})})

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert await user.ask(UNREAD) == {"inbox": {"unreadCount": 3}}
