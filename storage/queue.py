"""The queue that workers claim deliveries from, and record what came of them in: each in sets, a statement for many.

Due times and leases are the database's clock, never a process's. No rules: what follows from an outcome is decided
in `dispatch/`, and arrives here as a `Verdict`. Rows are locked in this order: channels, deliveries, usages, contents.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, TextClause, bindparam, insert, tuple_
from sqlmodel import col, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import channels, contents, usages
from storage.deliveries import DUE, LEASED, WITHDRAWN
from storage.engine import among, database_time
from storage.models import (
    OPEN_STATES,
    Attempt,
    AttemptOutcome,
    Channel,
    Content,
    DecisionReason,
    Delivery,
    DeliveryState,
    JsonObject,
    NotificationLevel,
    NotificationType,
    Protocol,
)

FRONT = 2_000  # of what is due, how much a claim looks through before it asks for destinations one by one
STEPS = 1_000  # destinations that one claim steps over at most
VISITS = 32  # destinations that one claim asks one by one

# What was counted when it was first claimed, and has not been delivered: it is counted again if it is sent again.
UNCOUNTED = frozenset({DeliveryState.DEAD, DeliveryState.SKIPPED, DeliveryState.PENDING})

_DELIVERY: Any = Delivery.__table__  # type: ignore[attr-defined]
_ATTEMPT: Any = Attempt.__table__  # type: ignore[attr-defined]
_CONTENT: Any = Content.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Room:
    """What a worker can take now."""

    total: int
    each: int | None = None  # of one destination; None: as many as there are
    left: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  # of those that differ from `each`

    def of(self, destination: str) -> int:
        each = self.total if self.each is None else self.each
        return self.left.get(destination, each)

    @property
    def full(self) -> list[str]:
        return sorted(destination for destination, left in self.left.items() if left <= 0)


class Leased(NamedTuple):
    """The columns of a delivery that its way through a worker takes, as they are while it is leased.

    These rows and those of contents are no entities: to make thousands of them a second would cost more than sending.
    """

    delivery_id: str
    domain_id: str
    notification_id: str
    content_id: int | None
    protocol_id: str
    plugin_id: str
    channel_id: str | None
    part: int
    destination: str
    push_data: bytes | None
    reason: DecisionReason | None
    attempt_no: int
    attempt_count: int
    retries_from: int
    counted_on: str | None
    created_at: datetime


class Said(NamedTuple):
    """The columns of a content that sending it takes."""

    content_id: int
    topic: str
    message: JsonObject
    notification_type: NotificationType
    notification_level: NotificationLevel


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is leased to its claimer, with all that sending it takes."""

    delivery: Leased
    content: Said | None  # None never, while open deliveries keep their content
    protocol: Protocol | None  # None: deleted since
    channel: Channel | None  # None: a push, or deleted since


@dataclass(frozen=True)
class Claims:
    """What a claim brought."""

    claimed: Sequence[Claimed] = ()
    over_quota: Sequence[Leased] = ()  # ended instead: their protocol's quota is used up
    is_all: bool = True  # whether nothing was left that is due, but for destinations that are full
    visited: str = ""  # where the next claim goes on stepping over destinations


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


class _Choice:
    """What is taken of what is due, within the room that there is."""

    def __init__(self, room: Room) -> None:
        self.rows: list[Leased] = []
        self.left_some = False
        self._room = room
        self._taken: Counter[str] = Counter()

    @property
    def wanting(self) -> int:
        return self._room.total - len(self.rows)

    def full(self) -> list[str]:
        filled = [destination for destination, number in self._taken.items() if number >= self._room.of(destination)]
        return sorted({*self._room.full, *filled})

    def take(self, rows: Iterable[Leased]) -> None:
        for row in rows:
            if self.wanting and self._taken[row.destination] < self._room.of(row.destination):
                self._taken[row.destination] += 1
                self.rows.append(row)
            else:
                self.left_some = True


