from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import deliveries, queue, verdicts
from storage.deliveries import NEWEST_FIRST, Filter
from storage.engine import Database
from storage.models import (
    Attempt,
    AttemptOutcome,
    Content,
    DecisionReason,
    Delivery,
    DeliveryState,
    Protocol,
)
from storage.paging import Bounds, position
from storage.queue import Claimed, Leased, Room
from storage.scope import Scope
from storage.verdicts import Outcome, Tried, Verdict
from tests.dispatch import rows
from tests.dispatch.rows import SATURDAY_EVENING, enqueue, reload, store

DELIVERED = Verdict(DeliveryState.DELIVERED)
ALL = Bounds(limit=100)


@pytest.fixture
async def said(database: Database) -> Content:
    content = rows.content()
    await store(database, content)
    return content


@pytest.fixture
async def protocol(database: Database) -> Protocol:
    protocol = rows.protocol()
    await store(database, protocol)
    return protocol


async def claim(database: Database, *, limit: int = 100, lease: float = 60.0) -> list[Claimed]:
    work = partial(queue.claim, room=Room(limit), lease=lease, now=SATURDAY_EVENING)
    return list((await database.write(work)).claimed)


async def claim_one(database: Database, *, lease: float = 60.0) -> Leased:
    (claimed,) = await claim(database, lease=lease)
    return claimed.delivery


async def record(
    database: Database, delivery: Leased, verdict: Verdict, outcome: AttemptOutcome = AttemptOutcome.OK
) -> bool:
    return bool(await record_all(database, Outcome(delivery, verdict, Tried(SATURDAY_EVENING, 12, outcome))))


async def record_all(database: Database, *outcomes: Outcome) -> Sequence[Outcome]:
    work = partial(verdicts.record, outcomes=outcomes, now=SATURDAY_EVENING, patience=timedelta(hours=120))
    return (await database.write(work)).outcomes


async def next_due(database: Database) -> float | None:
    async with database.read() as session:
        return await queue.next_due(session)


async def attempts(database: Database, *of: Delivery | Leased) -> dict[str, list[Attempt]]:
    async with database.read() as session:
        return await deliveries.attempts(session, [row.delivery_id for row in of])


async def page(database: Database, scope: Scope, wanted: Filter | None = None, bounds: Bounds = ALL) -> list[str]:
    async with database.read() as session:
        found = await deliveries.in_scope(scope).page(session, wanted or Filter(), bounds)
    return [row.delivery_id for row in found.rows]


async def contents(database: Database) -> Sequence[Content]:
    async with database.read() as session:
        return (await session.exec(select(Content))).all()


async def test_a_new_delivery_is_due_at_once_and_comes_with_all_that_sending_takes(
    database: Database, said: Content, protocol: Protocol
) -> None:
    channel = rows.channel(protocol_id=protocol.protocol_id)
    await store(database, channel)
    row = rows.delivery(said, protocol, channel_id=channel.channel_id)
    await enqueue(database, row)

    (claimed,) = await claim(database)

    assert claimed.delivery.delivery_id == row.delivery_id
    assert (await reload(database, row)).state is DeliveryState.SENDING
    assert claimed.delivery.attempt_no == 1
    assert claimed.content is not None
    assert claimed.content.message == said.message
    assert claimed.protocol is not None
    assert claimed.protocol.protocol_id == protocol.protocol_id
    assert claimed.channel is not None
    assert claimed.channel.channel_id == channel.channel_id


async def test_what_is_claimed_is_claimed_by_nobody_else(database: Database, said: Content, protocol: Protocol) -> None:
    await enqueue(database, rows.delivery(said, protocol))

    assert len(await claim(database)) == 1
    assert await claim(database) == []


async def test_many_claimers_at_once_share_the_deliveries_out(
    database: Database, said: Content, protocol: Protocol
) -> None:
    await enqueue(database, *(rows.delivery(said, protocol) for _ in range(40)))

    shares = await asyncio.gather(*(claim(database, limit=5) for _ in range(8)))
    rest = await claim(database)

    taken = [claimed.delivery.delivery_id for share in [*shares, rest] for claimed in share]
    assert len(taken) == len(set(taken)) == 40


