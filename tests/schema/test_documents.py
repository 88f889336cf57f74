"""Documents are parsed and validated once, and what is kept of them is bounded, whoever asks for what."""

from __future__ import annotations

import sys
import tracemalloc
from typing import Any

import pytest
from graphql import parse
from strawberry.schema import schema as strawberry_schema

from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import Refused, Unauthenticated
from schema import build, documents, execution, limits
from schema.asked import Asked
from schema.context import Context
from schema.documents import Document, Documents
from schema.execution import Schema
from schema.http import Via
from tests.resolvers.callers import ALICE, SERVICE
from tests.schema.asking import API

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def api() -> Schema:
    """One with nothing in its cache."""
    return build()


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was parsed, and what was validated."""
    done: list[str] = []

    def noted(name: str, function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            done.append(name)
            return function(*args, **options)

        return call

    monkeypatch.setattr(strawberry_schema, "parse", noted("parsed", parse))
    monkeypatch.setattr(execution, "validated", noted("validated", execution.validated))
    return done


async def _run(api: Schema, server: Server, text: str, caller: Caller | Refused = ALICE, **more: Any) -> Any:
    return await api.execute(text, context_value=Context(server, caller, Via.POST), **more)


def _valid(number: int) -> str:
    return f"query Number{number} {{ viewer {{ userId }} }}"


@on_sqlite
async def test_a_document_is_parsed_and_validated_once(api: Schema, server: Server, work: list[str]) -> None:
    text = "query Once { inbox { unreadCount } }"
    first = await _run(api, server, text)
    assert work == ["parsed", "validated"]

    for _ in range(3):
        again = await _run(api, server, text)
        assert (again.data, again.errors) == (first.data, None)
    stream: Any = await api.stream(text, context_value=Context(server, ALICE, Via.WEBSOCKET))
    assert [result.data async for result in stream] == [first.data]
    assert work == ["parsed", "validated"]


@on_sqlite
async def test_a_kept_document_still_needs_the_name_of_its_operation(api: Schema, server: Server) -> None:
    text = "query A { viewer { userId } } query B { viewer { role } }"

    for _ in range(2):
        named = await _run(api, server, text, operation_name="B")
        assert named.data == {"viewer": {"role": "USER"}}
        [error] = (await _run(api, server, text)).errors
        assert error.extensions == {"code": "INVALID_ARGUMENT", "field": "operationName"}


@on_sqlite
@pytest.mark.parametrize("text", ["{ viewer", "{ nothing }", "{ viewer }", "#" * (limits.MAX_DOCUMENT_CHARACTERS + 1)])
async def test_what_is_not_valid_is_not_kept(api: Schema, server: Server, text: str) -> None:
    errors = [(await _run(api, server, text)).errors for _ in range(2)]

    assert errors[0] == errors[1] != []
    assert api.documents.find(text) is None


@on_sqlite
async def test_what_nobody_with_a_token_asked_for_is_not_kept(api: Schema, server: Server) -> None:
    await _run(api, server, _valid(1), Unauthenticated("Who?"))
    assert api.documents.find(_valid(1)) is None

    await _run(api, server, _valid(1), SERVICE)
    assert api.documents.find(_valid(1)) is not None


def test_a_flood_of_new_documents_leaves_those_that_are_in_use() -> None:
    kept, parsed = Documents(), parse(_valid(0))
    in_use = [_valid(number) for number in range(10)]
    for text in in_use:
        kept.keep(text, parsed)
        assert kept.find(text)

    for number in range(3 * documents.MAX_DOCUMENTS):
        kept.keep(_valid(1_000 + number), parsed)

    assert all(map(kept.find, in_use))
    assert kept.find(_valid(1_000)) is None


def test_of_those_in_use_the_ones_asked_for_last_stay() -> None:
    kept, parsed = Documents(), parse(_valid(0))
    for number in range(documents.MAX_DOCUMENTS + 10):
        kept.keep(_valid(number), parsed)
        assert kept.find(_valid(number))
        assert kept.find(_valid(0))

    known = [number for number in range(documents.MAX_DOCUMENTS + 10) if kept.find(_valid(number))]

    assert known == [0, *range(11, documents.MAX_DOCUMENTS + 10)]


def test_the_bytes_of_what_is_kept_are_bounded() -> None:
    kept = Documents()
    fields = " ".join(f"f{number}: userId" for number in range(limits.MAX_FIELDS))

    tracemalloc.start()
    for number in range(60):
        text = f"query Large{number} {{ viewer {{ {fields} }} }}"
        kept.keep(text, parse(text))
        kept.find(text)
        if number % 2:
            kept.keep(f"{text} ", parse(text))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size < 2 * documents.MAX_BYTES
    assert size > documents.MAX_BYTES / 2


def test_what_a_document_is_reckoned_to_take_is_not_less_than_it_does() -> None:
    texts = [
        "{ viewer { userId domainId role expiresAt } }",
        f"{{ {' '.join(f'a{number}: viewer {{ userId }}' for number in range(300))} }}",
        f"{{ node(id: {['x'] * 1_000!r}) {{ id }} }}".replace("'", '"'),
    ]
    for text in texts:
        tracemalloc.start()
        parsed = parse(text)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert documents.Kept(text, parsed).bytes >= size + sys.getsizeof(text)


def test_a_long_document_is_not_even_looked_for() -> None:
    text = "#" * (limits.MAX_DOCUMENT_CHARACTERS + 1)

    assert API.documents.of(Asked(text)) == Document(text)
    assert API.documents.find(text) is None
