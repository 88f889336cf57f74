"""benchmarks.http works: its quick run on both engines, from the filling of the databases to the table."""

from __future__ import annotations

import subprocess
import sys

from tests.server import ROOT

ENGINES = ["sqlite", "postgres"]
OPERATIONS = ["get one", "list 20", "list 100", "unread count", "create", "create, watched"]
DEADLINE_S = 240


def test_every_operation_is_measured_on_servers_that_answer_alike() -> None:
    command = [sys.executable, "-m", "benchmarks.http", "--quick"]

    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S)

    assert run.returncode == 0, run.stderr  # which it is not where the servers' answers differ
    rows = [_cells(line) for line in run.stdout.splitlines() if line.startswith("|")]
    measured = [row for row in rows if row[0] in ENGINES and row[1] in OPERATIONS]
    assert [row[:2] for row in measured] == [[engine, name] for engine in ENGINES for name in OPERATIONS]
    for _, operation, *figures, better, of_floor in measured:
        has_floor = operation != "create, watched"
        numbers = [float(figure.replace(",", "")) for figure in figures if figure]
        assert len(numbers) == (6 if has_floor else 4)
        assert min(numbers) > 0
        assert better.endswith(" x")
        assert of_floor.endswith("%") is has_floor
    idle = [row for row in rows if row[0] in ENGINES and len(row) == 4]
    assert [min(map(int, megabytes)) > 0 for _, *megabytes in idle] == [True, True]
    assert "\nImport of Tocsin: " in run.stdout


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
