"""One operation of a socket, in graphql-transport-ws: what it answers, as it comes, and its end.

It must not know how a socket is opened or closed, nor how many operations it may run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any, Protocol

import orjson
from graphql import GraphQLError
from strawberry.types.execution import ExecutionResult, PreExecutionError

from schema import errors
from schema.asked import Asked
from schema.documents import Document

Stream = Callable[..., Awaitable[Any]]  # the schema's


class Closed(Exception):
    """The socket takes no more."""


class Line(Protocol):
    """The socket, as its operations see it."""

    @property
    def is_open(self) -> bool:
        """Whether nobody has begun to close it."""

    @property
    def push(self) -> Callable[[bytes], bool] | None:
        """Sends a message at once, or is False where it has to wait its turn; None where all have to."""

    async def send(self, message: bytes) -> None:
        """Raises Closed."""

    def written(self, value: object) -> bytes:
        """It as JSON. Raises TypeError."""

    def release(self, operation: Operation) -> None:
        """Its id may be used again."""

    def ended(self, operation: Operation) -> None:
        """Nothing of it is left."""


class Operation:
    """The root value of those that run over a socket: live events are pushed into it (`schema.live.Outlet`)."""

    __slots__ = ("_head", "_is_over", "_line", "_push", "_task", "id")

    def __init__(self, line: Line, id: str) -> None:
        self.id = id
        self._line = line
        self._push = line.push
        self._head = b'{"id":%b,"type":"next","payload":' % orjson.dumps(id)
        self._is_over = False  # nothing may be sent any more
        self._task: asyncio.Task[None] | None = None

    def start(self, stream: Stream, document: Document, asked: Asked, context: Any) -> None:
        self._task = asyncio.create_task(self._run(stream, document, asked, context))
        self._task.add_done_callback(self._done)

    def stop(self) -> None:
        """Some time after that it has ended."""
        assert self._task
        self._is_over = True
        self._task.cancel()

    async def stopped(self) -> None:
        assert self._task
        await asyncio.wait([self._task])

    def push(self, payload: bytes) -> bool:
        push = self._push
        return push is not None and not self._is_over and self._line.is_open and push(b"%b%b}" % (self._head, payload))

    async def refuse(self, found: Sequence[GraphQLError]) -> None:
        """End it before its beginning, or in its midst. Raises Closed."""
        await self._end({"id": self.id, "type": "error", "payload": [error.formatted for error in found]})

    def _done(self, _task: asyncio.Task[None]) -> None:
        self._line.ended(self)

    async def _run(self, stream: Stream, document: Document, asked: Asked, context: Any) -> None:
        try:
            content = await document.planned(asked, context)
            if content is not None:
                await self._next(content)
                await self._end({"id": self.id, "type": "complete"})
                return
            results = await stream(
                document.text,
                variable_values=asked.variables,
                context_value=context,
                root_value=None if self._push is None else self,
                operation_name=asked.operation_name,
            )
            del stream, document, asked, context  # which would be kept for as long as a stream may last
            async with aclosing(results):
                async for result in results:
                    if result.errors and _is_the_end(result):
                        await self.refuse(result.errors)
                        return
                    await self._next(self._line.written(_payload(result)))
                    del result
            await self._end({"id": self.id, "type": "complete"})
        except Closed:
            pass
        except Exception as error:
            with suppress(Closed):
                await self.refuse([errors.of(error)])

    async def _next(self, payload: bytes) -> None:
        if not self._is_over:
            await self._line.send(b"%b%b}" % (self._head, payload))

    async def _end(self, last: object) -> None:
        if not self._is_over:
            self._is_over = True
            self._line.release(self)  # before the client can know of it
            await self._line.send(self._line.written(last))


def _payload(result: ExecutionResult) -> dict[str, Any]:
    payload: dict[str, Any] = {"data": result.data}
    if result.errors:
        payload["errors"] = [error.formatted for error in result.errors]
    if result.extensions:
        payload["extensions"] = result.extensions
    return payload


def _is_the_end(result: ExecutionResult) -> bool:
    """Whether no operation was run, or its stream broke; an error with a path belongs to one event."""
    return isinstance(result, PreExecutionError) or all(error.path is None for error in result.errors or ())
