"""The queue that workers claim deliveries from, in sets. What came of them is for `storage.verdicts`.

Due times and leases are the database's clock, never a process's. Rows are locked in this order: channels, deliveries,
usages, contents.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, TextClause, tuple_
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import contents, deliveries, usages
from storage.deliveries import DUE, LEASED
from storage.dialects import among, database_time
from storage.models import (
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

_DELIVERY: Any = Delivery.__table__  # type: ignore[attr-defined]
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
    await deliveries.change(session, mine, LEASED, lease_until=database_time(timedelta(seconds=lease)))


async def release(session: AsyncSession, leases: Collection[tuple[str, int]]) -> None:
    """Give these leases back: what they are for is due again at once."""
    await renew(session, leases, lease=0)


async def release_all(session: AsyncSession) -> None:
    """Give every lease back: for the start of the only process that there is."""
    await deliveries.change(session, LEASED, lease_until=database_time())


async def next_due(session: AsyncSession) -> float | None:
    """Seconds until there may be something to claim; None: nothing is waiting."""
    due = await _soonest(session, DUE, col(Delivery.next_attempt_at))
    leased = await _soonest(session, LEASED, col(Delivery.lease_until))
    times = [moment for moment in (due, leased) if moment is not None]
    return max(0.0, (min(times) - await database_now(session)).total_seconds()) if times else None


async def database_now(session: AsyncSession) -> datetime:
    moment: datetime = (await session.exec(select(database_time()))).one()
    return moment


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
    await deliveries.change(
        session,
        are(session, rows),
        state=DeliveryState.SENDING,
        attempt_no=Delivery.attempt_no + 1,
        counted_on=func.coalesce(col(Delivery.counted_on), day),
        next_attempt_at=None,
        lease_until=database_time(timedelta(seconds=lease)),
    )
    return [row._replace(attempt_no=row.attempt_no + 1, counted_on=row.counted_on or day) for row in rows]


async def _end(session: AsyncSession, rows: Sequence[Leased], *, detail: str, now: datetime) -> None:
    await deliveries.change(
        session,
        are(session, rows),
        state=DeliveryState.SKIPPED,
        reason=DecisionReason.QUOTA,
        detail=detail,
        next_attempt_at=None,
        lease_until=None,
        finished_at=now,
    )
    await contents.drop_unneeded(session, [row.content_id for row in rows])


def are(session: AsyncSession, rows: Iterable[Leased]) -> ColumnElement[bool]:
    """That a delivery is one of these."""
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


async def _soonest(session: AsyncSession, where: TextClause, due: Any) -> datetime | None:
    return (await session.exec(select(due).where(where).order_by(due).limit(1))).first()


def _now() -> Any:
    # A subquery: the time is then asked once and bounds the index, rather than checked row by row.
    return select(database_time()).scalar_subquery()
