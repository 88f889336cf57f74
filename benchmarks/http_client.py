"""What one POST costs with each HTTP client that deliveries could use, and with the checked one that they do use.

    .venv/bin/python -m benchmarks.http_client

CPU of this process per request, for requests to a receiver in another process; rounds of all alternate.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from ipaddress import ip_network

import aiohttp
import httpx

from benchmarks import sink
from dispatch.network import Network

AT_ONCE = 32
REQUESTS = 1_000  # of one round
ROUNDS = 5
BODY = b'{"message": {"title": "Disk full"}}'

Post = Callable[[], Awaitable[object]]


async def _measure(post: Post) -> float:
    """Milliseconds of CPU per request."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with turns:
            await post()

    started = time.process_time()
    await asyncio.gather(*(one() for _ in range(REQUESTS)))
    return (time.process_time() - started) / REQUESTS * 1_000


async def _main(port: int) -> None:
    url = f"http://127.0.0.1:{port}/hook"
    async with AsyncExitStack() as stack:
        plain_httpx = await stack.enter_async_context(httpx.AsyncClient())
        plain_aiohttp = await stack.enter_async_context(aiohttp.ClientSession())
        network = Network(allow=[ip_network("127.0.0.0/8")], timeout=10)
        stack.push_async_callback(network.close)

        async def by_aiohttp() -> None:
            async with plain_aiohttp.post(url, data=BODY) as response:
                await response.read()

        clients: dict[str, Post] = {
            "httpx": lambda: plain_httpx.post(url, content=BODY),
            "aiohttp": by_aiohttp,
            "dispatch.network (aiohttp, checked)": lambda: network.post(url, headers={}, content=BODY),
        }
        figures: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(ROUNDS):
            for name, post in clients.items():
                figures[name].append(await _measure(post))
    _print({name: statistics.median(found) for name, found in figures.items()})


def _print(medians: dict[str, float]) -> None:
    lines = ["| client | CPU per request, ms | of httpx |", "|---|---|---|"]
    lines += [f"| {name} | {cost:.3f} | {cost / medians['httpx']:.2f} |" for name, cost in medians.items()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    with sink.running() as at:
        asyncio.run(_main(at))
