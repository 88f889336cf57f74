"""Outgoing HTTP that cannot be turned against the inside. It knows addresses and bytes, and nothing of notifications.

A name is resolved once per connection, its addresses are judged, and the connection is made to exactly the address
that was judged: what the name resolves to a moment later does not matter. TLS and `Host` still use the name.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from typing import Any

import httpcore
import httpx

from dispatch.addresses import Address, Range, permitted

MAX_RESPONSE_BYTES = 20_000  # of an answer; what follows is not read
BODY_SECONDS = 2.0  # the status has decided by then: a body that trickles is cut here
LOOKUPS = 32  # names resolved at once, each in a thread: slow ones keep no thread of anything else
LAST_PORT = 65_535
IDLE_CONNECTIONS = 64  # kept for the next message to the same host
IDLE_SECONDS = 15.0

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


class Blocked(Exception):
    """The destination has no address that this server may connect to."""


@dataclass(frozen=True)
class Answer:
    status_code: int
    body: bytes  # its beginning


class Network:
    """An HTTP client for destinations that callers chose. Keep one for the process, `close` it at the end."""

    def __init__(self, allow: Sequence[Range], timeout: float, *, resolve: Resolve | None = None) -> None:
        """`timeout` is in seconds, for each step of a request: the whole of it is for the caller to bound."""
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="resolve")
        # They log every URL, which may hold a token.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.client = httpx.AsyncClient(
            transport=_Transport(_CheckedBackend(resolve or self._resolve, allow)),
            timeout=timeout,
            trust_env=False,  # no proxies and no .netrc
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # nobody's cookies reach somebody else
            headers={"user-agent": "Tocsin", "accept-encoding": "identity"},
        )

    async def close(self) -> None:
        await self.client.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def post(self, url: str, *, headers: dict[str, str], content: bytes) -> Answer:
        """Raises Blocked, httpx.HTTPError and httpx.InvalidURL."""
        async with self.client.stream("POST", url, headers=headers, content=content) as response:
            return Answer(response.status_code, await _beginning(response))

    async def _resolve(self, host: str, port: int) -> Sequence[Address]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _lookup, host, port)
        return list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))


def _lookup(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def _beginning(response: httpx.Response) -> bytes:
    # Raw: a compressed body may unpack to any size.
    body = bytearray()
    with suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) >= MAX_RESPONSE_BYTES:
                    break
    return bytes(body[:MAX_RESPONSE_BYTES])


class _Transport(httpx.AsyncHTTPTransport):
    """httpx's own transport over connections that `backend` makes."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend) -> None:
        tls = httpx.create_ssl_context()  # the bundled authorities, or those of SSL_CERT_FILE
        super().__init__(verify=tls)
        # httpx hands no backend on. Connections stay pooled by name, so none is reused for another name's TLS.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=None,  # the worker bounds what is sent at once
            max_keepalive_connections=IDLE_CONNECTIONS,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=backend,
        )


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to permitted addresses only."""

    def __init__(self, resolve: Resolve, allow: Sequence[Range]) -> None:
        self._resolve = resolve
        self._allow = allow
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if port > LAST_PORT:
            raise httpcore.UnsupportedProtocol("There is no such port.")
        addresses = await self._addresses(host, port, timeout)
        reachable = [address for address in addresses if permitted(address, self._allow)]
        if not reachable:
            raise Blocked("The destination's address is not allowed.")
        share = None if timeout is None else timeout / len(reachable)  # a dead address leaves time for the others
        for address in reachable[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._backend.connect_tcp(str(address), port, share, local_address, socket_options)
        return await self._backend.connect_tcp(str(reachable[-1]), port, share, local_address, socket_options)

    async def _addresses(self, host: str, port: int, timeout: float | None) -> Sequence[Address]:
        try:
            async with asyncio.timeout(timeout):
                return await self._resolve(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("The name was not resolved in time.") from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("The name cannot be resolved.") from error
