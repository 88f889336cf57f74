"""What came of claimed deliveries, recorded in sets, a statement for many.

No rules: what follows from an outcome is decided in `dispatch/`, and arrives here as a `Verdict`. Rows are locked in
this order: channels, deliveries, usages, contents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, insert
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import channels, contents, deliveries, queue, usages
from storage.deliveries import LEASED, WITHDRAWN
from storage.models import OPEN_STATES, Attempt, AttemptOutcome, Channel, DecisionReason, Delivery, DeliveryState
from storage.queue import Leased

# What was counted when it was first claimed, and has not been delivered: it is counted again if it is sent again.
UNCOUNTED = frozenset({DeliveryState.DEAD, DeliveryState.SKIPPED, DeliveryState.PENDING})

_DELIVERY: Any = Delivery.__table__  # type: ignore[attr-defined]
_ATTEMPT: Any = Attempt.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Verdict:
    """Where a delivery goes from SENDING."""

    state: DeliveryState
    reason: DecisionReason | None = None
    detail: str | None = None
    delay: float | None = None  # RETRYING: seconds until it is due again
    due_at: datetime | None = None  # PENDING: when


class Tried(NamedTuple):
    """One call of a plugin, as it is kept in `Attempt`."""

    started_at: datetime
    duration_ms: int
    outcome: AttemptOutcome
    status_code: int | None = None
    error: str | None = None
    response_excerpt: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a claimed delivery."""

    delivery: Leased
    verdict: Verdict
    attempt: Tried | None = None  # None: it was not sent
    is_of_destination: bool = False  # whether the attempt says something about its channel's address


@dataclass(frozen=True)
class Recorded:
    outcomes: Sequence[Outcome] = ()  # as they were written; those whose lease was lost are not among them
    disabled: Sequence[Channel] = ()  # for having failed too long


async def record(session: AsyncSession, outcomes: Sequence[Outcome], *, now: datetime, patience: timedelta) -> Recorded:
    """Move claimed deliveries on, with the attempts that led there; nothing of those whose lease was lost.

    A channel that has only failed for as long as `patience` is disabled.
    """
    disabled = await _judge_channels(session, outcomes, now=now, patience=patience)
    final = await _final(session, outcomes)
    await _keep_attempts(session, final)
    await _move(session, final, now=now)
    await _give_back(session, [one for one in final if one.verdict.state in UNCOUNTED])
    ended = [outcome.delivery.content_id for outcome in final if outcome.verdict.state not in OPEN_STATES]
    await contents.drop_unneeded(session, ended)
    return Recorded(final, disabled)


async def _judge_channels(
    session: AsyncSession, outcomes: Sequence[Outcome], *, now: datetime, patience: timedelta
) -> Sequence[Channel]:
    worked, failed = set[str](), set[str]()
    for one in outcomes:
        if one.is_of_destination and one.delivery.channel_id is not None:
            (worked if one.verdict.state is DeliveryState.DELIVERED else failed).add(one.delivery.channel_id)
    failed -= worked
    return await channels.judge(session, worked=worked, failed=failed, now=now, patience=patience)


async def _final(session: AsyncSession, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes whose leases are still held, locked; what was withdrawn meanwhile is not tried again."""
    delivery_id = col(Delivery.delivery_id)
    wanted = queue.are(session, (one.delivery for one in outcomes))
    statement = select(Delivery.delivery_id, Delivery.attempt_no, col(Delivery.reason)).where(wanted, LEASED)
    locked = await session.exec(statement.order_by(delivery_id).with_for_update())
    held = {(row[0], row[1]): row[2] for row in locked}
    final = []
    for one in outcomes:
        lease = one.delivery.delivery_id, one.delivery.attempt_no
        if lease in held:
            final.append(_unless_withdrawn(one, held[lease]))
    return final


def _unless_withdrawn(outcome: Outcome, reason: DecisionReason | None) -> Outcome:
    if reason not in WITHDRAWN or outcome.verdict.state in (DeliveryState.DELIVERED, DeliveryState.DEAD):
        return outcome
    verdict = Verdict(DeliveryState.SKIPPED, reason)
    return Outcome(outcome.delivery, verdict, outcome.attempt, outcome.is_of_destination)


async def _keep_attempts(session: AsyncSession, final: Sequence[Outcome]) -> None:
    made = [
        {
            "delivery_id": outcome.delivery.delivery_id,
            "attempt_no": outcome.delivery.attempt_no,
            **outcome.attempt._asdict(),
        }
        for outcome in final
        if outcome.attempt is not None
    ]
    if made:
        await (await session.connection()).execute(insert(_ATTEMPT), made)


async def _move(session: AsyncSession, final: Sequence[Outcome], *, now: datetime) -> None:
    delivered = [one.delivery for one in final if one.verdict.state is DeliveryState.DELIVERED]
    if delivered:  # nearly all there are, and all the same: one statement
        await deliveries.change(
            session,
            queue.are(session, delivered),
            state=DeliveryState.DELIVERED,
            reason=None,
            detail=None,
            attempt_count=Delivery.attempt_count + 1,
            lease_until=None,
            finished_at=now,
        )
    others = [one for one in final if one.verdict.state is not DeliveryState.DELIVERED]
    if others:
        time = await queue.database_now(session)
        await (await session.connection()).execute(_MOVE, [_values(one, time, now) for one in others])


_MOVE = (
    update(_DELIVERY)
    .where(_DELIVERY.c.delivery_id == bindparam("moved_id"))
    .values(
        state=bindparam("to_state"),
        reason=bindparam("to_reason"),
        detail=bindparam("to_detail"),
        attempt_count=_DELIVERY.c.attempt_count + bindparam("attempts"),
        next_attempt_at=bindparam("due_at"),
        counted_on=bindparam("still_counted_on"),
        lease_until=None,
        finished_at=bindparam("ended_at"),
    )
)


def _values(outcome: Outcome, time: datetime, now: datetime) -> dict[str, Any]:
    verdict = outcome.verdict
    return {
        "moved_id": outcome.delivery.delivery_id,
        "to_state": verdict.state,
        "to_reason": verdict.reason,
        "to_detail": verdict.detail,
        "attempts": int(outcome.attempt is not None),
        "due_at": verdict.due_at if verdict.delay is None else time + timedelta(seconds=verdict.delay),
        "still_counted_on": None if verdict.state in UNCOUNTED else outcome.delivery.counted_on,
        "ended_at": None if verdict.state in OPEN_STATES else now,
    }


async def _give_back(session: AsyncSession, outcomes: Sequence[Outcome]) -> None:
    """Take what was not delivered after all out of the days that it was counted on."""
    counted = Counter(
        (one.delivery.protocol_id, one.delivery.counted_on, one.verdict.state is DeliveryState.DEAD)
        for one in outcomes
        if one.delivery.counted_on is not None
    )
    for (protocol_id, day, failed), number in sorted(counted.items()):
        await usages.give_back(session, protocol_id, day, failed=failed, number=number)
