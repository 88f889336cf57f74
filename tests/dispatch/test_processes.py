"""Processes that are kept: paused where they fail at once, and ended in time whatever they do."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dispatch import processes
from tests.client import eventually


def fail(told: Path) -> None:
    """Ends as soon as it has told its number."""
    with told.open("a") as file:
        file.write(f"{os.getpid()}\n")
    raise SystemExit(3)


def refuse_to_end(told: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    told.write_text(f"{os.getpid()}\n")
    while True:
        signal.pause()


def read(told: Path) -> list[int]:
    return [int(line) for line in told.read_text().splitlines()] if told.exists() else []


async def keep_until(
    work: Callable[[Path], None], told: Path, count: int, closing: Callable[[], None] = lambda: None
) -> list[int]:
    """Keep a process until that many have told their numbers, and return these."""
    keeping = asyncio.create_task(
        processes.keep(1, partial(work, told), imported="dispatch.processes", grace=0.2, closing=closing)
    )

    async def numbers() -> list[int]:
        return read(told)

    pids = await eventually(numbers, lambda found: len(found) >= count)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(20):
        await keeping
    return pids


async def test_one_that_fails_at_once_is_tried_again_after_a_breather(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "BREATHER_SECONDS", 0.3)
    with capture_logs() as logs:
        began = time.monotonic()
        pids = await keep_until(fail, tmp_path / "told", 3)

    assert time.monotonic() - began >= 2 * 0.3
    assert len(set(pids)) == 3
    assert [entry["code"] for entry in logs if entry["event"] == "process_ended"][:2] == [3, 3]


async def test_one_that_does_not_end_in_time_is_killed_after_the_doors_are_closed(tmp_path: Path) -> None:
    closed: list[float] = []
    with capture_logs() as logs:
        [pid] = await keep_until(refuse_to_end, tmp_path / "told", 1, lambda: closed.append(time.monotonic()))

    assert len(closed) == 1
    assert [(entry["event"], entry["pid"]) for entry in logs] == [("process_killed", pid)]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
