"""A background loop with a lifetime: runs a step when it is woken, when the step asked for it, and now and then.

It knows nothing of what the step does. A wake-up only saves time: without it the step still comes within `poll`.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

POLL = 5.0  # seconds at most between two steps that work
MAX_BACKOFF = 30.0  # seconds at most between two that fail
FIRST_BACKOFF = 0.2

# Seconds until the step wants to run again; None: when it is woken, or polled.
Step = Callable[[], Awaitable[float | None]]

log = structlog.get_logger()


def where(error: BaseException) -> str:
    """The lines that an error came through. Neither its text nor any value: both may hold what no log should."""
    return "".join(traceback.format_tb(error.__traceback__))


class Loop:
    """`start` it once within a running event loop, `stop` it at the end."""

    def __init__(self, name: str, step: Step, *, poll: float = POLL, first_backoff: float = FIRST_BACKOFF) -> None:
        self.name = name
        self.error: str | None = None  # the class of what the last step raised
        self._step = step
        self._poll = poll
        self._first_backoff = first_backoff
        self._failures = 0
        self._woken = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def healthy(self) -> bool:
        """Whether it runs, and its last step did what it should."""
        return self._task is not None and not self._task.done() and self.error is None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self.name)

    def wake(self) -> None:
        """Run the step again, at once or right after the one that runs now."""
        self._woken.set()

    async def stop(self, deadline: float) -> None:
        """Let the step that runs now finish within `deadline` seconds, or cancel it."""
        self._stopping = True
        self.wake()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=deadline)
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()  # before the step: what is told while it runs is for the next one
            await self._sleep(await self._try())

    async def _try(self) -> float:
        """Run the step, and return how long to sleep after it."""
        try:
            wish = await self._step()
        except Exception as error:
            self.error = type(error).__name__
            self._failures += 1
            log.error("loop_step_failed", loop=self.name, failures=self._failures, error=self.error, at=where(error))
            return min(self._first_backoff * 2.0 ** min(self._failures - 1, 16), MAX_BACKOFF)
        self.error, self._failures = None, 0
        return self._poll if wish is None else min(wish, self._poll)

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
