"""A client of event streams that keeps every byte: what it reads is what the server sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

DEADLINE_S = 20
EVENT_STREAM = "text/event-stream"
EVENT = {"event", "data"}


@dataclass
class EventStream:
    answer: httpx.Response
    comments: list[str] = field(default_factory=list)  # that came so far

    def __post_init__(self) -> None:
        self._blocks = self._read()

    def event(self) -> tuple[str, Any]:
        """The name and the data of the next event."""
        return next(self._blocks)

    def rest(self) -> list[tuple[str, Any]]:
        """The events up to the end of the answer."""
        return list(self._blocks)

    def result(self) -> Any:
        """The result in the next event."""
        name, result = self.event()
        assert name == "next", name
        return result

    def _read(self) -> Iterator[tuple[str, Any]]:
        for block in self._split():
            if block.startswith(":"):
                self.comments.append(block.removeprefix(":").strip())
            else:
                yield _event(block)

    def _split(self) -> Iterator[str]:
        """What stands between empty lines. Nothing is left over: an event that is cut off is none."""
        text = ""
        for chunk in self.answer.iter_text():
            text += chunk
            *blocks, text = text.split("\n\n")
            yield from blocks
        assert text == ""


def _event(block: str) -> tuple[str, Any]:
    lines = [line.partition(":") for line in block.split("\n")]
    fields = {name: value.removeprefix(" ") for name, _, value in lines}
    assert fields.keys() == EVENT
    assert len(lines) == len(EVENT)
    return fields["event"], json.loads(fields["data"]) if fields["data"] else None


@contextmanager
def opened(url: str, query: str, *, token: str, method: str = "POST", **variables: object) -> Iterator[EventStream]:
    """The stream of a subscription, or of anything else. `url` is the server's, without a path."""
    if method == "GET":
        asked: dict[str, Any] = {"params": {"query": query, "variables": json.dumps(variables)}}
    else:
        asked = {"json": {"query": query, "variables": variables}}
    headers = {"Accept": EVENT_STREAM, "Authorization": token}
    with (
        httpx.Client(trust_env=False, verify=False, timeout=DEADLINE_S) as client,
        client.stream(method, f"{url}/graphql", headers=headers, **asked) as answer,
    ):
        yield EventStream(answer)
