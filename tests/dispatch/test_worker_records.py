"""What a worker records of an attempt: an outcome and an excerpt in bounds, without a secret."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import structlog
from cryptography.fernet import Fernet

from dispatch.plugins import Result
from dispatch.sending import MAX_EXCERPT
from storage.models import (
    AttemptOutcome,
    Content,
    Delivery,
    DeliveryState,
    Protocol,
)
from storage.queue import Leased
from storage.secrets import MASK, Vault
from tests.dispatch import rows
from tests.dispatch.conftest import TOKEN, StartWorker, WatchedDatabase
from tests.dispatch.plans import Plan
from tests.dispatch.rows import attempts, enqueue, store
from tests.sink import PATIENCE, Answer, Sink


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (ValueError(f"could not send {TOKEN} to smtp://me:pass4word@inside"), "The plugin failed (ValueError)."),
        (Result(AttemptOutcome.RETRY, error=f"The header {TOKEN} is wrong."), f"The header {MASK} is wrong."),
        (Result(AttemptOutcome.REFUSED, error="No: of-the-protocol"), f"No: {MASK}"),
        (object(), "The plugin did not say what came of it."),
        (Result(AttemptOutcome.RETRY, error="Null \0 and half \ud83d."), "Null \N{REPLACEMENT CHARACTER} and half ?."),
        (Result(AttemptOutcome.RETRY, error="long " * 1_000), "long " * 100),
    ],
)
async def test_what_a_plugin_says_is_kept_without_secrets_and_in_bounds(
    watched: WatchedDatabase, said: Content, vault: Vault, start_worker: StartWorker, result: Any, error: str
) -> None:
    through = rows.protocol(plugin_id="plan", secret_data=vault.seal({"key": "of-the-protocol"}))
    row = rows.delivery(said, through, plugin_id="plan", push_data=vault.seal({"headers": {"authorization": TOKEN}}))
    await store(watched, through)
    await enqueue(watched, row)
    with structlog.testing.capture_logs() as logs:
        start_worker(plugins={"plan": Plan(result)}, retry_schedule=())
        finished = await watched.until_state(row, DeliveryState.DEAD)

    (attempt,) = await attempts(watched, row)
    assert attempt.error == finished.detail == error
    assert not any(secret in str(logs) for secret in ("good-news", "of-the-protocol", "pass4word"))


async def test_what_is_kept_of_an_answer_does_not_end_in_the_beginning_of_a_secret(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker
) -> None:
    sink.otherwise = Answer(500, f"{'x' * (MAX_EXCERPT - len(TOKEN) + 5)}{TOKEN}".encode())
    start_worker(retry_schedule=())
    await watched.until_state(delivery, DeliveryState.DEAD)

    (attempt,) = await attempts(watched, delivery)
    assert str(attempt.response_excerpt).strip("x") == MASK


async def test_secrets_that_a_receiver_sends_back_are_masked(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker
) -> None:
    sink.otherwise = Answer(500, f'{{"authorization": "{TOKEN}", "target": "/hook?key=of-the-url"}}'.encode())
    start_worker(retry_schedule=())
    finished = await watched.until_state(delivery, DeliveryState.DEAD)

    (attempt,) = await attempts(watched, delivery)
    kept = f"{attempt.response_excerpt} {attempt.error} {finished.detail}"
    assert MASK in kept
    assert "good-news" not in kept
    assert "of-the-url" not in kept


async def test_a_receiver_that_cannot_be_reached_is_named_by_no_more_than_the_reason(
    watched: WatchedDatabase, said: Content, protocol: Protocol, vault: Vault, start_worker: StartWorker
) -> None:
    async with Sink() as gone:
        url = gone.url("/secret-path?token=of-the-url", host="me:pass4word@127.0.0.1")
    row = rows.delivery(said, protocol, push_data=vault.seal({"url": url}))
    await enqueue(watched, row)
    start_worker(retry_schedule=())
    finished = await watched.until_state(row, DeliveryState.DEAD)

    assert finished.detail == "The request failed: Connection refused."


async def test_a_secret_that_cannot_be_read_is_told_and_tried_again(
    watched: WatchedDatabase, said: Content, protocol: Protocol, sink: Sink, start_worker: StartWorker
) -> None:
    other = Vault(Fernet.generate_key())
    row = rows.delivery(said, protocol, push_data=other.seal({"url": sink.url()}))
    await enqueue(watched, row)
    start_worker(retry_schedule=(1_000.0,))
    found = await watched.until_state(row, DeliveryState.RETRYING)

    assert found.detail == "A stored secret cannot be read with this encryption key."
    assert sink.received == []


async def test_what_is_recorded_is_not_lost_where_nobody_can_be_told_of_it(
    watched: WatchedDatabase, delivery: Delivery, sink: Sink, start_worker: StartWorker
) -> None:
    async def announce(changed: Sequence[Leased]) -> None:
        raise ConnectionError

    with structlog.testing.capture_logs() as logs:
        worker = start_worker(announce=announce)
        await watched.until_state(delivery, DeliveryState.DELIVERED)
        await worker.stop(PATIENCE)

    said = [entry["event"] for entry in logs]
    assert "recorded_untold" in said
    assert "delivery_lost" not in said
    assert len(sink.received) == 1