async def test_a_claim_passes_over_what_another_one_is_claiming(
    database: Database, said: Content, protocol: Protocol
) -> None:
    """On PostgreSQL both are in their transactions at once; SQLite has one writer, so one waits for the other.

    They were counted before: what is not yet waits for its turn at the protocol's usage.
    """
    await enqueue(database, *(rows.delivery(said, protocol, counted_on="2026-01-31") for _ in range(4)))
    others: list[list[Claimed]] = []

    async def claim_beside(session: AsyncSession) -> Sequence[Claimed]:
        claimed = (await queue.claim(session, Room(2), lease=60, now=SATURDAY_EVENING)).claimed
        if not database.is_sqlite:
            async with asyncio.timeout(10):
                others.append(await claim(database))
        return claimed

    mine = await database.write(claim_beside)
    if database.is_sqlite:
        others.append(await claim(database))

    taken = {claimed.delivery.delivery_id for claimed in [*mine, *others[0]]}
    assert (len(mine), len(others[0]), len(taken)) == (2, 2, 4)


async def test_the_longest_due_is_claimed_first(database: Database, said: Content, protocol: Protocol) -> None:
    due = [
        rows.delivery(said, protocol, next_attempt_at=SATURDAY_EVENING - timedelta(minutes=minutes))
        for minutes in (1, 3, 2)
    ]
    await enqueue(database, *due)

    claimed = [(await claim(database, limit=1))[0].delivery.delivery_id for _ in due]

    assert claimed == [due[1].delivery_id, due[2].delivery_id, due[0].delivery_id]


async def test_what_is_due_later_is_not_claimed_before(database: Database, said: Content, protocol: Protocol) -> None:
    await enqueue(database, rows.delivery(said, protocol))
    await record(database, await claim_one(database), Verdict(DeliveryState.RETRYING, delay=100))

    assert await claim(database) == []
    due = await next_due(database)
    assert due is not None
    assert 90 < due <= 100


async def test_nothing_is_due_where_nothing_waits(database: Database, said: Content, protocol: Protocol) -> None:
    assert await next_due(database) is None

    await enqueue(database, rows.delivery(said, protocol))
    assert await next_due(database) == 0

    await record(database, await claim_one(database), DELIVERED)
    assert await next_due(database) is None


async def test_a_lease_is_due_when_it_ends(database: Database, said: Content, protocol: Protocol) -> None:
    await enqueue(database, rows.delivery(said, protocol))
    await claim_one(database, lease=50)

    due = await next_due(database)

    assert due is not None
    assert 40 < due <= 50


async def test_a_lease_that_ended_is_taken_up_again_and_its_outcome_no_longer_counts(
    database: Database, said: Content, protocol: Protocol
) -> None:
    await enqueue(database, rows.delivery(said, protocol))
    first = await claim_one(database, lease=-1)
    second = await claim_one(database)

    assert (second.delivery_id, second.attempt_no) == (first.delivery_id, 2)
    assert not await record(database, first, DELIVERED)
    assert (await reload(database, first)).state is DeliveryState.SENDING
    assert await attempts(database, first) == {}

    assert await record(database, second, DELIVERED)
    assert (await reload(database, first)).state is DeliveryState.DELIVERED


async def test_an_outcome_counts_once(database: Database, said: Content, protocol: Protocol) -> None:
    await enqueue(database, rows.delivery(said, protocol))
    claimed = await claim_one(database)

    assert await record(database, claimed, DELIVERED)
    assert not await record(database, claimed, Verdict(DeliveryState.DEAD, DecisionReason.REFUSED))
    assert (await reload(database, claimed)).state is DeliveryState.DELIVERED


async def test_a_failure_is_kept_with_its_attempt_and_tried_again(
    database: Database, said: Content, protocol: Protocol
) -> None:
    await enqueue(database, rows.delivery(said, protocol))
    first = await claim_one(database)
    await record(database, first, Verdict(DeliveryState.RETRYING, detail="503", delay=0), AttemptOutcome.RETRY)

    waiting = await reload(database, first)
    assert (waiting.state, waiting.detail, waiting.attempt_count) == (DeliveryState.RETRYING, "503", 1)
    assert waiting.next_attempt_at is not None
    assert waiting.lease_until is None
    assert waiting.finished_at is None

    second = await claim_one(database)
    await record(database, second, DELIVERED)

    finished = await reload(database, first)
    assert (finished.state, finished.detail, finished.attempt_count) == (DeliveryState.DELIVERED, None, 2)
    assert (finished.next_attempt_at, finished.finished_at) == (None, SATURDAY_EVENING)
    made = (await attempts(database, first))[first.delivery_id]
    assert [(row.attempt_no, row.outcome) for row in made] == [(1, AttemptOutcome.RETRY), (2, AttemptOutcome.OK)]


