"""What a live event costs: Tocsin beside the stock server of an afternoon and beside the floor, with many sockets.

    .venv/bin/python -m benchmarks.fanout
    .venv/bin/python -m benchmarks.fanout --quick

What leads to an event is in `shapes`, how the servers run in `layouts`. In the layout `one` a server is one process on
an empty SQLite database, on a core of its own; the crowd is on the other. In the layout `two`, of own inboxes only,
another process of the same installation takes the creates, over one PostgreSQL database and one Valkey, all on the
crowd's core; the process with the sockets helps to reach crowds of more than 100, as processes do. The same creates
without any socket come first: what they cost the process is the writing, and the rest of what it spends when saturated
is the streaming. The floor writes nothing, and is one process in both. Over Redis broadcaster loses those who come to
one channel at the same time, but one: so the stock server has no shared feed there.

Saturated: so many creates at a time, each followed by the next when every socket has its event. Steady: one create at
a time, at a rate that gives so many events a second; a delay is from the create's being sent to an event's coming. CPU
of the process with the sockets is the sturdiest figure. What a send takes depends on how busy who receives is: one that
sleeps has to be woken. So the floor is measured twice, saturated, and at as many events a second as Tocsin had come to;
shares of its CPU are of the latter.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace

from benchmarks.fanout import crowd
from benchmarks.fanout.crowd import Crowd
from benchmarks.fanout.layouts import ONE, TWO, Stand, running
from benchmarks.fanout.shapes import SHAPES, Shape
from benchmarks.http import load, servers
from benchmarks.http.servers import Server

SHAPE_NAMES = [shape.name for shape in SHAPES]
PACED = "floor, at Tocsin's rate"
SERVERS = {"Tocsin": "Tocsin", "stock": "stock", "floor": "floor", PACED: "floor"}  # by the rows of the table
QUICK = {"sockets": [20], "rounds": 1, "seconds": 0.2, "layout": [ONE]}
PROBES = 10
PROBE_S = 2.0  # for an event to come to all
SETTLED_S = 0.5  # without CPU
MIN_WRITES, ROWS_WRITTEN = 16, 10_000  # creates, and what they lead to, without a socket
HEAD = (
    "| shape | processes | sockets | server | events/s | CPU of an event, us | of that streaming, us | p50, ms "
    "| p99, ms | socket, kB | lost | x stock, events/s | of the floor | x stock, CPU | of the floor "
    "| x stock, streaming | of the floor |"
)


@dataclass(frozen=True)
class Figures:
    """Of one server in one round; an event is one that came to one socket."""

    per_second: float
    cpu_us: float
    streaming_us: float  # the same without what the writing takes
    p50_ms: float
    p99_ms: float
    socket_kb: float
    lost: int


async def main(options: argparse.Namespace) -> None:
    core = servers.keep_apart()
    say(f"Load of the machine before: {os.getloadavg()[0]:.2f}.\n\n{HEAD}\n|{'---|' * HEAD.count(' | ')}---|")
    shapes = [shape for shape in SHAPES if shape.name in options.shape]
    wanted = [(shape, layout) for shape in shapes for layout in options.layout if shape.is_own or layout == ONE]
    for (shape, layout), count in itertools.product(wanted, options.sockets):
        rounds: dict[str, list[Figures]] = {name: [] for name in SERVERS}
        for _, name in itertools.product(range(options.rounds), SERVERS):
            rate = rounds["Tocsin"][-1].per_second if name == PACED else math.inf
            async with running(SERVERS[name], layout, core) as stand:
                rounds[name].append(await measure(stand, shape, count, options, rate))
        for line in lines(shape, layout, count, {name: median(found) for name, found in rounds.items()}):
            say(line)
    say(f"\nLoad of the machine after: {os.getloadavg()[0]:.2f}.")


async def measure(stand: Stand, shape: Shape, count: int, options: argparse.Namespace, rate: float) -> Figures:
    """Under load it is given so many events a second; saturated, where that is without end."""
    server, writer = stand.server, stand.writer
    request, tokens = shape.request(server.name), shape.tokens(count)
    async with load.connections(writer.port, 1) as connection:
        await shape.prepare(server.name, connection, count)
    written_us = await writing(stand, request, times=max(MIN_WRITES, ROWS_WRITTEN // count), at_once=options.creates)
    before = server.resident_mb
    async with crowd.gathered(server.port, tokens, shape.query) as gathered:
        await rouse(writer, gathered, request)
        await settled(server)
        socket_kb = (server.resident_mb - before) * 1e3 / count
        per_second, cpu_us, lost = await loaded(server, writer, gathered, request, options, rate)
        await settled(server)
        steadily = options.steady / count
        repeated = 0 if server.name == "floor" else gathered.repeated  # the floor sends the same over and over
        lost += repeated + await steady(writer, gathered, request, steadily, round(max(3, steadily * options.seconds)))
        delays = sorted(delay * 1e3 for delay in gathered.delays)
    p50, p99 = statistics.median(delays), delays[int(len(delays) * 0.99)]
    return Figures(per_second, cpu_us, cpu_us - written_us / count, p50, p99, socket_kb, lost)


async def create(writer: Server, request: bytes) -> None:
    """Over a connection of its own: servers close those over which nothing comes for some seconds."""
    async with load.connections(writer.port, 1) as connection:
        await connection.ask(request)


async def writing(stand: Stand, request: bytes, *, times: int, at_once: int) -> float:
    """The CPU of one create to which nobody listens, in microseconds, of the process that will have the sockets."""

    async def creating(times: int) -> None:
        async with load.connections(stand.writer.port, 1) as connection:
            for _ in range(times):
                await connection.ask(request)

    each = times // at_once
    await creating(1)
    await settled(stand.server, stand.writer)
    before = stand.server.cpu_seconds
    await asyncio.gather(*(creating(each) for _ in range(at_once)))
    await settled(stand.server, stand.writer)
    return (stand.server.cpu_seconds - before) / (each * at_once) * 1e6


async def rouse(writer: Server, gathered: Crowd, request: bytes) -> None:
    """Until an event comes to every socket: nothing else tells that their subscriptions have begun."""
    for _ in range(PROBES):
        gathered.forget()
        await create(writer, request)
        if await gathered.wait(len(gathered.members), seconds=PROBE_S) and not gathered.lost(1):
            return
    raise load.Failed("not every socket has come to hear of events")


async def loaded(
    server: Server, writer: Server, gathered: Crowd, request: bytes, options: argparse.Namespace, rate: float
) -> tuple[float, float, int]:
    """Events a second, the CPU of one in microseconds, and how many were lost."""
    gathered.forget()
    loop = asyncio.get_running_loop()
    started, before = loop.time(), server.cpu_seconds
    end, sent = started + options.seconds, itertools.count(1)

    async def creating() -> int:
        number = 0
        async with load.connections(writer.port, 1) as connection:
            while loop.time() < end:
                number = next(sent)
                await asyncio.sleep(max(0.0, started + number * len(gathered.members) / rate - loop.time()))
                await connection.ask(request)
                await gathered.wait(number * len(gathered.members))
        return number

    numbers = await asyncio.gather(*(creating() for _ in range(options.creates)))
    wanted = max(numbers) * len(gathered.members)
    elapsed, cpu = loop.time() - started, server.cpu_seconds - before
    await settled(server)
    return wanted / elapsed, cpu / wanted * 1e6, gathered.lost(max(numbers))


async def steady(writer: Server, gathered: Crowd, request: bytes, rate: float, times: int) -> int:
    """How many were lost; the delays are the crowd's."""
    gathered.forget()
    loop = asyncio.get_running_loop()
    for number in range(1, times + 1):
        gathered.sent_at = loop.time()
        await create(writer, request)
        await gathered.wait(number * len(gathered.members))
        await asyncio.sleep(max(0.0, gathered.sent_at + 1 / rate - loop.time()))
    return gathered.lost(times)


