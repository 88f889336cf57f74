"""What is read off the headers of a request, however often each is sent."""

from __future__ import annotations

import pytest
from starlette.types import Message

from schema import request


async def _receive() -> Message:
    raise AssertionError("the body is not read")


def _of(*headers: tuple[bytes, bytes]) -> request.Request:
    return request.of({"method": "POST", "query_string": b"", "headers": headers}, _receive)


def test_headers_that_were_not_sent_say_nothing() -> None:
    asking = _of((b"host", b"here"))
    assert (asking.authorization, asking.accept, asking.if_none_match) == (None, b"", b"")
    assert (asking.content_type, asking.content_encoding) == (b"", b"identity")


def test_of_a_header_that_is_sent_twice_the_first_counts() -> None:
    asking = _of((b"authorization", b"Bearer first"), (b"authorization", b"Bearer second"), (b"accept", b"*/*"))
    assert (asking.authorization, asking.accept) == ("Bearer first", b"*/*")


@pytest.mark.parametrize(("name", "attribute"), [(b"accept", "accept"), (b"if-none-match", "if_none_match")])
def test_a_list_that_is_sent_in_parts_is_one_list(name: bytes, attribute: str) -> None:
    asking = _of((name, b"one"), (b"host", b"here"), (name, b"two, three"))
    assert getattr(asking, attribute) == b"one,two, three"