async def test_a_delivery_may_be_withheld_without_an_attempt(
    database: Database, said: Content, protocol: Protocol
) -> None:
    await enqueue(database, rows.delivery(said, protocol))
    claimed = await claim_one(database)
    verdict = Verdict(DeliveryState.SKIPPED, DecisionReason.PROTOCOL_DISABLED, "Why.")

    await record_all(database, Outcome(claimed, verdict))

    row = await reload(database, claimed)
    assert (row.state, row.reason, row.detail) == (verdict.state, verdict.reason, verdict.detail)
    assert (row.attempt_count, row.finished_at) == (0, SATURDAY_EVENING)


async def test_a_delivery_may_be_put_off_until_its_channel_opens(
    database: Database, said: Content, protocol: Protocol
) -> None:
    await enqueue(database, rows.delivery(said, protocol))
    opening = SATURDAY_EVENING + timedelta(days=2)
    await record(
        database, await claim_one(database), Verdict(DeliveryState.PENDING, DecisionReason.OFF_HOURS, due_at=opening)
    )

    (row_id,) = await page(database, Scope("d"), Filter(states=[DeliveryState.PENDING]))
    row = await deliveries.find_kept(database, row_id, Scope("d"))
    assert row is not None
    assert (row.next_attempt_at, row.finished_at) == (opening, None)


async def test_the_content_goes_with_the_last_delivery_that_needs_it(
    database: Database, said: Content, protocol: Protocol
) -> None:
    await enqueue(database, rows.delivery(said, protocol), rows.delivery(said, protocol))
    first, second = [claimed.delivery for claimed in await claim(database)]

    await record(database, first, DELIVERED)
    assert len(await contents(database)) == 1

    await record(database, second, Verdict(DeliveryState.DEAD, DecisionReason.REFUSED))
    assert await contents(database) == []


async def test_the_content_stays_while_a_notification_shows_it(
    database: Database, said: Content, protocol: Protocol
) -> None:
    await store(database, rows.notification(said))
    await enqueue(database, rows.delivery(said, protocol))

    await record(database, await claim_one(database), DELIVERED)

    assert len(await contents(database)) == 1


async def test_a_lease_can_be_renewed_by_its_holder_alone(
    database: Database, said: Content, protocol: Protocol
) -> None:
    await enqueue(database, rows.delivery(said, protocol))
    lost = await claim_one(database, lease=-1)
    held = await claim_one(database, lease=-1)

    await database.write(partial(queue.renew, leases=[(lost.delivery_id, lost.attempt_no)], lease=60))
    assert (await claim_one(database, lease=-1)).attempt_no == 3

    await database.write(partial(queue.renew, leases=[(held.delivery_id, 3)], lease=60))
    assert await claim(database) == []


async def test_a_lease_that_is_given_back_is_due_at_once(database: Database, said: Content, protocol: Protocol) -> None:
    await enqueue(database, rows.delivery(said, protocol))
    held = await claim_one(database)

    await database.write(partial(queue.release, leases=[(held.delivery_id, held.attempt_no)]))

    assert (await claim_one(database)).attempt_no == 2


async def test_all_leases_of_a_process_that_is_gone_can_be_given_back(
    database: Database, said: Content, protocol: Protocol
) -> None:
    await enqueue(database, *(rows.delivery(said, protocol) for _ in range(3)))
    await claim(database, limit=2)

    await database.write(queue.release_all)

    assert len(await claim(database)) == 3


async def skip(database: Database, channel_id: str) -> None:
    reason = DecisionReason.CHANNEL_DELETED
    await database.write(partial(deliveries.skip_open, channel_id=channel_id, reason=reason, now=SATURDAY_EVENING))


async def test_what_waits_for_a_channel_that_is_deleted_is_skipped(
    database: Database, said: Content, protocol: Protocol
) -> None:
    waiting = rows.delivery(said, protocol, channel_id="c1")
    retrying = rows.delivery(
        said, protocol, channel_id="c1", state=DeliveryState.RETRYING, next_attempt_at=SATURDAY_EVENING
    )
    other = rows.delivery(said, protocol, channel_id="c2")
    done = rows.delivery(said, protocol, channel_id="c1", state=DeliveryState.DELIVERED)
    await enqueue(database, waiting, retrying, other, done)

    await skip(database, "c1")

    for row in (waiting, retrying):
        skipped = await reload(database, row)
        assert (skipped.state, skipped.reason) == (DeliveryState.SKIPPED, DecisionReason.CHANNEL_DELETED)
        assert (skipped.next_attempt_at, skipped.finished_at) == (None, SATURDAY_EVENING)
    assert (await reload(database, other)).state is DeliveryState.PENDING
    assert (await reload(database, done)).state is DeliveryState.DELIVERED
    assert len(await contents(database)) == 1


