"""A request's body is read to its end and within its bound, however many pieces it comes in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Message, Receive

from schema import body
from schema.body import ClientLeft, Refusal
from schema.limits import MAX_BODY_BYTES

LEFT: Message = {"type": "http.disconnect"}


def _part(content: bytes, *, more_body: bool = False) -> Message:
    return {"type": "http.request", "body": content, "more_body": more_body}


def _receiving(*messages: Message) -> Receive:
    coming: Iterator[Any] = iter(messages)

    async def receive() -> Message:
        message: Message = next(coming)
        return message

    return receive


@pytest.mark.parametrize(
    "messages",
    [
        [_part(b"a" * MAX_BODY_BYTES)],
        [_part(b"a" * (MAX_BODY_BYTES - 1), more_body=True), _part(b"a")],
        [_part(b"a" * MAX_BODY_BYTES, more_body=True), _part(b"")],
    ],
    ids=["at once", "in two parts", "with an empty part"],
)
async def test_the_largest_body_is_read_whole(messages: list[Message]) -> None:
    assert len(await body.read(_receiving(*messages))) == MAX_BODY_BYTES


@pytest.mark.parametrize(
    "messages",
    [
        [_part(b"a" * (MAX_BODY_BYTES + 1))],
        [_part(b"a" * MAX_BODY_BYTES, more_body=True), _part(b"a")],
        [_part(b"a" * (MAX_BODY_BYTES + 1), more_body=True), _part(b"")],
    ],
    ids=["at once", "in two parts", "with an empty part"],
)
async def test_one_byte_more_is_refused(messages: list[Message]) -> None:
    with pytest.raises(Refusal) as refusal:
        await body.read(_receiving(*messages))

    assert refusal.value.status_code == 413


@pytest.mark.parametrize("before", [[], [_part(b"a", more_body=True)]], ids=["before it", "in the middle"])
async def test_who_leaves_has_asked_for_nothing(before: list[Message]) -> None:
    with pytest.raises(ClientLeft):
        await body.read(_receiving(*before, LEFT))


def test_a_long_content_type_is_judged_like_any_other_and_not_kept() -> None:
    kept = body._is_json.cache_info().currsize
    long = "a" * body.MAX_KEPT_BYTES

    body.check_type(f"application/json; profile={long}".encode(), b"identity")
    with pytest.raises(Refusal):
        body.check_type(f"text/plain; profile={long}".encode(), b"identity")

    assert body._is_json.cache_info().currsize == kept
