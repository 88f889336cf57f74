"""What a plugin is given of a claimed delivery, and what is kept of its answer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dispatch.plugins import DispatchRequest, JsonObject, Result
from dispatch.plugins.log import Log
from dispatch.sending import MAX_ERROR, MAX_EXCERPT, Sender, Sent
from storage.models import AttemptOutcome, NotificationLevel, NotificationType
from storage.queue import Claimed, Leased, Said
from storage.secrets import Vault
from tests.conftest import Clock
from tests.dispatch import rows


class Answering(Log):
    """Keeps what it was given, and answers as it was told."""

    def __init__(self, result: Result) -> None:
        self.given: list[DispatchRequest] = []
        self._result = result

    async def dispatch(self, request: DispatchRequest) -> Result:
        self.given.append(request)
        return self._result


class Splitting(Answering):
    def parts(self, channel_data: JsonObject) -> Sequence[JsonObject]:
        return [{"to": name} for name in channel_data["all"]]


async def send(plugin: Log, vault: Vault, clock: Clock, *, part: int = 0) -> Sent:
    protocol = rows.protocol(plugin_id="plan")
    channel = rows.channel(protocol_id=protocol.protocol_id, data={"all": ["a", "b"]})
    delivery = Leased(
        delivery_id="delivery-0123456789ab",
        domain_id="d",
        notification_id="notification-0123456789ab",
        content_id=1,
        protocol_id=protocol.protocol_id,
        plugin_id="plan",
        channel_id=channel.channel_id,
        part=part,
        destination="",
        push_data=None,
        reason=None,
        attempt_no=1,
        attempt_count=0,
        retries_from=0,
        counted_on=None,
        created_at=rows.SATURDAY_EVENING,
    )
    said = Said(1, "monitoring.alert", {"title": "Disk full"}, NotificationType.INFO, NotificationLevel.ALL)
    return await Sender({"plan": plugin}, vault, clock).send(Claimed(delivery, said, protocol, channel), 5)


@pytest.mark.parametrize(
    ("excerpt", "kept"),
    [
        ("x" * 30_000, "x" * 20_000),
        ("ü" * 30_000, "ü" * 10_000),
        ("x" + "ü" * 30_000, "x" + "ü" * 9_999),
        ("🔥" * 30_000, "🔥" * 5_000),
    ],
)
async def test_of_an_answer_20_000_bytes_are_kept_and_no_half_character(
    vault: Vault, clock: Clock, excerpt: str, kept: str
) -> None:
    sent = await send(Answering(Result(AttemptOutcome.RETRY, error=excerpt, response_excerpt=excerpt)), vault, clock)

    assert sent.result.response_excerpt == kept
    assert len(kept.encode()) <= MAX_EXCERPT
    assert len((sent.result.error or "").encode()) <= MAX_ERROR


@pytest.mark.parametrize(("part", "data"), [(0, {"to": "a"}), (1, {"to": "b"})])
async def test_a_plugin_that_splits_is_given_one_recipient(
    vault: Vault, clock: Clock, part: int, data: JsonObject
) -> None:
    plugin = Splitting(Result(AttemptOutcome.OK))
    await send(plugin, vault, clock, part=part)

    assert [request.channel_data for request in plugin.given] == [data]


async def test_one_that_does_not_is_given_all(vault: Vault, clock: Clock) -> None:
    plugin = Answering(Result(AttemptOutcome.OK))
    await send(plugin, vault, clock)

    assert [request.channel_data for request in plugin.given] == [{"all": ["a", "b"]}]


async def test_a_recipient_that_the_channel_has_lost_since_is_refused(vault: Vault, clock: Clock) -> None:
    plugin = Splitting(Result(AttemptOutcome.OK))
    sent = await send(plugin, vault, clock, part=2)

    assert (sent.result.outcome, plugin.given) == (AttemptOutcome.REFUSED, [])
    assert not sent.is_of_destination


async def test_a_plugin_that_fails_at_splitting_is_tried_again(vault: Vault, clock: Clock) -> None:
    class Broken(Splitting):
        def parts(self, channel_data: JsonObject) -> Sequence[JsonObject]:
            raise LookupError("of-the-channel")

    sent = await send(Broken(Result(AttemptOutcome.OK)), vault, clock)

    assert sent.result == Result(AttemptOutcome.RETRY, error="The plugin failed (LookupError).")