async def claim(
    session: AsyncSession, room: Room, *, lease: float, now: datetime, over_quota: str = "", visited: str = ""
) -> Claims:
    """Lease what is due, for `lease` seconds: first what was leased before and not settled, then the longest due.

    What another worker is claiming at the same moment is passed over, and so are destinations without room. What is
    sent for the first time is counted on the UTC day of `now`; where the protocol's quota is used up, it ends, with
    `over_quota` as its detail.
    """
    choice = _Choice(room)
    choice.take(await _first(session, LEASED, col(Delivery.lease_until), choice))
    visited = await _choose_due(session, choice, visited)
    if not choice.rows:
        return Claims(is_all=not choice.left_some, visited=visited)
    day = usages.day(now)
    within, beyond = await _within_quotas(session, choice.rows, day)
    if beyond:
        await _end(session, beyond, detail=over_quota, now=now)
    claimed = await _load(session, await _lease(session, within, lease=lease, day=day)) if within else []
    is_all = choice.wanting > 0 and not choice.left_some
    return Claims(claimed, beyond, is_all, visited)


async def renew(session: AsyncSession, leases: Collection[tuple[str, int]], *, lease: float) -> None:
    """Let these leases (delivery id, attempt number) last for `lease` seconds from now, where they are still held."""
    mine = tuple_(col(Delivery.delivery_id), col(Delivery.attempt_no)).in_(sorted(leases))
    await _change(session, mine, LEASED, lease_until=database_time(timedelta(seconds=lease)))


async def release(session: AsyncSession, leases: Collection[tuple[str, int]]) -> None:
    """Give these leases back: what they are for is due again at once."""
    await renew(session, leases, lease=0)


async def release_all(session: AsyncSession) -> None:
    """Give every lease back: for the start of the only process that there is."""
    await _change(session, LEASED, lease_until=database_time())


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


async def next_due(session: AsyncSession) -> float | None:
    """Seconds until there may be something to claim; None: nothing is waiting."""
    due = await _soonest(session, DUE, col(Delivery.next_attempt_at))
    leased = await _soonest(session, LEASED, col(Delivery.lease_until))
    times = [moment for moment in (due, leased) if moment is not None]
    return max(0.0, (min(times) - await _time(session)).total_seconds()) if times else None


async def _choose_due(session: AsyncSession, choice: _Choice, visited: str) -> str:
    """Choose of what is due, the longest first; return where stepping over destinations has come to.

    Thousands may be due for destinations that are full. They are not read through again and again: behind the first
    of them, only destinations with room are asked.
    """
    due_at = col(Delivery.next_attempt_at)
    front = await _end_of_front(session) if choice.full() else None
    choice.take(await _first(session, DUE, due_at, choice, *([] if front is None else [due_at <= front])))
    if front is None or not choice.wanting:
        return visited
    destinations = await _destinations_after(session, visited, but=choice.full())
    for destination in destinations[:VISITS]:
        mine = col(Delivery.destination) == destination
        choice.take(await _first(session, DUE, due_at, choice, mine))
    choice.left_some = True
    return destinations[VISITS - 1] if len(destinations) >= VISITS else ""


async def _first(session: AsyncSession, state: TextClause, due: Any, choice: _Choice, *where: Any) -> list[Leased]:
    """The longest due, as many as there is room for, not of destinations that are full."""
    if not choice.wanting:
        return []
    statement = select(*_columns(_DELIVERY, Leased)).where(state, due <= _now(), *where)
    if full := choice.full():
        statement = statement.where(col(Delivery.destination).not_in(full))
    statement = statement.order_by(due).limit(choice.wanting).with_for_update(skip_locked=True)
    return [Leased(*row) for row in await session.exec(statement)]


async def _end_of_front(session: AsyncSession) -> datetime | None:
    due_at = col(Delivery.next_attempt_at)
    statement = select(due_at).where(DUE, due_at <= _now()).order_by(due_at).offset(FRONT).limit(1)
    return (await session.exec(statement)).first()


async def _destinations_after(session: AsyncSession, after: str, *, but: Collection[str]) -> list[str]:
    """The next destinations that something waits for, in their order, found by stepping along an index."""
    destination = col(Delivery.destination)
    first = select(func.min(destination).label("name")).where(DUE, destination > after)
    step = first.cte("step", recursive=True)
    following = select(func.min(destination)).where(DUE, destination > step.c.name).scalar_subquery()
    steps = step.union_all(select(following).where(step.c.name.is_not(None)))
    statement = select(steps.c.name).limit(STEPS)
    return [name for name in await session.exec(statement) if name is not None and name not in but]


