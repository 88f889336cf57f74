"""docs/queries.md as tests read it: its tables, and the notifications that its examples are asked of."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from storage.queries import moments

PAGE = (Path(__file__).parents[2] / "docs" / "queries.md").read_text()


def table(first_headings: str) -> list[list[str]]:
    """The rows of the table that begins with these headings."""
    [*_, rows] = PAGE.partition(f"| {first_headings} |")
    lines = rows.splitlines()[2:]
    ends = (number for number, line in enumerate(lines) if not line.startswith("|"))
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[: next(ends, None)]]


def rows() -> list[dict[str, Any]]:
    """What `tests.storage.asked` stores."""
    [written] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    rows: list[dict[str, Any]] = json.loads(written)
    for row in rows:
        row |= {name: moments.parse(value) for name, value in row.items() if name.endswith("At")}
    return rows