async def test_the_content_goes_with_the_last_delivery_that_is_skipped(
    database: Database, said: Content, protocol: Protocol
) -> None:
    await enqueue(database, rows.delivery(said, protocol, channel_id="c1"))

    await skip(database, "c1")

    assert await contents(database) == []


@pytest.mark.parametrize(
    ("verdict", "state", "reason"),
    [
        (DELIVERED, DeliveryState.DELIVERED, None),
        (Verdict(DeliveryState.DEAD, DecisionReason.REFUSED), DeliveryState.DEAD, DecisionReason.REFUSED),
        (Verdict(DeliveryState.RETRYING, delay=5), DeliveryState.SKIPPED, DecisionReason.CHANNEL_DELETED),
    ],
)
async def test_what_is_being_sent_when_its_channel_is_deleted_is_not_tried_again(
    database: Database,
    said: Content,
    protocol: Protocol,
    verdict: Verdict,
    state: DeliveryState,
    reason: DecisionReason | None,
) -> None:
    await enqueue(database, rows.delivery(said, protocol, channel_id="c1"))
    claimed = await claim_one(database)
    await skip(database, "c1")

    await record(database, claimed, verdict)

    row = await reload(database, claimed)
    assert (row.state, row.reason, row.next_attempt_at) == (state, reason, None)
    assert row.finished_at == SATURDAY_EVENING
    assert row.attempt_count == 1


@pytest.mark.parametrize(
    ("scope", "seen"),
    [
        (Scope(None), {"project", "push", "own", "elsewhere"}),
        (Scope("d"), {"project", "push", "own"}),
        (Scope("d", user_id="u"), {"own"}),
        (Scope("d", user_id="v"), set()),
        (Scope("d", created_by="backend"), {"project"}),
        (Scope("d", created_by="other"), {"push"}),
        (Scope("e"), {"elsewhere"}),
    ],
)
async def test_each_scope_sees_its_own_deliveries(
    database: Database, said: Content, protocol: Protocol, scope: Scope, seen: set[str]
) -> None:
    made = {
        "project": rows.delivery(said, protocol, channel_id="c1"),
        "push": rows.delivery(said, protocol, created_by="other"),
        "own": rows.delivery(said, protocol, channel_id="c2", user_id="u"),
        "elsewhere": rows.delivery(said, protocol, domain_id="e"),
    }
    await enqueue(database, *made.values())
    expected = {made[name].delivery_id for name in seen}

    assert set(await page(database, scope)) == expected
    async with database.read() as session:
        assert await deliveries.in_scope(scope).count(session, Filter()) == len(expected)
    for row in made.values():
        found = await deliveries.find_kept(database, row.delivery_id, scope)
        assert (found is not None) is (row.delivery_id in expected)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), [0, 1, 2]),
        (Filter(delivery_ids=["delivery-2", "delivery-0", "none"]), [0, 2]),
        (Filter(delivery_ids=[]), []),
        (Filter(notification_id="n1"), [1]),
        (Filter(channel_id="c1"), [1]),
        (Filter(protocol_id="none"), []),
        (Filter(states=[DeliveryState.PENDING]), [1, 2]),
        (Filter(states=[]), []),
        (Filter(created_after=SATURDAY_EVENING), [1, 2]),
        (Filter(created_before=SATURDAY_EVENING + timedelta(minutes=2)), [0, 1]),
        (Filter(created_after=SATURDAY_EVENING, states=[DeliveryState.PENDING], channel_id="c2"), [2]),
    ],
)
async def test_every_filter_narrows_as_its_name_says(
    database: Database, said: Content, protocol: Protocol, wanted: Filter, found: list[int]
) -> None:
    made = [
        rows.delivery(
            said,
            protocol,
            delivery_id=f"delivery-{number}",
            notification_id=f"n{number}",
            channel_id=f"c{number}",
            state=DeliveryState.DELIVERED if number == 0 else DeliveryState.PENDING,
            created_at=SATURDAY_EVENING + timedelta(minutes=number),
        )
        for number in range(3)
    ]
    await enqueue(database, *made)
    newest_first = [f"delivery-{number}" for number in reversed(found)]

    assert await page(database, Scope("d"), wanted) == newest_first
    async with database.read() as session:
        assert await deliveries.in_scope(Scope("d")).count(session, wanted) == len(found)


