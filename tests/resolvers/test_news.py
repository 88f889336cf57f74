"""What the news of a create brings along is what the log says of it, to the letter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from dispatch.hub import News
from resolvers import fanout, inbox_log
from resolvers.context import Server
from resolvers.events import Event
from storage import added_rows
from storage.models import NotificationLevel, NotificationType
from tests.conftest import Clock
from tests.resolvers.callers import ALICE
from tests.resolvers.said import inside, log_protocol, of_user, outside, say, say_to_project

MESSAGES: Sequence[dict[str, Any]] = (
    {},
    {"title": "Not running pods", "tags": {"urgency": "LOW"}},
    {"b": 1, "a": 2},  # in the order in which it was given
    {"quoted": 'he said "no" \\ /', "lines": "one\ntwo\tthree\r", "control": "\x01\x1f\x7f", "line": "\u2028"},
    {"é": "ß 日本語 🚨", "combined": "e\u0301", "outside": "\U0010ffff"},
    {"numbers": [0, -1, 2**53, 1.5, -0.0, 1e16, 1e-7, 5e-324, 1.7976931348623157e308]},
    {"nested": [[], {}, [None, True, False, {"": [""]}]]},
)


@pytest.fixture
def published(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """The events that other processes would have made of the news."""
    events: list[Event] = []

    async def publish(news: Sequence[News]) -> None:
        for each in news:
            for head in each.heads:
                sent = orjson.loads(orjson.dumps([each.shared, head.own]))
                if event := inbox_log.brought(*sent):
                    assert event.position.seq == head.seq
                    events.append(event)

    monkeypatch.setattr(server.hub, "publish_news", publish)
    monkeypatch.setattr(server.hub, "reaches", lambda _owner: True)
    return events


async def _read(server: Server, events: Sequence[Event]) -> list[Event]:
    """The same events, as they are read."""
    positions = [event.position._replace(seq=event.position.seq - 1) for event in events]
    found: list[Event] = []
    for position in positions:
        batch = (await inbox_log.read_each(server, [position], limit=1))(position)
        assert batch is not None
        found += batch.events
    return found


def _told(event: Event) -> list[Any]:
    """All of it but how far its inbox has come, which the row says as of when it was read."""
    row: Any = event.notification
    texts = [text for name, text in zip(added_rows.POSITIONS, row, strict=True) if name != "last_seq"]
    return [*event._replace(notification=None), *texts]


async def _compare(server: Server, published: Sequence[Event]) -> None:
    read = await _read(server, published)
    assert [_told(event) for event in published] == [_told(event) for event in read]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: " ".join(message) or "nothing")
async def test_of_whatever_is_said_to_a_user(
    server: Server, published: list[Event], message: dict[str, Any], clock: Clock
) -> None:
    clock.now = clock.now.replace(microsecond=987_000)
    await say(server, message=message, topic="Überlast", notification_type=NotificationType.ERROR)

    assert len(published) == 1
    await _compare(server, published)


async def test_of_a_projects_record_its_members_and_their_channels(server: Server, published: list[Event]) -> None:
    protocol = await log_protocol(server)
    await outside(server, protocol, level=NotificationLevel.LV2)  # another than what is said: a decision to be kept
    await of_user(server, ALICE, protocol)
    await inside(server, "alice", "bob")

    await say_to_project(server, notification_level=NotificationLevel.LV1)

    users = [event.notification.user_id for event in published if event.notification]
    assert users == [None, "alice", "bob"]
    assert any(len(event.notification.decisions) > len("[]") for event in published if event.notification)
    await _compare(server, published)


async def test_of_a_crowd_that_is_reached_later(server: Server, published: list[Event]) -> None:
    crowd = [f"user-{number:03}" for number in range(fanout.AT_ONCE + 5)]
    await inside(server, *crowd)
    said = await say_to_project(server)
    while await fanout.reach_next_chunk(server):
        pass

    rows = [event.notification for event in published if event.notification]
    assert [row.user_id for row in rows] == [None, *crowd]
    assert {row.parent_notification_id for row in rows[1:]} == {said.notification_id}
    await _compare(server, published)


async def test_of_creates_that_share_a_transaction(server: Server, published: list[Event]) -> None:
    """Two of them for the same inbox, each with the counts after it."""
    await asyncio.gather(say(server), say(server, "bob", topic="billing.Alert"), say(server, topic="news"))

    assert sorted(event.unread_count for event in published) == [1, 1, 2]
    await _compare(server, published)


async def test_a_long_message_is_not_sent_around(server: Server, published: list[Event]) -> None:
    await say(server, message={"title": "long", "text": "x" * added_rows.MAX_SENT_CHARACTERS})
    short = await say(server)

    [event] = published
    assert event.notification is not None
    assert event.notification.notification_id == short.notification_id


async def test_nothing_is_sent_of_what_nobody_watches(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process alone knows of all who watch."""
    sent: list[str] = []

    async def publish(_channel: str, text: str) -> None:
        sent.append(text)

    monkeypatch.setattr(server.hub._broadcast, "publish", publish)
    await say(server)

    assert sent == []
