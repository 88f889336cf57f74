"""Outgoing HTTP that cannot be turned against the inside. It knows addresses and bytes, and nothing of notifications.

A name is resolved once per connection, its addresses are judged, and the connection is made to exactly the address
that was judged: what the name resolves to a moment later does not matter. TLS and `Host` still use the name.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from ipaddress import ip_address
from typing import Any, Protocol

from dispatch.addresses import Address, Range, evident, permitted

LOOKUPS = 32  # names resolved at once, each in a thread: slow ones keep no thread of anything else

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]


class NoAnswer(Exception):
    """A request that brought no answer. The text is for people, and holds nothing of what was sent or where to."""


class Blocked(NoAnswer):
    """The destination has no address that this server may connect to."""

    def __init__(self) -> None:
        super().__init__("The destination's address is not allowed.")


class Malformed(NoAnswer):
    """The address or a header is none that HTTP knows, and never will be."""


class TimedOut(NoAnswer):
    """No answer came in time."""


@dataclass(frozen=True)
class Answer:
    status_code: int
    body: bytes  # its beginning
    retry_after: str | None = None  # that header as it came


class Client(Protocol):
    """What speaks HTTP."""

    async def post(self, url: str, *, headers: Mapping[str, str], content: bytes) -> Answer:
        """Raises NoAnswer."""

    async def close(self) -> None: ...


class Network:
    """Connections to destinations that callers chose. Keep one for the process, `close` it at the end."""

    def __init__(self, allow: Sequence[Range], timeout: float, *, resolve: Resolve | None = None) -> None:
        """`timeout` is in seconds, for each step of a request: the whole of it is for the caller to bound."""
        self._allow = allow
        self._timeout = timeout
        self._resolve = resolve or self._look_up
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="resolve")
        self.tls = ssl.create_default_context()  # the system's authorities, or those of SSL_CERT_FILE
        self._client: Client | None = None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def post(self, url: str, *, headers: Mapping[str, str], content: bytes) -> Answer:
        """Raises NoAnswer."""
        if self._client is None:  # it belongs to the event loop that runs by now; its library takes 9 MB
            client: Client = import_module("dispatch.http_client").HTTPClient(self)
            self._client = client
        return await self._client.post(url, headers=headers, content=content)

    @property
    def timeout(self) -> float:
        """Seconds that each step of a request has."""
        return self._timeout

    def permits(self, address: Address) -> bool:
        """Whether this server may connect to it."""
        return permitted(address, self._allow)

    def refuses(self, host: str) -> bool:
        """Whether it can be seen of a host, without a resolver, that it will be refused."""
        addresses = evident(host)
        return bool(addresses) and not any(map(self.permits, addresses))

    async def reachable(self, host: str, port: int) -> Sequence[Address]:
        """Where a connection may go: never to the name. Raises NoAnswer."""
        try:
            return await self.addresses(host, port)
        except OSError as error:
            raise NoAnswer("The request failed: the name cannot be resolved.") from error

    async def open(self, host: str, port: int) -> socket.socket:
        """A socket that is connected to an address of this name, without a byte sent. Raises NoAnswer."""
        failure = NoAnswer("The connection failed.")
        for address in await self.reachable(host, port):
            try:
                return await self._connected(address, port)
            except TimeoutError:
                failure = TimedOut("The connection was not made in time.")
            except OSError as error:
                failure = NoAnswer(f"The connection failed: {reason(error)}.")
        raise failure

    async def _connected(self, address: Address, port: int) -> socket.socket:
        """Raises OSError."""
        opened = socket.socket(family_of(address), socket.SOCK_STREAM)
        opened.setblocking(False)
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.get_running_loop().sock_connect(opened, (str(address), port))
        except BaseException:
            opened.close()
            raise
        return opened

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        """The addresses of a name that this server may connect to. Raises NoAnswer, OSError."""
        try:
            async with asyncio.timeout(self._timeout):
                addresses = await self._resolve(host, port)
        except TimeoutError as error:
            raise TimedOut("The name was not resolved in time.") from error
        except UnicodeError as error:
            raise OSError("This is no name.") from error
        reachable = list(filter(self.permits, addresses))
        if not reachable:
            raise Blocked
        return reachable

    async def _look_up(self, host: str, port: int) -> Sequence[Address]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _lookup, host, port)
        return list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))


def family_of(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _lookup(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def reason(error: BaseException) -> str:
    """What the system or TLS said underneath: for people, without an address."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        if isinstance(cause, ssl.SSLError):
            return (cause.reason or "TLS failed").replace("_", " ").lower()
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
