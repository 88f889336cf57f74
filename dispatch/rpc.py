"""Outgoing gRPC that cannot be turned against the inside. It knows endpoints and nothing of notifications.

A channel is bound to addresses that were judged: it never resolves a name, uses no proxy and repeats no call by itself.
TLS and the authority still use the name.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio

from dispatch.addresses import Address
from dispatch.network import Malformed, Network

TLS = {"grpc": False, "grpc+ssl": True}  # by scheme
MAX_KEPT = 64  # channels: the oldest makes room
FRESH_SECONDS = 60.0  # that a channel takes new calls: then the name is resolved and judged anew
IDLE_MS = 15_000  # that a connection is kept without a call
MAX_ANSWER_BYTES = 1_000_000
MAX_METADATA_BYTES = 64_000  # in which a status and its text come: past that the status would be lost

OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),  # a repeat is the worker's to make, and is counted
    ("grpc.use_local_subchannel_pool", 1),  # a new channel does not wait for what a former one met
    ("grpc.client_idle_timeout_ms", IDLE_MS),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
)


@dataclass(frozen=True)
class Endpoint:
    host: str
    port: int
    is_tls: bool


@dataclass(eq=False)
class _Kept:
    channel: grpc.aio.Channel
    fresh_until: float  # on the event loop's clock
    users: int = 0


class Channels:
    """The channels of a process, by endpoint. Keep one for an event loop, `close` it at the end."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._kept: dict[Endpoint, _Kept] = {}
        self._retired: list[_Kept] = []  # without new users: closed after the last one

    @asynccontextmanager
    async def use(self, endpoint: Endpoint) -> AsyncIterator[grpc.aio.Channel]:
        """A channel for a call. One that finds nobody there gets no other. Raises NoAnswer, AioRpcError."""
        kept = self._fresh(endpoint)
        if kept is None:
            addresses = await self._network.reachable(endpoint.host, endpoint.port)
            kept = self._fresh(endpoint) or self._keep(endpoint, addresses)
        kept.users += 1
        try:
            yield kept.channel
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE and self._kept.get(endpoint) is kept:
                self._retire(endpoint)
            raise
        finally:
            kept.users -= 1
            await self._close_unused()

    async def close(self) -> None:
        for endpoint in list(self._kept):
            self._retire(endpoint)
        for kept in self._retired:
            await kept.channel.close()

    def _fresh(self, endpoint: Endpoint) -> _Kept | None:
        kept = self._kept.get(endpoint)
        return kept if kept and asyncio.get_running_loop().time() < kept.fresh_until else None

    def _keep(self, endpoint: Endpoint, addresses: Sequence[Address]) -> _Kept:
        if endpoint in self._kept:
            self._retire(endpoint)
        elif len(self._kept) >= MAX_KEPT:
            self._retire(next(iter(self._kept)))
        fresh_until = asyncio.get_running_loop().time() + FRESH_SECONDS
        kept = self._kept[endpoint] = _Kept(self._channel(endpoint, addresses), fresh_until)
        return kept

    def _retire(self, endpoint: Endpoint) -> None:
        self._retired.append(self._kept.pop(endpoint))

    async def _close_unused(self) -> None:
        unused = [kept for kept in self._retired if not kept.users]
        self._retired = [kept for kept in self._retired if kept.users]
        for kept in unused:
            await kept.channel.close()

    def _channel(self, endpoint: Endpoint, addresses: Sequence[Address]) -> grpc.aio.Channel:
        target = f"ipv6:{','.join(f'[{_as_ipv6(address)}]:{endpoint.port}' for address in addresses)}"
        options = [*OPTIONS, ("grpc.default_authority", _authority(endpoint))]
        if not endpoint.is_tls:
            return grpc.aio.insecure_channel(target, options=options)
        options.append(("grpc.ssl_target_name_override", endpoint.host))
        return grpc.aio.secure_channel(target, self._credentials, options=options)

    @cached_property
    def _credentials(self) -> grpc.ChannelCredentials:
        """Trust in the system's authorities or those of SSL_CERT_FILE, and only without either in those of gRPC."""
        file = ssl.get_default_verify_paths().cafile
        return grpc.ssl_channel_credentials(Path(file).read_bytes() if file else None)


def endpoint(url: str) -> Endpoint:
    """`grpc://host:port` or `grpc+ssl://host:port`. Raises Malformed."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Malformed("The endpoint is not valid.") from error
    if parts.scheme not in TLS or not host or not port:
        raise Malformed("The endpoint is not valid.")
    return Endpoint(host, port, TLS[parts.scheme])


def _authority(endpoint: Endpoint) -> str:
    return f"{f'[{endpoint.host}]' if ':' in endpoint.host else endpoint.host}:{endpoint.port}"


def _as_ipv6(address: Address) -> str:
    """Targets are of one family: an IPv4 address goes in its mapped form, which leads to the same place."""
    return f"::ffff:{address}" if address.version == 4 else str(address)
