"""The long run, on databases of its own with every commit on disk.

.venv/bin/python -m tests.chaos.streams --changes 100000 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys

from benchmarks import stand
from storage.engine import Database
from tests.chaos.streams import scenario, servers
from tests.chaos.streams.inside import Inside


async def run(engine: str, changes: int, seed: int) -> None:
    async with stand.database(engine) as database:
        other = await _another(database)
        async with servers.running((database, other), seed) as running:
            doors = [Inside(server) for server in running]
            report = await scenario.run(doors, database, domain="home", changes=changes, seed=seed)
        if other is not database:
            await other.close()
    sys.stdout.write(f"{engine}: {report}\n")


async def _another(database: Database) -> Database:
    """The connections of a second process, where there can be one."""
    if database.is_sqlite:
        return database
    other = Database(database.url.render_as_string(hide_password=False))
    await other.open()
    return other


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Every client of a stream has its inbox's log, whatever happens.")
    parser.add_argument("--engines", nargs="+", default=["sqlite", "postgres"], choices=["sqlite", "postgres"])
    parser.add_argument("--changes", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    return parser.parse_args()


if __name__ == "__main__":
    options = _options()
    sys.stdout.write(f"seed {options.seed}\n")
    for engine in options.engines:
        asyncio.run(run(engine, options.changes, options.seed))
