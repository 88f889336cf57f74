"""The whole API without a socket: over the server that the resolvers' tests have, and over a populated world."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import Clock
from tests.resolvers.conftest import courier, server, wakes
from tests.schema import world as worlds
from tests.schema.world import Things, World

__all__ = ["courier", "server", "wakes"]


@dataclass(frozen=True)
class _Prepared:
    """A populated database's file, closed."""

    path: Path
    of: Mapping[str, Things]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _prepared(tmp_path_factory: pytest.TempPathFactory) -> _Prepared:
    path = tmp_path_factory.mktemp("world") / "tocsin.db"
    async with worlds.serving(f"sqlite:///{path}", Clock()) as server:
        of = await worlds.populate(server)
    return _Prepared(path, of)


@pytest.fixture
async def world(_prepared: _Prepared, tmp_path: Path, clock: Clock) -> AsyncIterator[World]:
    """A world of the test's own, on SQLite."""
    path = shutil.copy(_prepared.path, tmp_path / "tocsin.db")
    async with worlds.serving(f"sqlite:///{path}", clock) as server, worlds.opened(server, _prepared.of) as world:
        yield world
