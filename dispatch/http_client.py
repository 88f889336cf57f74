"""HTTP to destinations that callers chose: what the network permits, with nobody's cookies, proxies or redirects.

It is loaded with the first request, and it must not know what is sent.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
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

from dispatch.addresses import Address
from dispatch.network import Answer, Blocked, Malformed, Network, NoAnswer, TimedOut, family_of, reason

MAX_RESPONSE_BYTES = 20_000  # of an answer; what follows is not read
BODY_SECONDS = 2.0  # the status has decided by then: a body that trickles is cut here
IDLE_SECONDS = 15.0  # that a connection is kept for the next message to the same host
HEADERS = {"user-agent": "Tocsin", "accept-encoding": "identity"}

logging.getLogger("aiohttp").setLevel(logging.WARNING)  # a URL may hold a token


class HTTPClient:
    """Belongs to the event loop that it is made in."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._session = ClientSession(
            connector=TCPConnector(
                limit=0,  # the worker bounds what is sent at once
                ssl=network.tls,
                resolver=_Resolver(network),
                use_dns_cache=False,
                socket_factory=self._socket,
                keepalive_timeout=IDLE_SECONDS,  # by name: no connection is reused for another name's TLS
            ),
            timeout=ClientTimeout(total=None, sock_connect=network.timeout, sock_read=network.timeout),
            headers=HEADERS,
            cookie_jar=DummyCookieJar(),  # nobody's cookies reach somebody else
            trust_env=False,  # no proxies and no .netrc
            auto_decompress=False,  # a compressed body may unpack to any size
        )

    async def close(self) -> None:
        await self._session.close()

    async def post(self, url: str, *, headers: Mapping[str, str], content: bytes) -> Answer:
        """Raises NoAnswer."""
        with _translated():
            sending = self._session.post(_target(url, headers), headers=headers, data=content, allow_redirects=False)
            async with sending as response:
                return Answer(response.status, await _beginning(response), response.headers.get("retry-after"))

    def _socket(self, target: tuple[Any, Any, int, str, tuple[Any, ...]]) -> socket.socket:
        """A socket for exactly this address: the last word, also on those that no name led to."""
        family, kind, protocol, _, address = target
        if not self._network.permits(ip_address(address[0])):
            raise Blocked
        return socket.socket(family, kind, protocol)


class _Resolver(AbstractResolver):
    """What the HTTP client asks for the addresses of a name."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [_resolved(host, port, address) for address in await self._network.addresses(host, port)]

    async def close(self) -> None: ...


def _resolved(host: str, port: int, address: Address) -> ResolveResult:
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV  # never to be looked up again
    return ResolveResult(hostname=host, host=str(address), port=port, family=family_of(address), proto=0, flags=numeric)


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
    except ClientConnectorDNSError as error:
        raise NoAnswer("The request failed: the name cannot be resolved.") from error
    except ClientConnectorError as error:  # a wrong certificate among them, which is a ValueError too
        raise NoAnswer(f"The request failed: {reason(_underneath(error))}.") from error
    except (InvalidURL, NonHttpUrlClientError, ValueError) as error:
        raise Malformed("The address or one of the headers is not valid.") from error
    except ClientError as error:
        raise NoAnswer(f"The request failed: {reason(_underneath(error))}.") from error


def _underneath(error: BaseException) -> BaseException:
    """The client's TLS errors are such errors by their class, without what one says."""
    while isinstance(error, ClientSSLError) and error.__cause__ is not None:
        error = error.__cause__
    return error
