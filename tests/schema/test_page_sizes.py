"""What a document asks for is bounded by the sizes of its pages, multiplied down the tree."""

from __future__ import annotations

import pytest
from graphql import parse

from resolvers.context import Server
from schema.execution import validated
from tests.resolvers.callers import ALICE
from tests.schema.asking import API, refused

DELIVERIES = "notification { deliveries(first: 100) { nodes { INNER } } }"


def _refusals(document: str) -> list[str]:
    return [error.message for error in validated(API._schema, parse(document))]


def _of_delivery(levels: int) -> str:
    """The deliveries of a delivery's notification, those of their notifications, and so on, all of them full pages."""
    selected = "id"
    for _ in range(levels):
        selected = DELIVERIES.replace("INNER", selected)
    return selected


def _nested(levels: int) -> str:
    return "{ deliveries(first: 100) { nodes { " + _of_delivery(levels) + " } } }"


@pytest.mark.parametrize(
    "document",
    [
        _nested(1),
        "{ notifications(first: 100) { nodes { deliveries(first: 100) { nodes { attempts { error } } } } } }",
        "{ notifications { nodes { deliveries { nodes { notification { deliveries { nodes { id } } } } } } } }",
        _nested(2).replace("100", "20"),
        _nested(3).replace("100", "0"),
        "{ " + " ".join(f"a{n}: notifications(first: 100) {{ nodes {{ id }} }}" for n in range(50)) + " }",
        "query ($first: Int) { notifications(first: $first) { nodes { deliveries(first: $first) { nodes { id } } } } }",
    ],
)
def test_pages_of_pages_are_answered(document: str) -> None:
    assert _refusals(document) == []


@pytest.mark.parametrize(
    "document",
    [
        _nested(2),
        _nested(3),
        _nested(2).replace("first: 100", "first: 2147483647"),
        "{ notifications(last: 100) { nodes { deliveries(first: 100) { nodes { " + _of_delivery(1) + " } } } } }",
        _nested(2).replace("first: 100", "query: {page: {limit: 100}}", 1),
        "query ($first: Int) " + _nested(2).replace("first: 100", "first: $first"),
        "{ deliveries(first: 100) { nodes { ...A } } }"
        " fragment A on Delivery { ...B } fragment B on Node { ... on Delivery { " + _of_delivery(2) + " } }",
        "{ " + " ".join(f"a{n}: deliveries(first: 100) {{ nodes {{ {_of_delivery(1)} }} }}" for n in range(2)) + " }",
        "subscription { notificationCreated { deliveries { nodes { " + _of_delivery(2) + " } } } }",
        "mutation ($input: CreateNotificationInput!) { createNotification(input: $input) { notifications {"
        " deliveries(first: 100) { nodes { notification { deliveries { nodes { id } } } } } } } }",
    ],
)
def test_pages_of_pages_of_pages_are_refused(document: str) -> None:
    assert "The document asks for more than 20000 rows." in _refusals(document)


async def test_an_operation_that_would_not_end_is_refused_before_anything_is_read(server: Server) -> None:
    assert await refused(server, ALICE, _nested(3)) == ("INVALID_ARGUMENT", "query")
