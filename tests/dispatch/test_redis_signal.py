"""The signal over a real Valkey: it comes back by itself, owns up to what it lost, and makes nobody wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis import Redis
from structlog.testing import capture_logs

from dispatch import redis_signal
from dispatch.redis_signal import MAX_WAITING, RedisSignal
from dispatch.signals import NotSent
from tests.client import eventually
from tests.dispatch import tls
from tests.valkey import Road, Valkey

DEADLINE = 20
AWAY = "the broadcast server does not answer"
REFUSED = "the broadcast server refuses the credentials"


class Gaps:
    """What was owned up to: how many messages of ours were lost, each time."""

    def __init__(self) -> None:
        self.unsent: list[int] = []
        self._told = asyncio.Condition()

    async def __call__(self, unsent: int) -> None:
        async with self._told:
            self.unsent.append(unsent)
            self._told.notify_all()

    async def until(self, expected: Callable[[list[int]], bool]) -> None:
        async with asyncio.timeout(DEADLINE), self._told:
            await self._told.wait_for(lambda: expected(self.unsent))


@asynccontextmanager
async def talking(url: str, channel: str = "channel", gaps: Gaps | None = None) -> AsyncIterator[RedisSignal]:
    signal = RedisSignal(url, on_gap=gaps or Gaps())
    await signal.connect()
    await signal.subscribe(channel)
    yield signal
    await signal.unsubscribe(channel)
    await signal.disconnect()


async def heard(signal: RedisSignal) -> str:
    async with asyncio.timeout(DEADLINE):
        return (await signal.next_published()).message


async def until_health(signal: RedisSignal, expected: str) -> None:
    async def health() -> str:
        return signal.health

    await eventually(health, lambda said: said == expected)


async def test_all_who_share_a_channel_hear_what_one_says_in_its_order(valkey: Valkey, tmp_path: Path) -> None:
    channel = str(tmp_path)
    async with talking(valkey.url, channel) as one, talking(f"valkey://{valkey.address}/3", channel) as other:
        for text in ("a", "b", "ü\u2028"):
            await one.publish(channel, text)

        assert [await heard(one) for _ in range(3)] == ["a", "b", "ü\u2028"]
        assert [await heard(other) for _ in range(3)] == ["a", "b", "ü\u2028"]
        assert (one.health, other.health) == ("ok", "ok")


async def test_a_channel_is_nobody_elses(valkey: Valkey, tmp_path: Path) -> None:
    async with talking(valkey.url, f"{tmp_path}-1") as one, talking(valkey.url, f"{tmp_path}-2") as other:
        await one.publish(f"{tmp_path}-1", "for one")
        await heard(one)
        await other.publish(f"{tmp_path}-2", "for the other")

        assert await heard(other) == "for the other"


async def test_what_was_said_last_is_sent_before_the_end(valkey: Valkey, tmp_path: Path) -> None:
    channel, said = str(tmp_path), [str(number) for number in range(MAX_WAITING)]
    async with talking(valkey.url, channel) as listener:
        async with talking(valkey.url, channel) as speaker:
            for text in said:
                await speaker.publish(channel, text)

        assert [await heard(listener) for _ in said] == said


async def test_it_comes_back_by_itself_and_hears_again() -> None:
    """Meanwhile nobody waits for it, and afterwards it tells how much was not sent."""
    gaps = Gaps()
    with Valkey() as valkey, capture_logs() as logs:
        async with talking(valkey.url, gaps=gaps) as signal:
            await gaps.until(lambda unsent: unsent == [0])
            valkey.kill()
            await until_health(signal, AWAY)
            for text in ("lost", "lost too"):
                with pytest.raises(NotSent):
                    await signal.publish("channel", text)

            valkey.start()
            await until_health(signal, "ok")
            await gaps.until(lambda unsent: unsent == [0, 2])
            await signal.publish("channel", "again")

            assert await heard(signal) == "again"
    events = [entry["event"] for entry in logs if entry["log_level"] != "error"]
    assert events == ["signal_lost", "signal_back", "signal_gap"]  # one line each, however many attempts it took


async def test_it_need_not_be_there_at_the_start() -> None:
    valkey = Valkey()
    async with talking(valkey.url) as signal:
        assert signal.health == AWAY

        with valkey:
            await until_health(signal, "ok")


async def test_it_is_left_although_the_connection_ends_at_that_moment(valkey: Valkey, tmp_path: Path) -> None:
    """However many turns of the event loop lie between."""
    for turns in range(30):
        signal = RedisSignal(valkey.url, on_gap=Gaps())
        await signal.connect()
        await signal.subscribe(str(tmp_path))
        with Redis(host="127.0.0.1", port=valkey.port) as other:
            other.client_kill_filter(_type="pubsub", skipme=True)
        for _ in range(turns):
            await asyncio.sleep(0)

        async with asyncio.timeout(DEADLINE):
            await signal.unsubscribe(str(tmp_path))
            await signal.disconnect()


async def test_it_is_left_although_it_never_came() -> None:
    async with talking(Valkey().url) as signal:
        pass

    with pytest.raises(NotSent):
        await signal.publish("channel", "to nobody")


async def test_a_server_that_hangs_is_noticed_by_whoever_speaks_and_holds_up_nobody() -> None:
    gaps = Gaps()
    with Valkey() as valkey:
        async with talking(valkey.url, gaps=gaps) as signal:
            valkey.halt()
            async with asyncio.timeout(redis_signal.ANSWER_SECONDS / 2):  # it waits for no answer
                await signal.publish("channel", "into the void")
            await until_health(signal, AWAY)
            valkey.go_on()

            await until_health(signal, "ok")
            await gaps.until(lambda unsent: sum(unsent) == 1)


async def test_a_server_that_hangs_is_noticed_by_whoever_only_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_signal, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(redis_signal, "ANSWER_SECONDS", 1.0)
    with Valkey() as valkey:
        async with talking(valkey.url) as signal:
            await signal.publish("channel", "heard")
            assert await heard(signal) == "heard"
            valkey.halt()

            await until_health(signal, AWAY)
            valkey.go_on()


async def test_silence_is_no_failure(monkeypatch: pytest.MonkeyPatch, valkey: Valkey, tmp_path: Path) -> None:
    monkeypatch.setattr(redis_signal, "QUIET_SECONDS", 0.02)
    gaps = Gaps()
    async with talking(valkey.url, str(tmp_path), gaps) as signal:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await signal.next_published()

        assert (signal.health, gaps.unsent) == ("ok", [0])


async def test_who_does_not_listen_keeps_no_more_than_the_bound_and_learns_of_the_gap(
    valkey: Valkey, tmp_path: Path
) -> None:
    channel, gaps = str(tmp_path), Gaps()
    async with talking(valkey.url, channel, gaps) as deaf, talking(valkey.url, channel) as speaker:
        for number in range(2 * MAX_WAITING):
            await speaker.publish(channel, str(number))
            await heard(speaker)
        await gaps.until(lambda unsent: len(unsent) == 1 + MAX_WAITING)

        assert [await heard(deaf) for _ in range(MAX_WAITING)] == [str(number) for number in range(MAX_WAITING)]
        await speaker.publish(channel, "now")
        assert await heard(deaf) == "now"


async def test_more_than_can_be_sent_is_refused_at_once_and_owned_up_to(valkey: Valkey, tmp_path: Path) -> None:
    channel, gaps = str(tmp_path), Gaps()
    async with talking(valkey.url, channel, gaps) as signal:
        for number in range(MAX_WAITING):  # nothing gets its turn in between
            await signal.publish(channel, str(number))
        for _ in range(3):
            with pytest.raises(NotSent):
                await signal.publish(channel, "too much")

        await gaps.until(lambda unsent: sum(unsent) == 3)
        assert signal.health == "ok"
        assert [await heard(signal) for _ in range(MAX_WAITING)] == [str(number) for number in range(MAX_WAITING)]


async def test_a_wrong_password_is_said_without_it_and_a_right_one_is_taken_up() -> None:
    with Valkey() as valkey, capture_logs() as logs:
        async with talking(f"redis://:hunter2@{valkey.address}") as signal:
            await until_health(signal, REFUSED)  # Valkey has no password yet: it takes none
            valkey.require("another")
            await until_health(signal, REFUSED)
            valkey.require("hunter2", current="another")

            await until_health(signal, "ok")
    assert [entry["event"] for entry in logs] == ["signal_lost", "signal_back"]
    assert "hunter2" not in repr(logs)


async def test_tls_is_spoken_and_the_certificate_is_checked(valkey: Valkey, tmp_path: Path) -> None:
    certificate = tls.certificate(tmp_path, "localhost")

    road = Road(valkey.port, tls.serving(certificate))
    address = f"localhost:{road.port}"
    async with road, talking(f"rediss://{address}?ssl_ca_certs={certificate}", str(tmp_path)) as signal:
        await signal.publish(str(tmp_path), "sealed")
        assert await heard(signal) == "sealed"
        async with talking(f"valkeys://{address}", str(tmp_path)) as mistrustful:
            assert mistrustful.health == AWAY


@pytest.mark.parametrize(
    "url", ["", "redis", "hunter2://host", "redis://host:hunter2", "redis://host?db=hunter2", "redis://[hunter2"]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="must be a") as refused:
        RedisSignal(url, on_gap=Gaps())

    assert "hunter2" not in str(refused.value)
