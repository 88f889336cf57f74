from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from yarl import URL

from dispatch.addresses import Address
from dispatch.http_client import MAX_RESPONSE_BYTES
from dispatch.network import Answer, Blocked, Network, NoAnswer, TimedOut
from tests import sink as sinks
from tests.dispatch import tls
from tests.dispatch.spellings import EVIDENT, HIDDEN
from tests.sink import PATIENCE, Close, Hang, Sink, Stream

LOOPBACK = [ip_network("127.0.0.0/8")]


async def post(network: Network, url: str, headers: dict[str, str] | None = None) -> Answer:
    async with asyncio.timeout(PATIENCE):
        return await network.post(url, headers=headers or {}, content=b"{}")


async def test_an_allowed_destination_gets_the_request(network: Network, sink: Sink) -> None:
    answer = await post(network, sink.url("/a?b=c"), {"x-token": "t"})

    assert answer == Answer(200, b"ok")
    received = sink.received[0]
    assert (received.method, received.target, received.body) == ("POST", "/a?b=c", b"{}")
    assert received.headers["x-token"] == "t"
    assert received.headers["host"] == f"127.0.0.1:{sink.port}"


async def resolve_without_asking(host: str, port: int) -> Sequence[Address]:
    """Numbers as the system reads them; every name leads inside."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return [ip_address("127.0.0.1")]
    return [ip_address(entry[4][0]) for entry in found]


@pytest.mark.parametrize("kind", [*EVIDENT, "hidden"])
async def test_no_spelling_of_an_inside_address_is_reached(sink: Sink, kind: str) -> None:
    network = Network([], PATIENCE, resolve=resolve_without_asking)
    for host in EVIDENT.get(kind, HIDDEN):
        with pytest.raises(NoAnswer):
            await post(network, f"http://{host}:{sink.port}/")
    await network.close()

    assert sink.connections == 0


@pytest.mark.parametrize("kind", EVIDENT)
def test_that_a_host_will_be_refused_shows_without_asking_anybody(kind: str) -> None:
    network = Network([], PATIENCE)

    assert [host for host in EVIDENT[kind] if not network.refuses(URL(f"http://{host}/").host or "")] == []


@pytest.mark.parametrize(
    "host", ["hooks.test", "1.1.1.1", "[2606:4700::1111]", "127.0.0.1.hooks.test", "localhost.test", "1e9.test", "x"]
)
def test_a_host_that_may_be_public_is_not_refused_unasked(host: str) -> None:
    assert not Network([], PATIENCE).refuses(URL(f"http://{host}/").host or "")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f000001", "localhost", "[::ffff:127.0.0.1]"])
def test_what_the_operator_allows_is_not_refused_unasked(host: str) -> None:
    assert not Network(LOOPBACK, PATIENCE).refuses(URL(f"http://{host}/").host or "")


def test_the_table_has_more_than_a_hundred_spellings() -> None:
    spellings = {host for hosts in (*EVIDENT.values(), HIDDEN) for host in hosts}

    assert len(spellings) > 150


async def test_a_resolver_that_changes_its_answer_all_the_time_leads_nowhere_inside(sink: Sink) -> None:
    """What is connected to is what was judged, each time: never an answer that came later."""
    inside = ["10.9.9.9", "169.254.169.254", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "0.0.0.0"]
    answers = iter([ip_address(address) for each in inside for address in ("127.0.0.1", each)])

    async def resolve(host: str, port: int) -> Sequence[Address]:
        return [next(answers)]

    sink.otherwise = Close(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    network = Network(LOOPBACK, PATIENCE, resolve=resolve)
    for _ in inside:
        assert (await post(network, f"http://changing.test:{sink.port}/")).status_code == 200
        with pytest.raises(Blocked):
            await post(network, f"http://changing.test:{sink.port}/")
    await network.close()

    assert sink.connections == len(inside)


async def test_a_name_is_resolved_once_and_the_connection_goes_to_the_address_that_was_judged(sink: Sink) -> None:
    """A second answer, which points elsewhere, would never be asked for."""
    answers = [[ip_address("127.0.0.1")], [ip_address("10.9.9.9")]]
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[Address]:
        asked.append(host)
        return answers[len(asked) - 1]

    network = Network(LOOPBACK, PATIENCE, resolve=resolve)
    await post(network, f"http://changing.test:{sink.port}/")
    await network.close()

    assert asked == ["changing.test"]
    assert sink.received[0].headers["host"] == f"changing.test:{sink.port}"


async def test_a_new_connection_judges_the_name_anew(sink: Sink) -> None:
    """The first answer is allowed, the second one is inside: rebinding."""
    answers = iter([[ip_address("127.0.0.1")], [ip_address("10.9.9.9")]])

    async def resolve(host: str, port: int) -> Sequence[Address]:
        return next(answers)

    sink.otherwise = Close(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    network = Network(LOOPBACK, PATIENCE, resolve=resolve)
    await post(network, f"http://changing.test:{sink.port}/")
    with pytest.raises(Blocked):
        await post(network, f"http://changing.test:{sink.port}/")
    await network.close()


async def test_of_several_addresses_only_permitted_ones_are_tried(sink: Sink) -> None:
    async def resolve(host: str, port: int) -> Sequence[Address]:
        return [ip_address("10.9.9.9"), ip_address("127.0.0.2"), ip_address("127.0.0.1")]

    network = Network(LOOPBACK, PATIENCE, resolve=resolve)
    answer = await post(network, f"http://several.test:{sink.port}/")  # nothing listens at 127.0.0.2
    await network.close()

    assert answer.status_code == 200


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")])
async def test_a_name_that_does_not_resolve_is_a_failed_connection(error: Exception) -> None:
    async def resolve(host: str, port: int) -> Sequence[Address]:
        raise error

    network = Network([], PATIENCE, resolve=resolve)
    with pytest.raises(NoAnswer):
        await post(network, "http://nowhere.test/")
    await network.close()


async def test_a_name_that_resolves_for_ever_is_a_timeout() -> None:
    async def resolve(host: str, port: int) -> Sequence[Address]:
        return await asyncio.Future()

    network = Network([], 0.05, resolve=resolve)
    with pytest.raises(TimedOut):
        await post(network, "http://slow.test/")
    await network.close()


async def test_a_redirect_is_an_answer_and_is_not_followed(network: Network, sink: Sink) -> None:
    sink.otherwise = sinks.Answer(302, headers={"location": sink.url("/elsewhere")})

    assert (await post(network, sink.url())).status_code == 302
    assert len(sink.received) == 1


async def test_proxies_of_the_environment_are_not_used(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sink() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url(""))
        network = Network(LOOPBACK, PATIENCE)
        await post(network, sink.url())
        await network.close()

        assert (len(sink.received), proxy.connections) == (1, 0)


async def test_cookies_are_not_kept(sink: Sink) -> None:
    """Of a host with a name: of a bare address no client would keep one."""
    sink.otherwise = sinks.Answer(headers={"set-cookie": "session=1; Path=/"})
    network = Network(LOOPBACK, PATIENCE, resolve=resolve_to_loopback)

    for _ in range(2):
        await post(network, sink.url(host="hooks.test"))
    await network.close()

    assert ["cookie" in received.headers for received in sink.received] == [False, False]


async def test_a_header_says_better_than_the_address_who_asks(network: Network, sink: Sink) -> None:
    await post(network, sink.url(host="user:password@127.0.0.1"), {"Authorization": "Bearer of-the-channel"})

    assert [received.headers["authorization"] for received in sink.received] == ["Bearer of-the-channel"]


async def test_a_request_that_hangs_holds_up_no_other(network: Network, sink: Sink) -> None:
    """How many are made at once is for the worker to bound."""
    sink.script.append(Hang())
    hanging = asyncio.create_task(post(network, sink.url()))
    await sink.wait_for(1)

    assert (await post(network, sink.url())).status_code == 200
    assert not hanging.done()

    hanging.cancel()
    await asyncio.wait([hanging])


async def test_an_endless_answer_is_cut(network: Network, sink: Sink) -> None:
    sink.otherwise = Stream(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 9_999)

    answer = await post(network, sink.url())

    assert answer == Answer(200, b"x" * MAX_RESPONSE_BYTES)


async def test_a_trickling_answer_is_cut_and_its_status_counts(
    network: Network, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatch.http_client.BODY_SECONDS", 0.2)
    sink.otherwise = Stream(b"HTTP/1.1 200 OK\r\n\r\nfirst", b".", pause=0.01)

    answer = await post(network, sink.url())

    assert answer.status_code == 200
    assert answer.body.startswith(b"first")


async def test_an_answer_that_breaks_off_keeps_its_status(network: Network, sink: Sink) -> None:
    sink.otherwise = Close(b"HTTP/1.1 500 No\r\ncontent-length: 100\r\n\r\nbegin")

    assert await post(network, sink.url()) == Answer(500, b"begin")


async def test_a_compressed_answer_is_not_unpacked(network: Network, sink: Sink) -> None:
    sink.otherwise = sinks.Answer(200, b"\x1f\x8bnot really", {"content-encoding": "gzip"})

    assert (await post(network, sink.url())).body == b"\x1f\x8bnot really"


async def test_no_answer_is_a_timeout(sink: Sink) -> None:
    sink.otherwise = Hang()
    network = Network(LOOPBACK, 0.1)
    with pytest.raises(TimedOut):
        await post(network, sink.url())
    await network.close()


async def test_urls_and_headers_are_not_logged(network: Network, sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await post(network, sink.url("/token-in-path"), {"authorization": "Bearer of-news"})

    assert sink.received
    assert "token-in-path" not in caplog.text
    assert "of-news" not in caplog.text


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate for `named.test` that clients of this process trust."""
    path = tls.certificate(tmp_path, "named.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


async def resolve_to_loopback(host: str, port: int) -> Sequence[Address]:
    return [ip_address("127.0.0.1")]


async def test_tls_is_for_the_name_while_the_connection_is_to_the_address(trusted: Path) -> None:
    shown: list[str | None] = []
    context = tls.serving(trusted)
    context.sni_callback = lambda _socket, name, _context: shown.append(name)
    network = Network(LOOPBACK, PATIENCE, resolve=resolve_to_loopback)
    async with Sink(tls=context) as sink:
        answer = await post(network, sink.url(host="named.test"))
        await network.close()

    assert answer.status_code == 200
    assert shown == ["named.test"]
    assert sink.received[0].headers["host"] == f"named.test:{sink.port}"


async def test_a_certificate_for_another_name_is_refused(trusted: Path) -> None:
    network = Network(LOOPBACK, PATIENCE, resolve=resolve_to_loopback)
    async with Sink(tls=tls.serving(trusted)) as sink:
        with pytest.raises(NoAnswer):
            await post(network, sink.url(host="other.test"))
        await network.close()

    assert sink.received == []
