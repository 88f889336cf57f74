"""Saying what happened: who is reached, what is kept, and what the same key does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlmodel import func, select

from resolvers import channels, inboxes, notifications, protocols
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import (
    AlreadyExists,
    InvalidArgument,
    PermissionDenied,
    Refused,
)
from resolvers.notifications import NotificationOrderField, OrderDirection
from resolvers.once import Said
from resolvers.paging import Window
from storage import ids
from storage.channels import Kind
from storage.ids import Numbers
from storage.models import (
    Content,
    Decision,
    DecisionReason,
    DeliveryState,
    NotificationLevel,
    NotificationType,
)
from storage.notification_filters import Filter
from storage.notifications import NotificationRow
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, AWAY_ADMIN, BOB, SERVICE, SYSTEM
from tests.resolvers.conftest import Wakes
from tests.resolvers.said import MESSAGE, creation, inside, log_protocol, of_user, outside, say, say_to_project


async def _page(server: Server, caller: Caller, wanted: Filter | None = None, **window: Any) -> list[NotificationRow]:
    listing = await notifications.page(
        server, caller, wanted or Filter(), domain_id=None, order_by=[], window=Window(**window)
    )
    return listing.page.rows


async def test_a_user_gets_one_row_as_it_was_said(server: Server, clock: Clock) -> None:
    said = await say(server, "alice", notification_level=NotificationLevel.LV2)

    [row] = await _page(server, ALICE)
    assert said.notification is not None
    assert (said.notification_id, said.recipient_count, said.delivery_count) == (row.notification_id, 1, 0)
    assert (row.user_id, row.project_id, row.parent_notification_id, row.is_read) == ("alice", None, None, False)
    assert (row.content.topic, row.content.message) == ("monitoring.Alert", MESSAGE)
    assert row.content.notification_type is NotificationType.INFO
    assert row.content.notification_level is NotificationLevel.LV2
    assert row.created_at == clock.now


async def test_an_id_that_another_server_has_drawn_is_drawn_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for _ in range(2):  # servers that draw the same in the same tick
        monkeypatch.setattr(ids, "_numbers", Numbers(lambda: 1 << ids.TICK_BITS, lambda _bits: 7))
        said.append(await say(server, "alice"))

    assert [each.notification_id for each in said] == ["notification-000000010007", "notification-000000010008"]
    assert len(await _page(server, ALICE)) == 2


async def test_counts_follow_what_is_said(server: Server) -> None:
    for _ in range(3):
        await say(server, "alice")

    state = await inboxes.mine(server, ALICE)
    assert state is not None
    assert (state.unread_count, state.unseen_count, state.total_count) == (3, 3, 3)


async def test_a_project_keeps_a_record_and_reaches_each_user_of_its_internal_channels_once(server: Server) -> None:
    await inside(server, "alice", "bob")
    await inside(server, "bob", "carol")

    said = await say_to_project(server)

    assert said.notification is not None
    assert (said.notification.project_id, said.notification.user_id, said.recipient_count) == ("p1", None, 3)
    rows = await notifications.rows_of(server, said, first=100)
    assert sorted(row.user_id or "" for row in rows) == ["alice", "bob", "carol"]
    assert {row.parent_notification_id for row in rows} == {said.notification_id}
    assert {row.project_id for row in rows} == {"p1"}
    async with server.database.read() as session:
        assert (await session.exec(select(func.count()).select_from(Content))).one() == 1


async def test_a_projects_external_channels_deliver_the_record_and_a_users_own_the_row(
    server: Server, wakes: Wakes
) -> None:
    protocol = await log_protocol(server)
    of_project, of_alice = await outside(server, protocol), await of_user(server, ALICE, protocol)
    await inside(server, "alice", "bob")

    said = await say_to_project(server)

    rows = {row.user_id: row for row in await notifications.rows_of(server, said, first=100)}
    made = await notifications.deliveries_of(server, said.notification_id, first=100)
    assert {(delivery.channel_id, delivery.notification_id, delivery.state) for delivery in made} == {
        (of_project.channel_id, said.notification_id, DeliveryState.PENDING),
        (of_alice.channel_id, rows["alice"].notification_id, DeliveryState.PENDING),
    }
    assert said.delivery_count == 2
    assert wakes.worker == 1


@pytest.mark.parametrize(
    ("said", "channel", "sent"),
    [
        (NotificationLevel.ALL, NotificationLevel.LV3, True),
        (NotificationLevel.LV3, NotificationLevel.LV3, True),
        (NotificationLevel.LV4, NotificationLevel.LV3, False),
        (NotificationLevel.LV2, NotificationLevel.LV3, False),
    ],
)
async def test_levels_match_by_equality(
    server: Server, said: NotificationLevel, channel: NotificationLevel, sent: bool
) -> None:
    await outside(server, await log_protocol(server), level=channel)

    record = (await say_to_project(server, notification_level=said)).notification

    assert record is not None
    [decision] = record.decisions
    assert decision["decision"] == (Decision.SEND if sent else Decision.SKIP)
    assert decision["reason"] == (None if sent else DecisionReason.LEVEL)


async def test_a_project_without_channels_has_its_record_all_the_same(server: Server) -> None:
    said = await say_to_project(server, "nobody-listens")

    assert (said.recipient_count, said.delivery_count) == (0, 0)
    [record] = await _page(server, ADMIN, Filter(project_id="nobody-listens"))
    assert record.notification_id == said.notification_id


async def test_a_domain_reaches_every_known_user(server: Server) -> None:
    await inboxes.register(server, ADMIN, user_ids=["alice", "bob"], domain_id=None)

    said = await say(server, "home", resource_type="identity.Domain")

    rows = await notifications.rows_of(server, said, first=100)
    assert {row.user_id for row in rows} == {"admin", "alice", "bob"}  # the administrator's write made it known
    assert said.recipient_count == 3
    assert said.notification is not None
    assert (said.notification.user_id, said.notification.project_id) == (None, None)


async def test_nothing_crosses_a_domain(server: Server) -> None:
    await say(server, "alice")

    assert await _page(server, AWAY_ADMIN) == []
    with pytest.raises(PermissionDenied):
        await say(server, "alice", domain_id="away")
    with pytest.raises(PermissionDenied):
        await say(server, "away", resource_type="identity.Domain")


async def test_system_says_and_reads_in_the_domain_that_it_names(server: Server) -> None:
    said = await say(server, "alice", caller=SYSTEM, domain_id="home")

    [row] = await _page(server, ALICE)
    assert row.notification_id == said.notification_id
    assert await notifications.find(server, SYSTEM, said.notification_id) is not None


async def test_people_read_their_own_services_their_records_and_administrators_everything(server: Server) -> None:
    await inside(server, "alice", "bob")
    record = await say_to_project(server)
    row = {row.user_id: row.notification_id for row in await notifications.rows_of(server, record, first=9)}

    async def seen(caller: Caller) -> set[str]:
        by_id = {
            notification_id
            for notification_id in [record.notification_id, *row.values()]
            if await notifications.find(server, caller, notification_id)
        }
        assert by_id == {found.notification_id for found in await _page(server, caller)}
        return by_id

    assert await seen(ALICE) == {row["alice"]}
    assert await seen(BOB) == {row["bob"]}
    assert await seen(SERVICE) == {record.notification_id}
    assert await seen(ADMIN) == {record.notification_id, *row.values()}
    assert await seen(AWAY_ADMIN) == set()


async def test_users_say_nothing(server: Server) -> None:
    with pytest.raises(PermissionDenied):
        await say(server, "alice", caller=ALICE)


BAD: dict[str, dict[str, Any]] = {
    "resourceType": {"resource_type": "identity.ServiceAccount"},
    "resourceId": {"resource_id": ""},
    "topic": {"topic": "t" * 256},
    "message": {"message": ["not", "an", "object"]},
    "idempotencyKey": {"idempotency_key": " "},
}


@pytest.mark.parametrize("field", BAD)
async def test_a_bad_value_is_named_and_stores_nothing(server: Server, field: str) -> None:
    values: dict[str, Any] = {"resource_type": "identity.User", "resource_id": "alice", **BAD[field]}

    with pytest.raises(InvalidArgument) as caught:
        await say(server, **values)

    assert caught.value.field == field
    assert await _page(server, ADMIN) == []


async def test_many_creates_each_have_their_own_outcome(server: Server) -> None:
    outcomes = await notifications.create_many(
        server, SERVICE, [creation("alice"), creation("alice", topic=""), creation("bob")]
    )

    assert [isinstance(outcome, Said) for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1], Refused)
    assert outcomes[1].field == "topic"
    with pytest.raises(InvalidArgument):
        await notifications.create_many(server, SERVICE, [creation("alice")] * 101)


async def test_the_same_key_gets_the_same_answer_and_says_nothing_again(server: Server) -> None:
    protocol = await log_protocol(server)
    await outside(server, protocol)
    await inside(server, "alice")

    first = await say_to_project(server, idempotency_key="k")
    again = await say_to_project(server, idempotency_key="k")

    assert (first.replayed, again.replayed) == (False, True)
    assert (again.notification_id, again.recipient_count, again.delivery_count) == (first.notification_id, 1, 1)
    assert len(await _page(server, ALICE)) == 1
    assert len(await notifications.deliveries_of(server, first.notification_id, first=9)) == 1


async def test_the_same_key_with_another_body_is_refused(server: Server) -> None:
    await say(server, idempotency_key="k")

    with pytest.raises(AlreadyExists) as caught:
        await say(server, idempotency_key="k", topic="another")

    assert caught.value.field == "idempotencyKey"
    assert len(await _page(server, ALICE)) == 1


async def test_a_repeat_may_name_the_callers_own_domain_or_not(server: Server) -> None:
    first = await say(server, idempotency_key="k")
    again = await say(server, idempotency_key="k", domain_id=SERVICE.domain_id)

    assert (again.notification_id, again.replayed) == (first.notification_id, True)


async def test_keys_belong_to_their_caller(server: Server) -> None:
    await say(server, idempotency_key="k")

    assert not (await say(server, idempotency_key="k", caller=ADMIN)).replayed


async def test_concurrent_duplicates_are_said_once(server: Server) -> None:
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*(say(server, idempotency_key="k") for _ in range(8)))

    assert len({answer.notification_id for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 7
    assert len(await _page(server, ALICE)) == 1


async def test_a_repeat_is_answered_as_the_first_call_whatever_has_changed_since(server: Server) -> None:
    protocol = await log_protocol(server)
    channel = await outside(server, protocol)
    first = await say_to_project(server, idempotency_key="k")
    await channels.delete(server, ADMIN, Kind.PROJECT, channel_id=channel.channel_id)
    await protocols.delete(server, ADMIN, protocol_id=protocol.protocol_id)

    again = await say_to_project(server, idempotency_key="k")

    assert (again.replayed, again.notification_id, again.delivery_count) == (True, first.notification_id, 1)


async def test_a_replay_tells_what_is_left(server: Server) -> None:
    said = await say(server, idempotency_key="k")
    await inboxes.delete(server, ALICE, notification_ids=[said.notification_id], origin_id=None)

    again = await say(server, idempotency_key="k")

    assert (again.replayed, again.notification, again.notification_id) == (True, None, said.notification_id)


async def test_every_filter_narrows(server: Server, clock: Clock) -> None:
    await inside(server, "alice")
    early = clock.now
    record = await say_to_project(server, topic="t1", notification_type=NotificationType.ERROR)
    clock.advance(seconds=1)
    plain = await say(server, "alice", topic="t2", notification_level=NotificationLevel.LV5)
    await inboxes.set_read(server, ALICE, notification_ids=[plain.notification_id], is_read=True, origin_id=None)
    [child] = await notifications.rows_of(server, record, first=9)

    async def found(**wanted: Any) -> set[str]:
        return {row.notification_id for row in await _page(server, ADMIN, Filter(**wanted))}

    parent, row, other = record.notification_id, child.notification_id, plain.notification_id
    assert await found(notification_ids=[row, "notification-nope"]) == {row}
    assert await found(notification_ids=[]) == set()
    assert await found(topics=["t1"]) == {parent, row}
    assert await found(notification_types=[NotificationType.ERROR]) == {parent, row}
    assert await found(notification_levels=[NotificationLevel.LV5]) == {other}
    assert await found(is_read=True) == {other}
    assert await found(is_read=False) == {parent, row}
    assert await found(parent_notification_id=parent) == {row}
    assert await found(project_id="p1") == {parent, row}
    assert await found(user_id="alice") == {row, other}
    assert await found(created_after=early) == {other}  # exclusive
    assert await found(created_before=clock.now) == {parent, row}  # exclusive


async def test_a_list_is_newest_first_and_ordered_as_asked(server: Server, clock: Clock) -> None:
    for topic in ("b", "a", "c"):
        await say(server, "alice", topic=topic)
        clock.advance(seconds=1)

    by_topic = await notifications.page(
        server,
        ALICE,
        Filter(),
        domain_id=None,
        order_by=[(NotificationOrderField.TOPIC, OrderDirection.ASC)],
        window=Window(),
    )

    assert [row.content.topic for row in await _page(server, ALICE)] == ["c", "a", "b"]
    assert [row.content.topic for row in by_topic.page.rows] == ["a", "b", "c"]
    assert await by_topic.count() == 3


async def test_pages_are_bounded_and_stable_under_inserts(server: Server, clock: Clock) -> None:
    for number in range(5):
        await say(server, "alice", topic=f"t{number}")
        clock.advance(seconds=1)
    listing = await notifications.page(server, ALICE, Filter(), domain_id=None, order_by=[], window=Window(first=2))
    await say(server, "alice", topic="newer")

    after = listing.cursor(listing.page.rows[-1])
    assert [row.content.topic for row in await _page(server, ALICE, first=2, after=after)] == ["t2", "t1"]
    for window in (Window(first=101), Window(first=-1), Window(first=1, last=1), Window(after="nonsense")):
        with pytest.raises(InvalidArgument):
            await notifications.page(server, ALICE, Filter(), domain_id=None, order_by=[], window=window)


async def test_a_cursor_of_one_order_is_no_cursor_of_another(server: Server) -> None:
    await say(server, "alice")
    listing = await notifications.page(server, ALICE, Filter(), domain_id=None, order_by=[], window=Window())
    state = await inboxes.mine(server, ALICE)
    assert state is not None

    for cursor in (listing.cursor(listing.page.rows[0]), state.cursor):
        with pytest.raises(InvalidArgument) as caught:
            await notifications.page(
                server,
                ALICE,
                Filter(),
                domain_id=None,
                order_by=[(NotificationOrderField.TOPIC, OrderDirection.ASC)],
                window=Window(after=cursor),
            )
        assert caught.value.field == "after"
