"""A database that does not answer is told as that, and not as a mistake of anybody's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

import schema
from schema.context import Context
from schema.http import Via
from storage.engine import Database
from tests.resolvers.callers import ADMIN
from tests.schema.world import World

CREATE = """
    mutation { createNotification(input: {
      resourceType: "identity.User", resourceId: "a", topic: "t", message: {}, idempotencyKey: "k"
    }) { replayed } }
"""


@pytest.fixture
async def away() -> AsyncIterator[Database]:
    """A database that nobody serves."""
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    await database.open()
    yield database
    await database.close()


@pytest.mark.parametrize("document", ["{ inbox { unreadCount } }", CREATE])
async def test_without_its_database_the_server_is_unavailable(world: World, away: Database, document: str) -> None:
    context = Context(replace(world.server, database=away), ADMIN, Via.POST)

    result = await schema.build().execute(document, context_value=context)

    [error] = result.errors or []
    assert error.extensions == {"code": "UNAVAILABLE"}
    assert "idempotency key" in error.message
