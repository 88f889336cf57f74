from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
import requests

from dispatch.addresses import Address
from dispatch.guard import Guard
from tests.sink import PATIENCE, Hang, Sink

Attempt = Callable[[str, int], object]


def plain_socket(host: str, port: int) -> object:
    with socket.create_connection((host, port), timeout=PATIENCE) as connection:
        return connection.getpeername()


def datagram(host: str, port: int) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        return sender.sendto(b"x", (host, port))


def standard_http(host: str, port: int) -> object:
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    connection.request("GET", "/")
    answer = connection.getresponse().status
    connection.close()
    return answer


def other_http(host: str, port: int) -> object:
    return requests.get(f"http://{host}:{port}/", timeout=PATIENCE).status_code


WAYS = pytest.mark.parametrize("attempt", [plain_socket, datagram, standard_http, other_http])


def nothing(_address: Address) -> bool:
    return False


def anything(_address: Address) -> bool:
    return True


@WAYS
async def test_whatever_connects_is_judged_by_the_address_that_it_connects_to(sink: Sink, attempt: Attempt) -> None:
    judged: list[Address] = []

    def permits(address: Address) -> bool:
        judged.append(address)
        return True

    guard = Guard(permits)
    await asyncio.to_thread(guard.run, partial(attempt, "127.0.0.1", sink.port))

    assert judged == [ip_address("127.0.0.1")]
    assert not guard.has_blocked


@WAYS
async def test_what_is_refused_is_not_connected_to(sink: Sink, attempt: Attempt) -> None:
    guard = Guard(nothing)
    with pytest.raises(OSError, match="not allowed"):
        await asyncio.to_thread(guard.run, partial(attempt, "127.0.0.1", sink.port))

    assert guard.has_blocked
    assert sink.connections == 0


async def test_of_several_addresses_the_permitted_one_is_connected_to(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = socket.AF_INET, socket.SOCK_STREAM, 6, ""
    found = [(*stream, ("127.0.0.2", sink.port)), (*stream, ("127.0.0.1", sink.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    guard = Guard(lambda address: address == ip_address("127.0.0.1"))

    assert await asyncio.to_thread(guard.run, partial(other_http, "several.test", sink.port)) == 200
    assert not guard.has_blocked


def test_a_name_that_the_system_would_resolve_unseen_is_refused() -> None:
    with socket.socket() as connecting, pytest.raises(OSError, match="not allowed"):
        Guard(anything).run(partial(connecting.connect, ("localhost", 9)))


def test_a_socket_in_the_file_system_is_refused(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX) as listening,
        socket.socket(socket.AF_UNIX) as connecting,
    ):
        listening.bind(str(tmp_path / "daemon"))
        listening.listen()
        with pytest.raises(OSError, match="not allowed"):
            Guard(anything).run(partial(connecting.connect, str(tmp_path / "daemon")))


async def test_a_guard_holds_its_own_work_alone(sink: Sink) -> None:
    """What is done beside it and afterwards connects as ever."""
    started, ended = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        ended.wait(PATIENCE)

    guarded = asyncio.create_task(asyncio.to_thread(Guard(nothing).run, work))
    await asyncio.to_thread(started.wait, PATIENCE)
    beside = await asyncio.to_thread(standard_http, "127.0.0.1", sink.port)
    ended.set()
    await guarded

    assert (beside, await asyncio.to_thread(standard_http, "127.0.0.1", sink.port)) == (200, 200)


async def test_ending_brings_back_a_thread_that_waits_for_an_answer(sink: Sink) -> None:
    sink.otherwise = Hang()
    guard = Guard(anything)
    working = asyncio.create_task(asyncio.to_thread(guard.run, partial(standard_http, "127.0.0.1", sink.port)))
    await sink.wait_for(1)
    guard.end()

    with pytest.raises(OSError, match="closed"):
        await asyncio.wait_for(working, PATIENCE / 2)


def test_after_its_end_nothing_is_connected_to() -> None:
    guard = Guard(anything)
    guard.end()

    with pytest.raises(ConnectionAbortedError):
        guard.run(partial(plain_socket, "127.0.0.1", 9))
