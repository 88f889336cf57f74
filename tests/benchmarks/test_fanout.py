"""benchmarks.fanout works: its quick run, from the servers' start to the table, and no event is lost."""

from __future__ import annotations

import subprocess
import sys

from tests.server import ROOT

DEADLINE_S = 240
LOST = 10  # of a row's cells


def test_every_server_brings_every_event_to_every_socket() -> None:
    command = [sys.executable, "-m", "benchmarks.fanout", "--quick"]

    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S)

    assert run.returncode == 0, run.stderr
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in run.stdout.splitlines() if "| 20 |" in line
    ]
    assert [(shape, server) for shape, _, _, server, *_ in rows] == [
        (shape, server)
        for shape in ("shared feed", "own inboxes")
        for server in ("Tocsin", "stock", "floor", "floor, at Tocsin's rate")
    ]
    assert {row[LOST] for row in rows} == {"0"}
