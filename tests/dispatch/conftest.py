"""A database that tells tests of its commits, a network, workers that are stopped after a test, and what they send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from ipaddress import ip_network
from typing import Any, TypeVar

import pytest
from cryptography.fernet import Fernet

from dispatch.network import Network
from dispatch.plugins import Plugin
from dispatch.plugins.webhook import Webhook
from dispatch.worker import Worker, WorkerSettings
from storage.engine import Database, Work
from storage.errors import DatabaseUnavailable
from storage.models import Channel, Content, Delivery, DeliveryState, Protocol
from storage.secrets import Vault
from tests.conftest import Clock
from tests.dispatch import rows
from tests.dispatch.rows import enqueue, store
from tests.sink import PATIENCE, Sink

T = TypeVar("T")

WEBHOOK_ID = "webhook-id"  # the header with a delivery's id
TOKEN = "Bearer of-good-news"  # in the secret data of the webhook channel

pytest.register_assert_rewrite("dispatch.plugins.conformance")


class WatchedDatabase(Database):
    """A database whose commits can be waited for."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._committed = asyncio.Condition()
        self.writes = 0
        self._lost = 0
        self._lost_one = asyncio.Event()

    def lose(self, *, writes: int) -> None:
        """Let that many writes fail, as they do while the database is away."""
        self._lost = writes
        self._lost_one.clear()

    async def until_lost(self) -> None:
        """Return when such a write has failed, and whoever wanted it has been told."""
        async with asyncio.timeout(PATIENCE):
            await self._lost_one.wait()

    async def write(self, work: Work[T]) -> T:
        if self._lost:
            self._lost -= 1
            self._lost_one.set()
            raise DatabaseUnavailable("The database does not answer.")
        self.writes += 1
        result = await super().write(work)
        async with self._committed:
            self._committed.notify_all()
        return result

    async def until(self, row: Delivery, is_so: Callable[[Delivery], bool]) -> Delivery:
        """The delivery, once it is as expected."""
        async with asyncio.timeout(PATIENCE), self._committed:
            while not is_so(found := await rows.reload(self, row)):
                await self._committed.wait()
        return found

    async def until_state(self, row: Delivery, state: DeliveryState) -> Delivery:
        return await self.until(row, lambda found: found.state is state)


@pytest.fixture
async def watched(database: Database) -> AsyncIterator[WatchedDatabase]:
    watched = WatchedDatabase(database.url.render_as_string(hide_password=False))
    await watched.open()
    yield watched
    await watched.close()


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    """It may reach the loopback."""
    network = Network([ip_network("127.0.0.0/8")], timeout=PATIENCE)
    yield network
    await network.close()


@pytest.fixture
def vault() -> Vault:
    return Vault(Fernet.generate_key())


StartWorker = Callable[..., Worker]


@pytest.fixture
async def start_worker(
    watched: WatchedDatabase, vault: Vault, network: Network, clock: Clock
) -> AsyncIterator[StartWorker]:
    """Starts workers with quick retries, and the webhook plugin unless the test brings its own."""
    workers: list[Worker] = []

    def start(*, plugins: Mapping[str, Plugin] | None = None, **options: Any) -> Worker:
        given = {name: options.pop(name) for name in ("monotonic", "announce", "alert") if name in options}
        quick = {"timeout": PATIENCE, "retry_schedule": (0.01, 0.01), "breather": 0.0}
        worker = Worker(
            watched,
            vault,
            plugins={"webhook": Webhook(network)} if plugins is None else plugins,
            clock=clock,
            settings=WorkerSettings(**{**quick, **options}),
            **given,
        )
        worker.start()
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        await worker.stop(0)


@pytest.fixture
async def said(database: Database) -> Content:
    content = rows.content()
    await store(database, content)
    await store(database, rows.notification(content))
    return content


@pytest.fixture
async def protocol(database: Database) -> Protocol:
    protocol = rows.protocol()
    await store(database, protocol)
    return protocol


@pytest.fixture
async def channel(database: Database, protocol: Protocol, vault: Vault, sink: Sink) -> Channel:
    """A webhook channel to the sink, whose data is sealed."""
    data = {"url": sink.url("/hook?key=of-the-url"), "headers": {"authorization": TOKEN}}
    channel = rows.channel(protocol_id=protocol.protocol_id, secret_data=vault.seal(data))
    await store(database, channel)
    return channel


MakeDelivery = Callable[..., Delivery]


@pytest.fixture
def make_delivery(said: Content, protocol: Protocol, channel: Channel) -> MakeDelivery:
    return partial(rows.delivery, said, protocol, channel_id=channel.channel_id)


@pytest.fixture
async def delivery(database: Database, make_delivery: MakeDelivery) -> Delivery:
    """One that is due, through the webhook channel."""
    row = make_delivery()
    await enqueue(database, row)
    return row
