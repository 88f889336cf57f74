"""A whole server for resolvers to work with, on either engine; only its worker is not running."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from cryptography.fernet import Fernet

from dispatch.hub import Hub
from dispatch.network import Network
from dispatch.plugins import registry
from resolvers.context import Server
from storage.engine import Database
from storage.models import Channel, Protocol
from storage.secrets import Vault
from tests.conftest import Clock
from tests.resolvers import said, some_protocols
from tests.resolvers.callers import ALICE
from tests.resolvers.courier import Courier


class Wakes:
    """How often the loops beside the resolvers were woken."""

    def __init__(self) -> None:
        self.worker = 0
        self.fanout = 0

    def wake_worker(self) -> None:
        self.worker += 1

    def wake_fanout(self) -> None:
        self.fanout += 1


@pytest.fixture
def courier() -> Courier:
    return Courier()


@pytest.fixture
def wakes() -> Wakes:
    return Wakes()


@pytest.fixture
async def server(database: Database, clock: Clock, courier: Courier, wakes: Wakes) -> AsyncIterator[Server]:
    network = Network([], timeout=1)
    hub = Hub("memory://")
    await hub.open()
    yield Server(
        database=database,
        vault=Vault(Fernet.generate_key()),
        plugins={**registry.discover(network), "courier": courier},
        hub=hub,
        wake_worker=wakes.wake_worker,
        wake_fanout=wakes.wake_fanout,
        clock=clock,
    )
    await hub.close()
    await network.close()


@pytest.fixture
async def courier_protocol(server: Server) -> str:
    """The id of a protocol whose channels' data is secret."""
    return (await some_protocols.create(server)).protocol_id


@pytest.fixture
async def protocol(server: Server) -> Protocol:
    return await said.log_protocol(server)


@pytest.fixture
def log(protocol: Protocol) -> str:
    """The id of a protocol whose channels' data is shown."""
    return protocol.protocol_id


@pytest.fixture
async def channel(server: Server, protocol: Protocol) -> Channel:
    """Alice's own."""
    return await said.of_user(server, ALICE, protocol)
