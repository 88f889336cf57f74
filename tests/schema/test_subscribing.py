"""A subscription to a kept document answers as one to any other does, and leaves nothing behind by being opened."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest
from graphql import parse

from schema.execution import Schema
from schema.http import Via
from schema.projection import Executor
from schema.subscribing import ValidSubscription
from tests.protocol import conftest
from tests.protocol.conftest import Context, Seen

DEADLINE_S = 10
ENDLESS = "subscription { endless }"
COUNT = "subscription { count(to: 2) }"


def _keeping(*texts: str) -> Schema:
    """A schema that keeps these documents."""
    schema = conftest.build()
    for text in texts:
        schema.documents.keep(text, parse(text))
    return schema


def _context() -> Context:
    return Context(None, Via.WEBSOCKET, datetime.now(UTC), Seen())


async def _results(schema: Schema, text: str, **variables: object) -> list[Any]:
    """All of them, as they would be sent."""
    results = await schema.stream(text, variable_values=variables, context_value=_context())
    async with asyncio.timeout(DEADLINE_S), aclosing(results):
        return [(type(result), result.data, _told(result.errors)) async for result in results]


def _told(errors: Any) -> list[Any]:
    """What is wrong, but for the number that each unexpected error has of its own."""
    told: list[Any] = []
    for error in errors or []:
        number = error.extensions.get("requestId") or "no number"
        told.append(str(error.formatted).replace(number, "its number"))
    return told


SUBSCRIPTIONS: dict[str, tuple[str, dict[str, object]]] = {
    "events": ("subscription { count(to: 3) }", {}),
    "no event": ("subscription { count(to: 0) }", {}),
    "a variable": ("subscription ($to: Int!) { count(to: $to) }", {"to": 2}),
    "a variable of another type": ("subscription ($to: Int!) { count(to: $to) }", {"to": "two"}),
    "a variable that is missing": ("subscription ($to: Int!) { count(to: $to) }", {}),
    "fields that are not attributes": ("subscription { branches { name broken } }", {}),
    "a stream that is refused at once": ("subscription { expiredAfter(events: 0) }", {}),
    "a stream that is refused later": ("subscription { expiredAfter(events: 2) }", {}),
    "a stream that breaks": ("subscription { brokenAfter(events: 1) }", {}),
}


@pytest.mark.parametrize(("text", "variables"), SUBSCRIPTIONS.values(), ids=SUBSCRIPTIONS)
async def test_a_kept_document_is_answered_as_any_other(text: str, variables: dict[str, object]) -> None:
    kept, new = _keeping(text), _keeping()

    answered = await _results(kept, text, **variables)

    assert answered == await _results(new, text, **variables)


async def test_the_named_one_of_several_is_opened() -> None:
    text = "subscription A { count(to: 1) } subscription B { count(to: 2) }"
    schema = _keeping(text)

    results = await schema.stream(text, context_value=_context(), operation_name="B")

    assert [result.data async for result in results] == [{"count": 1}, {"count": 2}]


async def test_closing_it_closes_its_stream() -> None:
    context = _context()
    results = await _keeping(ENDLESS).stream(ENDLESS, context_value=context)
    assert (await anext(results)).data == {"endless": 1}

    await results.aclose()

    context.seen.wait_for("endless closed")


async def _opened(schema: Schema) -> AsyncGenerator[Any, None]:
    results: AsyncGenerator[Any, None] = await schema.stream(COUNT, context_value=_context())
    await anext(results)
    return results


def _there_are(kind: type) -> int:
    return sum(isinstance(each, kind) for each in gc.get_objects())


async def test_what_it_was_opened_with_is_gone_without_the_garbage_collector() -> None:
    """With a thousand sockets, what waits to be collected is more than what they need."""
    schema = _keeping(COUNT)
    gc.collect()
    gc.disable()
    try:
        executors, subscriptions = _there_are(Executor), _there_are(ValidSubscription)
        opened = [await _opened(schema) for _ in range(10)]
        left, is_open = _there_are(Executor) - executors, _there_are(ValidSubscription) - subscriptions
    finally:
        gc.enable()
    for results in opened:
        await results.aclose()

    assert (left, is_open) == (0, 10)
