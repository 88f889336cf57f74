from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from dispatch.loop import Loop
from tests.sink import PATIENCE

NEVER = 1_000.0  # seconds: longer than any test


class Steps:
    """A step that counts its runs, asks for what it is told to, and can be held."""

    def __init__(self, wish: float | None = None) -> None:
        self.runs = 0
        self.wish = wish
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self._ran = asyncio.Condition()

    async def __call__(self) -> float | None:
        async with self._ran:
            self.runs += 1
            self._ran.notify_all()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.wish

    async def until(self, runs: int) -> None:
        """Return when the step has begun for the nth time."""
        async with asyncio.timeout(PATIENCE), self._ran:
            await self._ran.wait_for(lambda: self.runs >= runs)


MakeLoop = Callable[..., Loop]


@pytest.fixture
async def make_loop() -> AsyncIterator[MakeLoop]:
    """Makes loops that are started, and stopped after the test."""
    loops: list[Loop] = []

    def make(step: Callable[[], Awaitable[float | None]], *, poll: float = NEVER, first_backoff: float = 0.001) -> Loop:
        loop = Loop("test", step, poll=poll, first_backoff=first_backoff)
        loop.start()
        loops.append(loop)
        return loop

    yield make
    for loop in loops:
        await loop.stop(0)


async def test_the_step_runs_once_at_the_start_and_then_waits(make_loop: MakeLoop) -> None:
    steps = Steps()
    loop = make_loop(steps)
    await steps.until(1)
    await asyncio.sleep(0)

    assert steps.runs == 1
    assert loop.healthy


async def test_a_wake_up_runs_the_step(make_loop: MakeLoop) -> None:
    steps = Steps()
    loop = make_loop(steps)
    await steps.until(1)
    loop.wake()
    await steps.until(2)


async def test_a_wake_up_while_the_step_runs_is_not_lost(make_loop: MakeLoop) -> None:
    steps = Steps()
    steps.gate.clear()
    loop = make_loop(steps)
    await steps.until(1)
    loop.wake()
    steps.gate.set()
    await steps.until(2)


async def test_the_step_runs_again_when_it_asked_to(make_loop: MakeLoop) -> None:
    steps = Steps(wish=0.001)
    make_loop(steps)
    await steps.until(3)


async def test_without_any_signal_the_step_is_polled(make_loop: MakeLoop) -> None:
    steps = Steps()
    make_loop(steps, poll=0.001)
    await steps.until(3)


async def test_a_wish_for_later_than_the_poll_is_polled_all_the_same(make_loop: MakeLoop) -> None:
    steps = Steps(wish=NEVER)
    make_loop(steps, poll=0.001)
    await steps.until(3)


async def test_a_step_that_fails_shows_and_is_tried_again(make_loop: MakeLoop) -> None:
    steps = Steps()
    steps.error = ValueError("no")
    loop = make_loop(steps)
    await steps.until(3)

    assert not loop.healthy
    assert loop.error == "ValueError"

    steps.error = None
    for runs in (steps.runs + 1, steps.runs + 2):  # the second begins after the first has ended well
        loop.wake()
        await steps.until(runs)
    assert loop.healthy


async def test_a_failing_step_is_tried_less_and_less_often(make_loop: MakeLoop) -> None:
    steps = Steps()
    steps.error = ValueError("no")
    make_loop(steps, first_backoff=NEVER)
    await steps.until(1)
    for _ in range(100):
        await asyncio.sleep(0)

    assert steps.runs == 1


async def test_it_is_not_healthy_before_its_start_and_after_its_end() -> None:
    loop = Loop("test", Steps())
    assert not loop.healthy

    loop.start()
    assert loop.healthy

    await loop.stop(PATIENCE)
    assert not loop.healthy


async def test_stopping_waits_for_the_step_that_runs(make_loop: MakeLoop) -> None:
    steps = Steps()
    steps.gate.clear()
    loop = make_loop(steps)
    await steps.until(1)
    stopping = asyncio.create_task(loop.stop(PATIENCE))
    await asyncio.sleep(0)
    assert not stopping.done()

    steps.gate.set()
    await stopping
    assert steps.runs == 1


async def test_stopping_cancels_a_step_that_takes_too_long(make_loop: MakeLoop) -> None:
    cancelled = asyncio.Event()
    started = asyncio.Event()

    async def step() -> None:
        started.set()
        try:
            await asyncio.Future()
        finally:
            cancelled.set()

    loop = make_loop(step)
    await started.wait()
    await loop.stop(0)

    assert cancelled.is_set()


async def test_a_loop_that_was_never_started_can_be_stopped() -> None:
    await Loop("test", Steps()).stop(PATIENCE)
