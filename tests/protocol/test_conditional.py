"""A GET can be repeated for nothing: what has not changed is 304, and nothing else ever is."""

from __future__ import annotations

import httpx
import pytest

from tests.protocol.conftest import DEADLINE_S, Served
from tests.protocol.test_http import GRAPHQL, JSON

HELLO = "{ hello }"
KEPT = "private, no-cache"
VARY = "Authorization, Accept"


def _get(server: Served, query: str = HELLO, **headers: str) -> httpx.Response:
    given = {"Accept": JSON} | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(server.url, params={"query": query}, headers=given, timeout=DEADLINE_S)


def test_a_query_by_get_has_a_tag_of_what_it_says(server: Served) -> None:
    first, again, other = _get(server), _get(server), _get(server, "{ via }")

    assert first.headers["etag"].startswith('"')
    assert first.headers["etag"] == again.headers["etag"] != other.headers["etag"]
    assert (first.headers["cache-control"], first.headers["vary"]) == (KEPT, VARY)


@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
@pytest.mark.parametrize("given", ["{tag}", "W/{tag}", '"another", {tag}', 'W/"a" ,W/{tag}', "*"])
def test_who_has_the_answer_gets_304_without_a_body(server: Served, accept: str, given: str) -> None:
    tag = _get(server, Accept=accept).headers["etag"]

    answer = _get(server, Accept=accept, If_None_Match=given.format(tag=tag))

    assert (answer.status_code, answer.content) == (304, b"")
    assert {name: answer.headers[name] for name in ("etag", "cache-control", "vary")} == {
        "etag": tag,
        "cache-control": KEPT,
        "vary": VARY,
    }
    assert "content-type" not in answer.headers


@pytest.mark.parametrize("given", ['"another"', 'W/"another"', "", "nonsense", '"', "{bare}"])
def test_who_has_something_else_gets_the_answer(server: Served, given: str) -> None:
    tag = _get(server).headers["etag"]

    answer = _get(server, If_None_Match=given.format(bare=tag.strip('"')))

    assert (answer.status_code, answer.json()) == (200, {"data": {"hello": "world"}})
    assert answer.headers["etag"] == tag


def test_the_tag_is_that_of_the_callers_own_answer(server: Served) -> None:
    mine = _get(server, "{ authorization }", Authorization="Bearer mine").headers["etag"]

    theirs = _get(server, "{ authorization }", Authorization="Bearer theirs", If_None_Match=mine)

    assert theirs.json() == {"data": {"authorization": "Bearer theirs"}}


@pytest.mark.parametrize("query", ["{ missing hello }", "{ brokenRequired }", "{ nothing }", "{"])
def test_what_went_wrong_is_told_anew_each_time(server: Served, query: str) -> None:
    answer = _get(server, query, If_None_Match="*")

    assert answer.json()["errors"]
    assert "etag" not in answer.headers
    assert answer.headers["cache-control"] == KEPT


def test_a_post_is_always_answered(server: Served) -> None:
    tag = _get(server).headers["etag"]

    answer = server.send(b'{"query": "{ hello }"}', Accept=JSON, If_None_Match=tag)

    assert (answer.status_code, answer.json()) == (200, {"data": {"hello": "world"}})
    assert "etag" not in answer.headers


def test_an_unchanged_answer_was_answered_too(server: Served) -> None:
    while not server.seen.events.empty():
        server.seen.events.get()

    _get(server, If_None_Match="*")

    server.seen.wait_for("answered")
