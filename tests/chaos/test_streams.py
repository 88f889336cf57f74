"""Clients that come and go, on two servers that tell each other nothing: each has its inbox's log, and nothing else.

`STREAM_SEED=...` in the environment chooses the seed; `python -m tests.chaos.streams` is the long run.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from resolvers.events import EventKind
from storage.engine import Database
from tests.chaos.streams import scenario, servers
from tests.chaos.streams.history import Difference
from tests.chaos.streams.inside import Inside
from tests.chaos.streams.outside import Outside
from tests.chaos.streams.readers import Reader, Way
from tests.chaos.streams.scenario import Played
from tests.chaos.streams.told import Counts, Entry, Told
from tests.conftest import assert_ends_well, new_postgres
from tests.server import ServerProcess

CHANGES = 2_500  # on each engine
CHANGES_OVER_SOCKETS = 200
CHANGES_TO_SPOIL = 100


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("STREAM_SEED", random.randrange(2**32)))
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    return seed


async def test_every_client_has_the_log_of_its_inbox_and_nothing_else(database: Database, seed: int) -> None:
    async with servers.running(database, seed) as running:
        doors = [Inside(server) for server in running]
        report = await scenario.run(doors, running[0], domain="home", changes=CHANGES, seed=seed)

    print(report)  # noqa: T201 - shown with -s
    assert report.changes >= CHANGES
    assert set(report.events) == set(EventKind), "not everything happened"


@pytest.fixture(params=["sqlite", "postgres"])
async def processes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[ServerProcess]]:
    """A server; on PostgreSQL two, each with a hub of its own: only the check of all inboxes joins them."""
    folders, settings = [tmp_path / "one"], {"dispatch_worker": "false"}
    if request.param == "postgres":
        folders.append(tmp_path / "other")
        settings["database_url"] = await new_postgres(request.getfixturevalue("postgres"))
    servers = [ServerProcess(folder, **settings) for folder in folders]
    servers[0].start()
    for server in servers[1:]:
        shutil.copytree(servers[0].folder, server.folder)  # with the key of its tokens
        server.start()
    yield servers
    for server in servers:
        assert_ends_well(server)


async def test_the_same_over_real_sockets(processes: list[ServerProcess], seed: int) -> None:
    database, doors = Database(processes[0].database_url), [Outside(process) for process in processes]
    await database.open()
    async with servers.running(database, seed) as [keeper, _]:
        report = await scenario.run(doors, keeper, domain="default", changes=CHANGES_OVER_SOCKETS, seed=seed)
    await asyncio.gather(*(door.close() for door in doors))
    await database.close()

    print(report)  # noqa: T201 - shown with -s
    assert report.changes >= CHANGES_OVER_SOCKETS


Spoil = Callable[[Entry, Told], list[Entry]]
FAULTS: dict[str, Spoil] = {
    "loses": lambda entry, told: [],
    "repeats": lambda entry, told: [entry, entry],
    "miscounts": lambda entry, told: [replace(entry, what=replace(told, counts=Counts(-1, -1)))],
    "takes for another's": lambda entry, told: [replace(entry, what=replace(told, origin_id="somebody"))],
    "turns around": lambda entry, told: [replace(entry, what=replace(told, is_read=not told.is_read))],
    "begins anew": lambda entry, told: [replace(entry, what=replace(told, kind=EventKind.RESET))],
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_whatever_a_stream_does_wrong_is_found(database: Database, seed: int) -> None:
    """Among all that clients rightly had, one event of one client is spoilt."""
    async with servers.running(database, seed) as running:
        doors = [Inside(server) for server in running]
        played = await scenario.play(doors, running[0], domain="home", changes=CHANGES_TO_SPOIL, seed=seed)
    played.compare()

    chance = random.Random(seed)
    for name, spoil in FAULTS.items():
        reader = chance.choice([each for each in played.readers if _can_be_spoilt(played, each)])
        number = chance.choice([number for number, entry in enumerate(reader.entries) if _is_owed(played, entry)])
        rightly, entry = list(reader.entries), reader.entries[number]
        assert isinstance(entry.what, Told)
        reader.entries[number : number + 1] = spoil(entry, entry.what)
        print(f"{name}: {entry}")  # noqa: T201 - shown when the test fails
        with pytest.raises(Difference, match=f"seed {seed}"):
            played.compare()
        reader.entries = rightly


def _can_be_spoilt(played: Played, reader: Reader) -> bool:
    """Whether nothing would excuse it."""
    return reader.way is Way.CHANGED and played.histories[reader.user].is_undisturbed


def _is_owed(played: Played, entry: Entry) -> bool:
    """Whether the client had to be told this: it exists to the end."""
    row = entry.what.row if isinstance(entry.what, Told) else None
    return row is not None and all(row.notification_id not in each.gone_since for each in played.histories.values())
