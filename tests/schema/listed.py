"""Notifications to list, and their list, for the tests of lists."""

from __future__ import annotations

from typing import Any

from graphql import GraphQLInputObjectType

from resolvers.access import Caller
from resolvers.context import Server
from tests.conftest import Clock
from tests.resolvers.callers import ALICE
from tests.resolvers.said import say
from tests.schema.asking import ask
from tests.schema.operations import TYPES

PAGE = """
query (
  $filter: NotificationFilter, $orderBy: [NotificationOrder!],
  $first: Int, $after: Cursor, $last: Int, $before: Cursor
) {
  notifications(filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before) {
    nodes { topic }
    edges { cursor node { topic } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    totalCount
    inbox { unreadCount totalCount }
  }
}
"""


async def page(server: Server, caller: Caller = ALICE, **variables: Any) -> Any:
    return (await ask(server, caller, PAGE, **variables))["notifications"]


def topics(shown: Any) -> list[str]:
    return [edge["node"]["topic"] for edge in shown["edges"]]


async def say_letters(server: Server, clock: Clock, letters: str) -> None:
    for letter in letters:
        await say(server, "alice", topic=letter)
        clock.advance(minutes=1)


def fields_of(input_type: str) -> set[str]:
    type_ = TYPES.type_map[input_type]
    assert isinstance(type_, GraphQLInputObjectType)
    return set(type_.fields)
