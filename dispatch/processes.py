"""Processes that all do the same: started together, started anew where one ends by itself, and ended together.

It knows nothing of what they do. Nothing is open there but what they are passed.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import structlog

QUICK_SECONDS = 10.0  # a process that ends sooner than this after its start
BREATHER_SECONDS = 1.0  # is not started again at once

# They are copies of a process that has imported everything, and opened nothing.
CONTEXT = multiprocessing.get_context("forkserver")

log = structlog.get_logger()


async def keep(
    count: int, work: Callable[[], None], *, imported: str, grace: float, closing: Callable[[], None]
) -> None:
    """Run that many processes until SIGTERM or SIGINT: then call `closing`, and give them `grace` seconds to end.

    `imported` is the module that they share what is imported of, so that they start quickly.
    """
    CONTEXT.set_forkserver_preload([imported])
    told_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
    keepers = [asyncio.create_task(_keep_one(work, grace)) for _ in range(count)]
    await told_to_end.wait()
    closing()
    for keeper in keepers:
        keeper.cancel()
    await asyncio.wait(keepers)


def end_with_parent() -> None:
    """In such a process: end as if told to when the one that started it is gone, and could no longer tell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the first one says when to end
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent, "this process is nobody's child"
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


async def _keep_one(work: Callable[[], None], grace: float) -> None:
    while True:
        process, started = CONTEXT.Process(target=work, daemon=True), time.monotonic()
        process.start()
        try:
            await _ended(process)
        except asyncio.CancelledError:
            await _end(process, grace)
            raise
        log.error("process_ended", pid=process.pid, code=process.exitcode)
        if time.monotonic() - started < QUICK_SECONDS:
            await asyncio.sleep(BREATHER_SECONDS)


async def _ended(process: BaseProcess) -> None:
    """Return once it has ended, and its exit code is known."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)
    process.join()


async def _end(process: BaseProcess, grace: float) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(grace):
            await _ended(process)
    except TimeoutError:
        log.error("process_killed", pid=process.pid)
        process.kill()
        process.join()