async def test_pages_are_newest_first_and_follow_each_other(
    database: Database, said: Content, protocol: Protocol
) -> None:
    made = [
        rows.delivery(
            said,
            protocol,
            delivery_id=f"delivery-{number}",
            created_at=SATURDAY_EVENING + timedelta(minutes=number // 2),
        )
        for number in range(5)
    ]
    await enqueue(database, *made)

    records = deliveries.in_scope(Scope("d"))
    async with database.read() as session:
        first = await records.page(session, Filter(), Bounds(limit=2))
        after = position(first.rows[-1], NEWEST_FIRST)
        rest = await records.page(session, Filter(), Bounds(limit=10, after=after))

    assert [row.delivery_id for row in [*first.rows, *rest.rows]] == [
        f"delivery-{number}" for number in (4, 3, 2, 1, 0)
    ]
    assert (first.has_next, rest.has_next, rest.has_previous) == (True, False, True)


async def test_the_deliveries_of_a_create_are_those_of_its_record_and_of_its_children(
    database: Database, said: Content, protocol: Protocol
) -> None:
    record, stranger = rows.notification(said), rows.notification(said)
    children = [rows.notification(said, parent_notification_id=record.notification_id) for _ in range(2)]
    await store(database, record, stranger, *children)
    made = [
        rows.delivery(
            said,
            protocol,
            notification_id=notification.notification_id,
            created_at=SATURDAY_EVENING + timedelta(seconds=number),
        )
        for number, notification in enumerate([record, *children, stranger])
    ]
    await enqueue(database, *made)

    async with database.read() as session:
        of_record = await deliveries.of_create(session, record.notification_id, limit=10)
        of_child = await deliveries.of_create(session, children[0].notification_id, limit=10)
        first = await deliveries.of_create(session, record.notification_id, limit=1)

    assert [row.delivery_id for row in of_record] == [row.delivery_id for row in made[:3]]
    assert [row.delivery_id for row in of_child] == [made[1].delivery_id]
    assert [row.delivery_id for row in first] == [made[0].delivery_id]


async def test_attempts_are_oldest_first_and_by_their_delivery(
    database: Database, said: Content, protocol: Protocol
) -> None:
    await enqueue(database, rows.delivery(said, protocol), rows.delivery(said, protocol))
    claims = await claim(database)
    for claimed in claims:
        await record(database, claimed.delivery, Verdict(DeliveryState.RETRYING, delay=0), AttemptOutcome.RETRY)
    again = await claim(database)
    await record(database, again[0].delivery, DELIVERED)

    made = await attempts(database, *(claimed.delivery for claimed in claims))

    numbers = {delivery_id: [row.attempt_no for row in of_one] for delivery_id, of_one in made.items()}
    assert numbers == {again[0].delivery.delivery_id: [1, 2], again[1].delivery.delivery_id: [1]}


async def test_claims_read_the_indexes_of_what_waits_whatever_else_there_is(
    database: Database, said: Content, protocol: Protocol
) -> None:
    """Neither what is finished nor what is due much later costs a claim anything."""
    finished = [rows.delivery(said, protocol, state=DeliveryState.DELIVERED) for _ in range(1_500)]
    later = SATURDAY_EVENING + timedelta(days=36_500)
    deferred = [rows.delivery(said, protocol, next_attempt_at=later) for _ in range(500)]
    await enqueue(database, *finished, *deferred)
    plans: list[str] = []

    async def explain(session: AsyncSession) -> None:
        connection = await session.connection()
        await connection.exec_driver_sql("ANALYZE")
        asked: list[tuple[str, Any]] = []
        event.listen(
            connection.sync_connection,
            "before_cursor_execute",
            lambda _c, _cursor, statement, parameters, _x, _many: asked.append((statement, parameters)),
        )
        await queue.claim(session, Room(10), lease=60, now=SATURDAY_EVENING)
        await queue.next_due(session)
        prefix = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        for statement, parameters in [one for one in asked if " delivery" in one[0]]:
            plan = await connection.exec_driver_sql(f"{prefix} {statement}", parameters)
            plans.append(" ".join(str(line) for line in plan))

    await database.write(explain)

    for plan, index in zip(plans, ["delivery_leased", "delivery_due", "delivery_due", "delivery_leased"], strict=True):
        assert index in plan
        assert "TEMP B-TREE" not in plan
    for plan in plans[:2]:  # the time bounds the index: rows that are due later are not even looked at
        assert ("lease_until<?" in plan or "next_attempt_at<?" in plan) if database.is_sqlite else "Index Cond" in plan
