"""What an answer costs: Tocsin beside the stock server of an afternoon and beside the floor, on the same data.

    .venv/bin/python -m benchmarks.http
    .venv/bin/python -m benchmarks.http --quick

Each server is one process on a core of its own and the load is on the others; for each operation they are measured
in turn, round after round. CPU of the server's process per request is the sturdier figure: a busy machine changes it
less than requests per second.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import math
import os
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import orjson
import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from benchmarks.http import data, load, operations, servers
from benchmarks.http.operations import Operation
from benchmarks.http.servers import Server

WARM = 0.25  # of a measurement's time, before it
QUICK = {"notifications": 4_000, "rounds": 1, "seconds": 0.1, "connections": 4}
HEAD = (
    "| database | operation | Tocsin, req/s | stock, req/s | floor, req/s "
    "| Tocsin, us of CPU | stock, us | floor, us | better than stock | of the floor |"
)


@dataclass(frozen=True)
class Figures:
    """Of one server and one operation, in one round."""

    per_second: float
    cpu_us: float  # of one request


Cell = tuple[str, str]  # an operation, a server


async def main(options: argparse.Namespace) -> None:
    core = servers.keep_apart()
    loop = "uvloop" if importlib.util.find_spec("uvloop") else "asyncio"
    say(f"Load of the machine before: {_load()}. uvicorn {uvicorn.__version__}: {AutoHTTPProtocol.__name__}, {loop}.\n")
    say(f"{HEAD}\n|{'---|' * HEAD.count(' | ')}---|")
    idle: dict[str, dict[str, float]] = {}
    for engine in options.engines:
        async with data.filled(engine, options.notifications) as places, servers.running(places, core) as running:
            idle[engine] = {server.name: server.resident_mb for server in running}
            idle[engine].pop(operations.KEEPING)
            for line in await compare(engine, running, options):
                say(line)
    elapsed, cpu = servers.import_seconds(core, options.rounds)
    say(f"\nImport of Tocsin: {elapsed:.2f} s, of that {cpu:.2f} s of CPU.\n")
    say("| database | Tocsin idle, MB | stock idle, MB | floor idle, MB |\n|---|---|---|---|")
    for engine, resident in idle.items():
        say(f"| {engine} | {' | '.join(f'{megabytes:.0f}' for megabytes in resident.values())} |")
    say(f"\nLoad of the machine after: {_load()}.")


async def compare(engine: str, running: Sequence[Server], options: argparse.Namespace) -> list[str]:
    """The lines of the table of this engine."""
    asked = operations.operations(options.notifications, servers.token, recipients=options.connections)
    for operation in asked:
        await check(operation, running)
    rounds: dict[Cell, list[Figures]] = {}
    for _ in range(options.rounds):
        for operation in asked:
            for server in running:
                if operation.requests(server.name):
                    figures = await measure(server, operation, options)
                    rounds.setdefault((operation.name, server.name), []).append(figures)
    lines = [_line(engine, operation.name, rounds) for operation in asked]
    kept = [each.name for each in asked if each.is_kept]
    return lines + [_line(engine, name, rounds, operations.KEEPING, ", unchanged inbox") for name in kept]


async def check(operation: Operation, running: Iterable[Server]) -> None:
    """Every server has to answer the same, where it is asked for what is in every database."""
    answers = {}
    for server in running:
        if requests := operation.requests(server.name):
            async with load.connections(server.port, 1) as connections:
                answers[server.name] = [_comparable(await connections.ask(request)) for request in requests[:3]]
    for name, answer in answers.items():
        assert answer == answers["Tocsin"], f"{operation.name}: {name} {answer}, but Tocsin {answers['Tocsin']}"


async def measure(server: Server, operation: Operation, options: argparse.Namespace) -> Figures:
    requests, seconds = operation.requests(server.name), options.seconds
    async with (
        load.connections(server.port, options.connections) as connections,
        load.watchers(server.port, operation.watchers, operations.WATCH, probe=operations.PROBE) as watchers,
    ):
        await watchers.rouse(connections, operation.probes)
        warm = await connections.run(requests, WARM * seconds)
        await watchers.wait(warm.requests if operation.watchers else 0)
        before = server.cpu_seconds
        pace = await connections.run(requests, seconds)
        await watchers.wait(warm.requests + pace.requests if operation.watchers else 0)
        used = server.cpu_seconds - before
    return Figures(pace.requests / pace.seconds, used / pace.requests * 1e6)


def _comparable(answer: bytes) -> Any:
    """Without ids that are drawn, cursors, and moments, which not all spell alike."""
    answered = orjson.loads(answer)["data"]
    for field in answered.values():
        for node in field.get("nodes", [field.get("notification", field)]):
            node.pop("createdAt", None)
        field.get("pageInfo", {}).pop("endCursor", None)
        if "notification" in field:
            field["notification"].pop("notificationId")
    return answered


def _line(engine: str, operation: str, rounds: dict[Cell, list[Figures]], server: str = "Tocsin", how: str = "") -> str:
    ours, stock, floor = (_median(rounds.get((operation, name), [])) for name in (server, "stock", "floor"))
    numbers = [f"{each.per_second:,.0f}" for each in (ours, stock, floor)]
    numbers += [f"{each.cpu_us:,.0f}" for each in (ours, stock, floor)]
    ratios = [f"{stock.cpu_us / ours.cpu_us:.1f} x", f"{floor.cpu_us / ours.cpu_us:.0%}"]
    return f"| {' | '.join([engine, operation + how, *numbers, *ratios])} |".replace("nan%", "").replace("nan", "")


def _median(figures: Sequence[Figures]) -> Figures:
    """Each figure's; nan where nothing was measured."""
    if not figures:
        return Figures(math.nan, math.nan)
    return Figures(*(statistics.median(values) for values in zip(*map(astuple, figures), strict=True)))


def _load() -> str:
    return ", ".join(f"{average:.2f}" for average in os.getloadavg())


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What an answer costs, beside the stock server and the floor.")
    parser.add_argument("--engines", nargs="+", default=["sqlite", "postgres"], choices=["sqlite", "postgres"])
    parser.add_argument("--notifications", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one measurement")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--quick", action="store_true", help="only whether it works: little data, one short round")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    return options


if __name__ == "__main__":
    asyncio.run(main(_options()))