async def _within_quotas(session: AsyncSession, rows: Sequence[Leased], day: str) -> tuple[list[Leased], list[Leased]]:
    """What may be sent, and what may not any more. Who was counted before is not counted again."""
    within, beyond = [row for row in rows if row.counted_on is not None], list[Leased]()
    new: dict[tuple[str, str], list[Leased]] = defaultdict(list)
    for row in rows:
        if row.counted_on is None:
            new[row.protocol_id, row.domain_id].append(row)
    for (protocol_id, domain_id), mine in sorted(new.items()):  # in the order of the locks
        granted = await usages.reserve(session, protocol_id, domain_id, day, len(mine))
        within += mine[:granted]
        beyond += mine[granted:]
    return within, beyond


async def _lease(session: AsyncSession, rows: Sequence[Leased], *, lease: float, day: str) -> list[Leased]:
    await _change(
        session,
        _are(session, rows),
        state=DeliveryState.SENDING,
        attempt_no=Delivery.attempt_no + 1,
        counted_on=func.coalesce(col(Delivery.counted_on), day),
        next_attempt_at=None,
        lease_until=database_time(timedelta(seconds=lease)),
    )
    return [row._replace(attempt_no=row.attempt_no + 1, counted_on=row.counted_on or day) for row in rows]


async def _end(session: AsyncSession, rows: Sequence[Leased], *, detail: str, now: datetime) -> None:
    await _change(
        session,
        _are(session, rows),
        state=DeliveryState.SKIPPED,
        reason=DecisionReason.QUOTA,
        detail=detail,
        next_attempt_at=None,
        lease_until=None,
        finished_at=now,
    )
    await contents.drop_unneeded(session, [row.content_id for row in rows])


def _are(session: AsyncSession, rows: Iterable[Leased]) -> ColumnElement[bool]:
    return among(session, col(Delivery.delivery_id), [row.delivery_id for row in rows])


async def _load(session: AsyncSession, rows: Sequence[Leased]) -> list[Claimed]:
    """The deliveries with what sending them takes, each thing read once however many share it."""
    said = await _said(session, {row.content_id for row in rows})
    through = await _by_id(session, Protocol, col(Protocol.protocol_id), {row.protocol_id for row in rows})
    towards = await _by_id(session, Channel, col(Channel.channel_id), {row.channel_id for row in rows})
    return [
        Claimed(row, said.get(row.content_id), through.get(row.protocol_id), towards.get(row.channel_id))
        for row in rows
    ]


async def _said(session: AsyncSession, content_ids: Collection[int | None]) -> dict[int | None, Said]:
    wanted = [content_id for content_id in content_ids if content_id is not None]
    statement = select(*_columns(_CONTENT, Said)).where(among(session, _CONTENT.c.content_id, wanted))
    return {row[0]: Said(*row) for row in await session.exec(statement)}


async def _by_id(session: AsyncSession, model: Any, column: Any, ids: Collection[str | None]) -> dict[Any, Any]:
    found = await session.exec(select(model).where(among(session, column, [one for one in ids if one is not None])))
    return {getattr(row, column.key): row for row in found}


def _columns(table: Any, row: type[NamedTuple]) -> tuple[Any, ...]:
    return tuple(table.c[name] for name in row._fields)


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
    wanted = _are(session, (one.delivery for one in outcomes))
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
        await _change(
            session,
            _are(session, delivered),
            state=DeliveryState.DELIVERED,
            reason=None,
            detail=None,
            attempt_count=Delivery.attempt_count + 1,
            lease_until=None,
            finished_at=now,
        )
    others = [one for one in final if one.verdict.state is not DeliveryState.DELIVERED]
    if others:
        time = await _time(session)
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


async def _soonest(session: AsyncSession, where: TextClause, due: Any) -> datetime | None:
    return (await session.exec(select(due).where(where).order_by(due).limit(1))).first()


async def _change(session: AsyncSession, *where: Any, **values: Any) -> None:
    statement = update(Delivery).where(*where).values(**values)
    await session.exec(statement, execution_options={"synchronize_session": False})


async def _time(session: AsyncSession) -> datetime:
    moment: datetime = (await session.exec(select(database_time()))).one()
    return moment


def _now() -> Any:
    # A subquery: the time is then asked once and bounds the index, rather than checked row by row.
    return select(database_time()).scalar_subquery()
