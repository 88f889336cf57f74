"""The long run, on databases of its own with every commit on disk.

.venv/bin/python -m tests.chaos.streams --changes 100000 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys

from benchmarks import stand
from tests.chaos.streams import scenario, servers
from tests.chaos.streams.inside import Inside


async def run(engine: str, changes: int, seed: int) -> None:
    async with stand.database(engine) as database, servers.running(database, seed) as running:
        doors = [Inside(server) for server in running]
        report = await scenario.run(doors, running[0], domain="home", changes=changes, seed=seed)
    sys.stdout.write(f"{engine}: {report}\n")
    sys.stdout.flush()


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
