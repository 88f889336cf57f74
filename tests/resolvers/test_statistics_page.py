"""docs/statistics.md: its tables name every operator, and its examples come out as they say, on both engines."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

from resolvers import stages, statistics
from resolvers.access import Caller, Role
from resolvers.context import Server
from resolvers.errors import InvalidArgument
from resolvers.statistics import StatisticsQuery
from storage import statistics as rows
from storage.pipelines import dates
from storage.pipelines.stages import GroupOperator, ProjectOperator, Stage
from storage.queries import moments, operators, sorting
from storage.statistics import Record
from tests.resolvers.callers import NEVER
from tests.storage.asked import store

PAGE = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text()
[DATA, *_EXAMPLES] = [json.loads(written) for written in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
EXAMPLES = list(zip(_EXAMPLES[::2], _EXAMPLES[1::2], strict=True))


def _operators(first_heading: str) -> list[str]:
    """The first cells of a table."""
    [_, table] = PAGE.split(f"| {first_heading} |\n")
    rows = table.partition("\n\n")[0].splitlines()[1:]
    return [row.split("|")[1].strip().strip("`") for row in rows]


def test_every_operator_is_on_the_page_in_order() -> None:
    assert _operators("operator | what it makes of the group's rows") == [*GroupOperator]
    assert _operators("operator | takes | what it makes of a row") == ["none", *ProjectOperator]


def test_every_operator_and_stage_has_an_example() -> None:
    asked = str([query for query, _ in EXAMPLES])

    assert [each for each in [*GroupOperator, *ProjectOperator] if f"'{each}'" not in asked] == []
    assert [each for each in get_args(Stage) if f"{{'{each.__name__.lower()}':" not in asked] == []


def test_every_part_of_a_date_is_on_the_page() -> None:
    assert [each for each in [*dates.TOKENS, *dates.PARTS] if f"`{each}`" not in PAGE] == []


def test_every_bound_is_on_the_page() -> None:
    bounds = PAGE.split("\n## Bounds\n")[1].replace("\n", " ")

    for bound, what in (
        (stages.MAX_STAGES, "stages"),
        (stages.MAX_UNWINDS, "of them `unwind`"),
        (stages.MAX_KEYS, "keys of a group"),
        (stages.MAX_FIELDS, "fields in all"),
        (sorting.MAX_SORT_KEYS, "keys of a `sort`"),
        (stages.MAX_MEMBERS, "fields of a `push`"),
        (stages.MAX_OPERANDS, "`fields` of an operator"),
        (operators.MAX_FILTERS, "filters in all stages"),
        (rows.MAX_ROWS, "rows"),
        (rows.MAX_GATHERED, "values"),
        (rows.MAX_GATHERED_CHARACTERS, "characters"),
        (round(statistics.AT_MOST.total_seconds()), "seconds"),
    ):
        assert f"{bound:,} {what}" in bounds
    assert f"nested {stages.MAX_NESTED} deep" in bounds
    assert f"names of {stages.MAX_NAME_CHARACTERS} characters" in bounds
    assert f"{rows.MAX_RESULT_BYTES // 2**20} MiB" in bounds


async def _admin_of_the_examples(server: Server) -> Caller:
    given = [{**row, **{at: moments.parse(row[at]) for at in ("createdAt", "readAt") if at in row}} for row in DATA]
    scope = await store(server.database, given)
    return Caller(scope.domain_id or "", "admin", Role.DOMAIN_ADMIN, NEVER)


async def test_the_examples_come_out_as_the_page_says(server: Server) -> None:
    caller = await _admin_of_the_examples(server)
    for query, results in EXAMPLES:
        found = await statistics.read(server, caller, Record.NOTIFICATION, StatisticsQuery(**query))

        assert (query, found.results) == (query, results)


async def _outcome(server: Server, caller: Caller, query: dict[str, Any]) -> Any:
    """The results, or the field that is wrong."""
    try:
        return (await statistics.read(server, caller, Record.NOTIFICATION, StatisticsQuery(**query))).results
    except InvalidArgument as refusal:
        return refusal.field


async def test_the_differences_are_as_the_page_says(server: Server) -> None:
    caller = await _admin_of_the_examples(server)
    table = PAGE.split("| original | here | example | comes to |\n")[1].partition("\n\n")[0].splitlines()[1:]
    cells = [[cell.strip().strip("`") for cell in row.strip("|").split(" | ")] for row in table]
    for _, _, example, expected in cells:
        outcome = await _outcome(server, caller, json.loads(example))

        assert (example, outcome) == (example, json.loads(expected) if expected.startswith("[") else expected)
    assert len(cells) == 13
