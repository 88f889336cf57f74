"""An operation of a socket says what it answers and how it ends, once, and nothing more after that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import orjson
import pytest
from graphql import DocumentNode, parse
from strawberry.types.execution import ExecutionResult, PreExecutionError

from resolvers.errors import NotFound
from schema import errors
from schema.asked import Asked
from schema.documents import Document, Kept, Planned
from schema.operation import Closed, Operation

DEADLINE_S = 5
TEXT = "{ hello }"
NEXT = {"id": "1", "type": "next"}
COMPLETE = {"id": "1", "type": "complete"}


class Recorded:
    """A socket that keeps what it is given. `room` is how many messages more it takes."""

    def __init__(self, *, pushes: bool = False, room: int = 100) -> None:
        self.is_open = True
        self.push = self._push if pushes else None
        self.room = room
        self.said: list[Any] = []
        self.has_said = asyncio.Event()
        self.is_ended = asyncio.Event()

    def _push(self, message: bytes) -> bool:
        self.said.append(orjson.loads(message))
        return True

    async def send(self, message: bytes) -> None:
        await asyncio.sleep(0)
        if len(self.said) >= self.room:
            raise Closed
        self.said.append(orjson.loads(message))
        self.has_said.set()

    def written(self, value: object) -> bytes:
        return orjson.dumps(value)

    def release(self, operation: Operation) -> None:
        self.said.append(f"{operation.id} is free")

    def ended(self, operation: Operation) -> None:
        self.is_ended.set()


class Answers:
    """What a schema would answer, and to what."""

    def __init__(self, *results: Any) -> None:
        self.results = results
        self.asked: list[Any] = []
        self.is_closed = False

    async def stream(self, query: str | None, **asked: Any) -> AsyncGenerator[Any, None]:
        self.asked.append((query, asked))
        return self._stream()

    async def _stream(self) -> AsyncGenerator[Any, None]:
        try:
            for result in self.results:
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            self.is_closed = True


class Endless(Answers):
    async def _stream(self) -> AsyncGenerator[Any, None]:
        try:
            yield ExecutionResult({"hello": 1}, None)
            await asyncio.Event().wait()
        finally:
            self.is_closed = True


async def _run(
    answers: Answers, line: Recorded | None = None, document: Document | None = None
) -> tuple[Recorded, Operation]:
    line = line or Recorded()
    operation = Operation(line, "1")
    operation.start(answers.stream, document or Document(TEXT), Asked(TEXT, {"a": 1}, "Name"), "the context")
    return line, operation


async def _said(answers: Answers, line: Recorded | None = None, document: Document | None = None) -> list[Any]:
    line, operation = await _run(answers, line, document)
    async with asyncio.timeout(DEADLINE_S):
        await line.is_ended.wait()
    await operation.stopped()
    return line.said


async def test_it_says_each_result_and_that_it_is_complete() -> None:
    answers = Answers(ExecutionResult({"hello": 1}, None), ExecutionResult({"hello": 2}, None, {"cost": 3}))

    assert await _said(answers) == [
        NEXT | {"payload": {"data": {"hello": 1}}},
        NEXT | {"payload": {"data": {"hello": 2}, "extensions": {"cost": 3}}},
        "1 is free",
        COMPLETE,
    ]
    assert answers.is_closed


@pytest.mark.parametrize("pushes", [False, True])
async def test_it_is_the_root_value_where_its_socket_sends_at_once(pushes: bool) -> None:
    answers = Answers()
    _, operation = await _run(answers, Recorded(pushes=pushes))
    await operation.stopped()

    assert answers.asked == [
        (
            TEXT,
            {
                "variable_values": {"a": 1},
                "context_value": "the context",
                "root_value": operation if pushes else None,
                "operation_name": "Name",
            },
        )
    ]


async def test_what_its_plan_answers_is_said_as_it_is() -> None:
    async def planned(asked: Asked, context: Any) -> bytes | None:
        return orjson.dumps({"data": {"asked": asked.operation_name, "context": context}})

    def plan(_parsed: DocumentNode, _name: str | None) -> Planned | None:
        return planned

    answers = Answers()

    said = await _said(answers, document=Document(TEXT, Kept(TEXT, parse(TEXT)), plan))

    assert said == [NEXT | {"payload": {"data": {"asked": "Name", "context": "the context"}}}, "1 is free", COMPLETE]
    assert answers.asked == []


async def test_a_field_that_failed_is_said_with_its_result() -> None:
    failed = errors.of(NotFound("There is none."))
    failed.path = ["hello"]

    said = await _said(Answers(ExecutionResult({"hello": None}, [failed])))

    payload = {"data": {"hello": None}, "errors": [failed.formatted]}
    assert said == [NEXT | {"payload": payload}, "1 is free", COMPLETE]


ENDS: dict[str, Any] = {
    "what cannot be run": PreExecutionError(None, [errors.of(NotFound("There is none."))]),
    "a stream that broke": ExecutionResult(None, [errors.of(NotFound("There is none."))]),
    "an exception": NotFound("There is none."),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_an_error_of_the_whole_ends_it(end: Any) -> None:
    answers = Answers(ExecutionResult({"hello": 1}, None), end, ExecutionResult({"hello": 2}, None))

    first, free, last = await _said(answers)

    assert (first, free) == (NEXT | {"payload": {"data": {"hello": 1}}}, "1 is free")
    assert (last["id"], last["type"]) == ("1", "error")
    assert [error["extensions"]["code"] for error in last["payload"]] == ["NOT_FOUND"]
    assert answers.is_closed


async def test_it_ends_quietly_where_the_socket_takes_no_more() -> None:
    answers = Answers(*(ExecutionResult({"hello": number}, None) for number in range(5)))

    said = await _said(answers, Recorded(room=2))

    assert [message["payload"]["data"]["hello"] for message in said] == [0, 1]
    assert answers.is_closed


async def test_once_it_is_stopped_nothing_is_said_and_its_stream_is_closed() -> None:
    answers = Endless()
    line, operation = await _run(answers, Recorded(pushes=True))
    async with asyncio.timeout(DEADLINE_S):
        await line.has_said.wait()

    assert operation.push(b"{}")
    operation.stop()
    assert not operation.push(b"{}")
    await operation.stopped()

    assert line.said == [NEXT | {"payload": {"data": {"hello": 1}}}, NEXT | {"payload": {}}]
    assert line.is_ended.is_set()
    assert answers.is_closed


async def test_one_that_is_stopped_before_it_began_ends_too() -> None:
    answers = Endless()
    line, operation = await _run(answers)

    operation.stop()
    async with asyncio.timeout(DEADLINE_S):
        await line.is_ended.wait()

    assert line.said == answers.asked == []


async def test_what_is_pushed_has_the_form_of_a_result() -> None:
    line = Recorded(pushes=True)

    assert Operation(line, 'a "name"').push(b'{"data":{"hello":1}}')

    assert line.said == [{"id": 'a "name"', "type": "next", "payload": {"data": {"hello": 1}}}]


async def test_nothing_is_pushed_over_a_socket_that_is_being_closed() -> None:
    line = Recorded(pushes=True)
    operation = Operation(line, "1")
    line.is_open = False

    assert not operation.push(b"{}")

    assert line.said == []
