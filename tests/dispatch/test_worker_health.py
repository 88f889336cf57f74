"""A worker is healthy while it can claim and record, and loses no outcome while the database is away."""

from __future__ import annotations

import asyncio

import pytest

from storage.models import (
    Delivery,
    DeliveryState,
)
from tests.dispatch.conftest import MakeDelivery, StartWorker, WatchedDatabase
from tests.dispatch.plans import OK, Held
from tests.dispatch.rows import enqueue
from tests.sink import PATIENCE


async def test_a_worker_is_healthy_while_it_can_claim(watched: WatchedDatabase, start_worker: StartWorker) -> None:
    worker = start_worker()
    assert worker.healthy

    watched.lose(writes=1_000)
    worker.wake()
    await watched.until_lost()
    assert not worker.healthy


async def test_a_worker_that_can_no_longer_record_is_not_healthy(
    watched: WatchedDatabase, delivery: Delivery, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BrokenPipeError  # nobody reads the log any more

    monkeypatch.setattr("dispatch.recorder._log", fail)
    monkeypatch.setattr("dispatch.recorder._log_loss", fail)
    worker = start_worker()
    [recorder] = [task for task in asyncio.all_tasks() if task.get_name() == "recorder"]
    await watched.until_state(delivery, DeliveryState.DELIVERED)
    await asyncio.wait([recorder], timeout=PATIENCE)

    assert isinstance(recorder.exception(), BrokenPipeError)
    assert not worker.healthy


async def test_an_outcome_is_recorded_once_the_database_is_back(
    watched: WatchedDatabase,
    make_delivery: MakeDelivery,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dispatch.recorder.PAUSE", 0.0)
    row = make_delivery(plugin_id="held")
    await enqueue(watched, row)
    held = Held(OK)
    start_worker(plugins={"held": held})
    await held.until_called()
    watched.lose(writes=3)
    held.gate.set()
    finished = await watched.until_state(row, DeliveryState.DELIVERED)

    assert (finished.attempt_no, len(held.requests)) == (1, 1)
