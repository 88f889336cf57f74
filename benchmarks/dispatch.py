"""How many deliveries Tocsin makes per second, beside Apprise to the same receiver, and with a history of a million.

    .venv/bin/python -m benchmarks.dispatch

Every one of Tocsin's is claimed, sent, and recorded with its attempt, durably; Apprise sends, and forgets. Rounds of
both alternate, so that what else the machine does meanwhile falls on both alike.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from ipaddress import ip_network

import apprise
import structlog
from cryptography.fernet import Fernet

from benchmarks import sink, stand
from dispatch.network import Network
from dispatch.plugins.webhook import Webhook
from dispatch.worker import Worker, WorkerSettings
from storage.engine import Database
from storage.secrets import Vault

LOOPBACK = ip_network("127.0.0.0/8")
APPRISE_AT_ONCE = (8, 16, 32, 64)  # its best of these counts
DEADLINE = 120.0  # seconds for one round
POLL = 0.005  # seconds between two looks at whether a round is done


class Tocsin:
    """A worker as `serve` runs it, on a database of its own."""

    def __init__(self, database: Database, port: int) -> None:
        self._database = database
        self._vault = Vault(Fernet.generate_key())
        self._url = f"http://127.0.0.1:{port}/hook"
        self._destination = f"127.0.0.1:{port}"
        self._rounds = 0

    async def prepare(self) -> None:
        await stand.add_channel(self._database, self._vault, self._url, destination=self._destination)

    async def rate(self, count: int, per_destination: int) -> float:
        """Deliveries per second, from the worker's start to the last record."""
        self._rounds += 1
        batch = f"round-{self._rounds}"
        await stand.add_due(self._database, count, destination=self._destination, batch=batch)
        network, done, told = Network([LOOPBACK], 15.0), asyncio.Event(), 0

        async def announce(changed: Sequence[object]) -> None:
            nonlocal told
            told += len(changed)
            if told >= 2 * count:  # once when it is claimed, once when it is recorded
                done.set()

        settings = WorkerSettings(per_destination=per_destination)
        worker = Worker(
            self._database,
            self._vault,
            plugins={"webhook": Webhook(network)},
            clock=lambda: datetime.now(UTC),
            settings=settings,
            announce=announce,
        )
        started = time.perf_counter()
        worker.start()
        async with asyncio.timeout(DEADLINE):
            await done.wait()
            while await stand.delivered(self._database, batch) < count:  # noqa: ASYNC110 - nothing tells of a commit
                await asyncio.sleep(POLL)
        elapsed = time.perf_counter() - started
        await worker.stop(1.0)
        await network.close()
        return count / elapsed


class Apprise:
    def __init__(self, port: int) -> None:
        self._notifier = apprise.Apprise()
        self._notifier.add(f"json://127.0.0.1:{port}/hook")

    async def rate(self, count: int, at_once: int) -> float:
        """Notifications per second, with so many of them under way."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(at_once))
        left = iter(range(count))

        async def send() -> None:
            for _ in left:
                assert await self._notifier.async_notify(title="Disk full", body="On web-1 there are 3 GiB left.")

        started = time.perf_counter()
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*(send() for _ in range(at_once)))
        return count / (time.perf_counter() - started)

    async def best(self, count: int) -> int:
        rates = {at_once: await self.rate(count, at_once) for at_once in APPRISE_AT_ONCE}
        return max(rates, key=lambda at_once: rates[at_once])


async def compare(engine: str, port: int, options: argparse.Namespace) -> None:
    """Rounds of Tocsin and of Apprise in turn."""
    apprise_client = Apprise(port)
    at_once = await apprise_client.best(options.count // 4)
    async with stand.database(engine) as database:
        tocsin = Tocsin(database, port)
        await tocsin.prepare()
        await tocsin.rate(options.count // 4, options.per_destination)  # both are warm by now
        pairs = [
            (
                await tocsin.rate(options.count, options.per_destination),
                await apprise_client.rate(options.count, at_once),
            )
            for _ in range(options.rounds)
        ]
    ours, theirs = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    say(f"| {engine} | {ours:,.0f} | {theirs:,.0f} ({at_once} at once) | {ours / theirs:.1f} |")


async def compare_history(engine: str, port: int, options: argparse.Namespace) -> None:
    """Rounds on an empty table and on one with a history, in turn."""
    async with stand.database(engine) as empty, stand.database(engine) as full:
        ways = [Tocsin(empty, port), Tocsin(full, port)]
        for way in ways:
            await way.prepare()
            await way.rate(options.count // 4, options.per_destination)
        await stand.add_finished(full, options.finished)
        pairs = [
            [await way.rate(options.count, options.per_destination) for way in ways] for _ in range(options.rounds)
        ]
    without, with_history = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    say(f"| {engine} | {without:,.0f} | {with_history:,.0f} | {without / with_history:.2f} |")


async def main(options: argparse.Namespace) -> None:
    with sink.running() as port:
        say("| database | Tocsin, deliveries/s | Apprise, notifications/s | ratio |\n|---|---|---|---|")
        for engine in options.engines:
            await compare(engine, port, options)
        if options.finished:
            say(f"\n| database | empty, deliveries/s | with {options.finished:,} finished ones | times as long |")
            say("|---|---|---|---|")
            for engine in options.engines:
                await compare_history(engine, port, options)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Deliveries per second to a receiver on the loopback.")
    parser.add_argument("--engines", nargs="+", default=["sqlite", "postgres"], choices=["sqlite", "postgres"])
    parser.add_argument("--count", type=int, default=4_000, help="deliveries of one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--per-destination", type=int, default=8, help="as TOCSIN_DISPATCH_PER_DESTINATION")
    parser.add_argument("--finished", type=int, default=1_000_000, help="deliveries of the history; 0: without it")
    return parser.parse_args()


if __name__ == "__main__":
    with open("/dev/null", "w") as nowhere:
        structlog.configure(
            processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
            logger_factory=structlog.PrintLoggerFactory(nowhere),
        )
        asyncio.run(main(_options()))
