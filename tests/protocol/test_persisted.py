"""Documents asked for by their hash or their id, over HTTP and websockets: Apollo's protocol, and trusted documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from schema.documents import Documents, Trusted, digest
from tests.protocol.conftest import AUTHORIZATION, DEADLINE_S, Client, Served, serve

GRAPHQL = "application/graphql-response+json"
HASH = "extensions.persistedQuery"
LISTED, LISTED_ID = "query Listed { hello }", "sha1-of-a-build"


@pytest.fixture(scope="module")
def _trusting() -> Iterator[Served]:
    with serve() as served:
        served.app.schema.documents = Documents(Trusted({LISTED_ID: LISTED}, only=True))
        yield served


@pytest.fixture
def trusting(_trusting: Served) -> Served:
    """A server that runs the one document that it lists, and nothing else."""
    return _trusting


def _persisted(text: str, **more: object) -> dict[str, object]:
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest(text)}}, **more}


def _post(server: Served, **asked: object) -> httpx.Response:
    return server.send(json.dumps(asked).encode(), Accept=GRAPHQL, Authorization=AUTHORIZATION)


def _get(server: Served, **asked: object) -> httpx.Response:
    spelled = {name: value if isinstance(value, str) else json.dumps(value) for name, value in asked.items()}
    headers = {"Accept": GRAPHQL, "Authorization": AUTHORIZATION}
    return httpx.get(f"{server.url}?{urlencode(spelled)}", headers=headers, timeout=DEADLINE_S)


def _refused(answer: httpx.Response) -> tuple[int, str, str | None]:
    """The status, the code and the field."""
    assert answer.json().keys() == {"errors"}
    [error] = answer.json()["errors"]
    return answer.status_code, error["extensions"]["code"], error["extensions"].get("field")


def _ask(client: Client, **payload: object) -> Any:
    """The first message that an operation is answered with: its data, or its error's code and field."""
    client.send({"type": "subscribe", "id": "1", "payload": payload})
    message = client.receive()
    if message["type"] == "error":
        [error] = message["payload"]
        return error["extensions"]
    assert client.receive()["type"] == "complete"
    return message["payload"]["data"]


def _documents(name: str) -> tuple[str, dict[str, Any]]:
    """A document that no other test asks for, and its answer."""
    return f"query {name} {{ hello }}", {"data": {"hello": "world"}}


# Automatic persisted queries


@pytest.mark.parametrize("ask", [_post, _get])
def test_a_document_is_known_by_its_hash_once_it_was_sent_with_it(server: Served, ask: Any) -> None:
    text, answer = _documents(f"Known{ask.__name__}")

    unknown = ask(server, **_persisted(text))
    assert _refused(unknown) == (200, "PERSISTED_QUERY_NOT_FOUND", HASH)
    assert unknown.json()["errors"][0]["message"] == "PersistedQueryNotFound"

    assert ask(server, query=text, **_persisted(text)).json() == answer
    for ask_again in (_post, _get):
        assert ask_again(server, **_persisted(text)).json() == answer


def test_it_is_known_over_websockets_as_over_http(server: Served) -> None:
    text, answer = _documents("Sockets")

    with server.socket() as client:
        assert _ask(client, **_persisted(text)) == {"code": "PERSISTED_QUERY_NOT_FOUND", "field": HASH}
        assert _ask(client, query=text, **_persisted(text)) == answer["data"]
        assert _ask(client, **_persisted(text)) == answer["data"]
    assert _post(server, **_persisted(text)).json() == answer


def test_a_subscription_is_asked_for_by_its_hash(server: Served) -> None:
    text = "subscription Counted { count(to: 1) }"

    with server.socket() as client:
        for asked in ({"query": text}, {}):
            assert _ask(client, **_persisted(text, **asked)) == {"count": 1}
    streamed = server.send(
        json.dumps(_persisted(text)).encode(), Accept="text/event-stream", Authorization=AUTHORIZATION
    )
    assert 'data: {"data":{"count":1}}' in streamed.text


