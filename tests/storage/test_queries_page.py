"""docs/queries.md: its tables name everything that there is, and its examples find what they say, on both engines."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from storage.engine import Database
from storage.queries import fields, operators, patterns, search, search_index, search_samples, sorting
from storage.queries.fields import Fields
from storage.queries.operators import Operator
from tests.storage.asked import find, question, store
from tests.storage.queries_page import PAGE, rows, table

NOW = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)  # as the page says

RECORDS = {
    "notifications": fields.NOTIFICATION,
    "deliveries": fields.DELIVERY,
    "protocols": fields.PROTOCOL,
    "projectChannels": fields.PROJECT_CHANNEL,
    "userChannels": fields.USER_CHANNEL,
    "quotas": fields.QUOTA,
    "notificationUsages": fields.NOTIFICATION_USAGE,
}


def _example(cell: str) -> dict[str, Any]:
    example: dict[str, Any] = json.loads(cell.strip("`").replace("\\|", "|"))
    return example


OPERATORS = {row[0].strip("`"): row for row in table("operator")}


def test_every_operator_is_on_the_page_in_order() -> None:
    assert list(OPERATORS) == list(Operator)


@pytest.mark.parametrize("operator", Operator)
def test_an_example_is_of_its_operator(operator: Operator) -> None:
    assert _example(OPERATORS[operator][3])["o"] == operator


async def test_the_examples_find_what_the_page_says(database: Database) -> None:
    scope = await store(database, rows())
    found = {}
    for name, row in OPERATORS.items():
        example = _example(row[3])
        asked = question([(example["k"], example["o"], example["v"])], now=NOW)
        found[name] = [number + 1 for number in await find(database, scope, asked)]

    assert found == {name: [int(number) for number in row[4].split()] for name, row in OPERATORS.items()}


@pytest.mark.parametrize("record", RECORDS)
def test_every_field_is_on_the_page(record: str) -> None:
    [(_, named, keyword)] = [row for row in table("record") if row[0] == f"`{record}`"]
    known: Fields = RECORDS[record]

    assert re.findall("`(.*?)`", named) == list(known.fields)
    assert re.findall("`(.*?)`", keyword) == list(known.keyword)


def test_the_bounds_are_those_of_the_code() -> None:
    bounds = {
        row[0]: [int(number.replace(",", "")) for number in re.findall("[0-9,]+", row[1])] for row in table("what")
    }

    assert list(bounds.values()) == [
        [operators.MAX_FILTERS],
        [operators.MAX_VALUES],
        [operators.MAX_TEXTS, operators.MAX_LIST_CHARACTERS],
        [patterns.MAX_PATTERN_CHARACTERS],
        [operators.MAX_VALUE_CHARACTERS],
        [fields.MAX_PATH_SEGMENTS],
        [patterns.MAX_REPEATS],
        [patterns.MAX_PARTS, patterns.MAX_LIST_PARTS],
        [operators.MAX_MATCHED_KEYS],
        [sorting.MAX_SORT_KEYS],
        [100],
    ]
    assert patterns.MAX_PATTERN_CHARACTERS == operators.MAX_SOUGHT_CHARACTERS == fields.MAX_KEY_CHARACTERS


def test_how_it_is_searched_is_as_the_code_has_it() -> None:
    told = PAGE[PAGE.index("**Searching.**") : PAGE.index("## Order and pages")].replace("\n", " ")

    for number, of in (
        (search.FIRST_ROWS, "rows are read"),
        (search.NEXT_ROWS, "."),
        (search.MANY_FOUND, ", or on PostgreSQL"),
        (search_index.FREQUENT, "by its statistics"),
        (search_index.FEW, "contents have, on SQLite"),
        (search_samples.ENOUGH, "at least have to be of the domain"),
        (search.MAX_ALTERNATIVES, "texts"),
    ):
        assert re.search(f"{number:,} ?{re.escape(of)}", told), of