async def settled(*processes: Server) -> None:
    """Until they do nothing any more."""
    used, before = [process.cpu_seconds for process in processes], [-1.0 for _ in processes]
    while any(now - then > SETTLED_S / 50 for now, then in zip(used, before, strict=True)):
        await asyncio.sleep(SETTLED_S)
        used, before = [process.cpu_seconds for process in processes], used


def median(found: Sequence[Figures]) -> Figures:
    """Each figure's, but all that was lost."""
    middle = Figures(*(statistics.median(values) for values in zip(*map(astuple, found), strict=True)))
    return replace(middle, lost=sum(each.lost for each in found))


def lines(shape: Shape, layout: str, count: int, found: Mapping[str, Figures]) -> list[str]:
    return [_line(f"| {shape.name} | {layout} | {count:,} | {name}", name, found) for name in found]


def _line(head: str, name: str, found: Mapping[str, Figures]) -> str:
    ours, stock, floor, paced = found[name], found["stock"], found["floor"], found[PACED]
    numbers = [f"{ours.per_second:,.0f}", f"{ours.cpu_us:.1f}", f"{ours.streaming_us:.1f}"]
    numbers += [f"{ours.p50_ms:.1f}", f"{ours.p99_ms:.1f}", f"{ours.socket_kb:.1f}", str(ours.lost)]
    ratios = ["", "", "", "", "", ""]
    if name == "Tocsin":
        ratios = [
            f"{ours.per_second / stock.per_second:.1f} x",
            f"{ours.per_second / floor.per_second:.0%}",
            f"{stock.cpu_us / ours.cpu_us:.1f} x",
            f"{paced.cpu_us / ours.cpu_us:.0%}",
            f"{stock.streaming_us / ours.streaming_us:.1f} x",
            f"{paced.streaming_us / ours.streaming_us:.0%}",
        ]
    return f"{head} | {' | '.join([*numbers, *ratios])} |"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a live event costs, beside the stock server and the floor.")
    parser.add_argument("--sockets", nargs="+", type=int, default=[100, 1_000, 2_000])
    parser.add_argument("--layout", nargs="+", choices=[ONE, TWO], default=[ONE, TWO], help="how many processes")
    parser.add_argument("--shape", nargs="+", choices=SHAPE_NAMES, default=SHAPE_NAMES)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one measurement")
    parser.add_argument("--creates", type=int, default=4, help="at a time, when saturated")
    parser.add_argument("--steady", type=float, default=2_000, help="events a second, over all sockets")
    parser.add_argument("--quick", action="store_true", help="only whether it works: few sockets, one short round")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    return options


if __name__ == "__main__":
    asyncio.run(main(_options()))