def test_variables_go_with_the_hash(server: Served) -> None:
    text = "query Counting($first: Int!) { counted(first: $first) }"
    _post(server, query=text, variables={"first": 1})

    for first in (2, 3):
        answer = _post(server, **_persisted(text, variables={"first": first}))
        assert answer.json() == {"data": {"counted": first}}
    assert _refused(_post(server, **_persisted(text)))[1:] == ("INVALID_ARGUMENT", "first")


@pytest.mark.parametrize("query", ["{ hello", "{ nothing }"])
def test_a_document_that_cannot_be_run_is_not_known_by_its_hash(server: Served, query: str) -> None:
    assert _refused(_post(server, query=query, **_persisted(query))) == (400, "INVALID_ARGUMENT", "query")
    assert _refused(_post(server, **_persisted(query)))[1] == "PERSISTED_QUERY_NOT_FOUND"


def test_nobody_without_a_valid_token_makes_a_document_known(server: Served) -> None:
    text, answer = _documents("Anonymous")

    assert server.post(text, **_persisted(text)).json() == answer
    assert _refused(_post(server, **_persisted(text)))[1] == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize(
    ("query", "persisted"),
    [
        ("{ hello }", {"version": 1, "sha256Hash": digest("{ other }")}),
        (None, {"version": 2, "sha256Hash": digest("{ hello }")}),
        (None, {"version": 1}),
        (None, {"version": 1, "sha256Hash": 5}),
        (None, "hash"),
        (None, []),
    ],
)
def test_a_hash_that_is_none_is_refused(server: Served, query: str | None, persisted: object) -> None:
    asked = {"query": query, "extensions": {"persistedQuery": persisted}}

    assert _refused(_post(server, **asked)) == (400, "INVALID_ARGUMENT", HASH)
    with server.socket() as client:
        assert _ask(client, **asked) == {"code": "INVALID_ARGUMENT", "field": HASH}


def test_an_id_that_nobody_listed_is_not_found(server: Served) -> None:
    assert _refused(_post(server, documentId="nothing")) == (200, "PERSISTED_QUERY_NOT_FOUND", "documentId")


@pytest.mark.parametrize("other", [{"query": "{ hello }"}, {"query": ""}, _persisted("{ hello }")])
def test_a_document_has_one_name_at_a_time(server: Served, other: dict[str, Any]) -> None:
    both = _post(server, documentId="one", **other)

    assert _refused(both) == (400, "INVALID_ARGUMENT", "documentId")


# Trusted documents


@pytest.mark.parametrize(
    "asked", [{"documentId": LISTED_ID}, {"query": LISTED}, _persisted(LISTED), _persisted(LISTED, query=LISTED)]
)
def test_what_is_listed_is_run_however_it_is_asked_for(trusting: Served, asked: dict[str, Any]) -> None:
    for ask in (_post, _get):
        assert ask(trusting, **asked).json() == {"data": {"hello": "world"}}
    with trusting.socket() as client:
        assert _ask(client, **asked) == {"hello": "world"}


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"query": "{ hello }"}, "query"),
        ({"query": f"{LISTED} "}, "query"),
        ({"query": "{ __schema { types { name } } }"}, "query"),
        ({"documentId": "another"}, "documentId"),
        (_persisted("{ hello }"), HASH),
        (_persisted("{ hello }", query="{ hello }"), "query"),
    ],
)
def test_nothing_else_is_run(trusting: Served, asked: dict[str, Any], field: str) -> None:
    for ask in (_post, _get):
        assert _refused(ask(trusting, **asked)) == (400, "PERSISTED_QUERY_NOT_IN_LIST", field)
    with trusting.socket() as client:
        assert _ask(client, **asked) == {"code": "PERSISTED_QUERY_NOT_IN_LIST", "field": field}
