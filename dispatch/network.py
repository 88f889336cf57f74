"""Outgoing HTTP that cannot be turned against the inside. It knows addresses and bytes, and nothing of notifications.

A name is resolved once per connection, its addresses are judged, and the connection is made to exactly the address
that was judged: what the name resolves to a moment later does not matter. TLS and `Host` still use the name.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from aiohttp import (
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    DummyCookieJar,
    InvalidURL,
    NonHttpUrlClientError,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from dispatch.addresses import Address, Range, evident, permitted

MAX_RESPONSE_BYTES = 20_000  # of an answer; what follows is not read
BODY_SECONDS = 2.0  # the status has decided by then: a body that trickles is cut here
LOOKUPS = 32  # names resolved at once, each in a thread: slow ones keep no thread of anything else
IDLE_SECONDS = 15.0  # that a connection is kept for the next message to the same host
HEADERS = {"user-agent": "Tocsin", "accept-encoding": "identity"}

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


class Network:
    """An HTTP client for destinations that callers chose. Keep one for the process, `close` it at the end."""

    def __init__(self, allow: Sequence[Range], timeout: float, *, resolve: Resolve | None = None) -> None:
        """`timeout` is in seconds, for each step of a request: the whole of it is for the caller to bound."""
        self._allow = allow
        self._timeout = timeout
        self._resolve = resolve or self._look_up
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="resolve")
        self._tls = ssl.create_default_context()  # the system's authorities, or those of SSL_CERT_FILE
        self._session: ClientSession | None = None
        logging.getLogger("aiohttp").setLevel(logging.WARNING)  # a URL may hold a token

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def post(self, url: str, *, headers: Mapping[str, str], content: bytes) -> Answer:
        """Raises NoAnswer."""
        with _translated():
            sending = self._client().post(_target(url, headers), headers=headers, data=content, allow_redirects=False)
            async with sending as response:
                return Answer(response.status, await _beginning(response), response.headers.get("retry-after"))

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
        """Where a connection may go that is no HTTP request of this client: never to the name. Raises NoAnswer."""
        try:
            return await self._reachable(host, port)
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
        opened = socket.socket(_family(address), socket.SOCK_STREAM)
        opened.setblocking(False)
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.get_running_loop().sock_connect(opened, (str(address), port))
        except BaseException:
            opened.close()
            raise
        return opened

    def _client(self) -> ClientSession:
        """The session, made when it is first asked for: it belongs to the event loop that runs by then."""
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(
                    limit=0,  # the worker bounds what is sent at once
                    ssl=self._tls,
                    resolver=_Resolver(self._reachable),
                    use_dns_cache=False,
                    socket_factory=self._socket,
                    keepalive_timeout=IDLE_SECONDS,  # by name: no connection is reused for another name's TLS
                ),
                timeout=ClientTimeout(total=None, sock_connect=self._timeout, sock_read=self._timeout),
                headers=HEADERS,
                cookie_jar=DummyCookieJar(),  # nobody's cookies reach somebody else
                trust_env=False,  # no proxies and no .netrc
                auto_decompress=False,  # a compressed body may unpack to any size
            )
        return self._session

    async def _reachable(self, host: str, port: int) -> Sequence[Address]:
        """The addresses of a name that this server may connect to. Raises NoAnswer, OSError."""
        try:
            async with asyncio.timeout(self._timeout):
                addresses = await self._resolve(host, port)
        except TimeoutError as error:
            raise TimedOut("The name was not resolved in time.") from error
        except UnicodeError as error:
            raise OSError("This is no name.") from error
        reachable = [address for address in addresses if permitted(address, self._allow)]
        if not reachable:
            raise Blocked
        return reachable

    def _socket(self, target: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        """A socket for exactly this address: the last word, also on those that no name led to."""
        family, kind, protocol, _, address = target
        if not permitted(ip_address(address[0]), self._allow):
            raise Blocked
        return socket.socket(family, kind, protocol)

    async def _look_up(self, host: str, port: int) -> Sequence[Address]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _lookup, host, port)
        return list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))


class _Resolver(AbstractResolver):
    """What the HTTP client asks for the addresses of a name."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [_resolved(host, port, address) for address in await self._resolve(host, port)]

    async def close(self) -> None: ...


def _resolved(host: str, port: int, address: Address) -> ResolveResult:
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV  # never to be looked up again
    return ResolveResult(hostname=host, host=str(address), port=port, family=_family(address), proto=0, flags=numeric)


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _lookup(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _target(url: str, headers: Mapping[str, str]) -> URL:
    """Raises ValueError."""
    target = URL(url)
    is_authorized = any(name.lower() == "authorization" for name in headers)
    return target.with_user(None) if is_authorized else target  # a header says it better than the address does


async def _beginning(response: ClientResponse) -> bytes:
    if response.content.is_eof():  # most are so short that they have come by now
        return response.content.read_nowait(MAX_RESPONSE_BYTES)
    body = bytearray()
    with suppress(ClientError, TimeoutError):
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) >= MAX_RESPONSE_BYTES:
                    break
    return bytes(body[:MAX_RESPONSE_BYTES])


@contextmanager
def _translated() -> Iterator[None]:
    """The client's own exceptions as ours: their texts may hold the address."""
    try:
        yield
    except TimeoutError as error:
        raise TimedOut("No answer came in time.") from error
    except ClientConnectorError as error:  # a wrong certificate among them, which is a ValueError too
        raise NoAnswer(f"The request failed: {reason(error)}.") from error
    except (InvalidURL, NonHttpUrlClientError, ValueError) as error:
        raise Malformed("The address or one of the headers is not valid.") from error
    except ClientError as error:
        raise NoAnswer(f"The request failed: {reason(error)}.") from error


def reason(error: BaseException) -> str:
    """What the system or TLS said underneath: for people, without an address."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ClientConnectorDNSError):
            return "the name cannot be resolved"
        if isinstance(cause, ClientSSLError):  # an SSLError by its class, without what one says
            cause = cause.__cause__
            continue
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        if isinstance(cause, ssl.SSLError):
            return (cause.reason or "TLS failed").replace("_", " ").lower()
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
