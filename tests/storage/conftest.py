"""A database with rows, for the tests of how statements are answered."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from storage.engine import Database
from tests.storage import populated


@pytest.fixture
async def filled(database: Database) -> Database:
    def fill(connection: Any) -> None:
        for model, rows in populated.tables().items():
            connection.execute(insert(model), rows)

    await database.run_sync(fill)
    return database
