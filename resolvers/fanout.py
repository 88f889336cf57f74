"""Reaching users: a row in each inbox, its change, and the deliveries of each user's own channels.

Many creates reach theirs in one transaction, with one statement for each kind of row. A create reaches its first
recipients in its own transaction. A larger crowd follows in chunks, each a transaction, driven by rows: after a crash
the next chunk goes on where the last commit was.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, cast

from sqlmodel.ext.asyncio.session import AsyncSession

from dispatch import planner
from dispatch.planner import DispatchDecision
from resolvers import announcements
from resolvers.announcements import Reached
from resolvers.context import Server
from storage import changes, creations, deliveries, fanouts, ids, inboxes, routing, statements, usages
from storage.changes import Addition
from storage.contents import AnyContent
from storage.creations import NewNotification, Place
from storage.deliveries import NewDelivery
from storage.fanouts import Due
from storage.inboxes import Owner
from storage.models import (
    OPEN_STATES,
    Decision,
    DeliveryState,
    InboxKind,
    ProtocolType,
)
from storage.routing import Route

Plan = Sequence[tuple[Route, DispatchDecision]]

AT_ONCE = 100  # recipients of one create's own transaction, for which its answer waits


@dataclass(frozen=True)
class Saying:
    """One content on its way into inboxes, and what the rows that it becomes share."""

    content: AnyContent
    created_by: str
    now: datetime
    user_ids: Sequence[str] = ()
    project_id: str | None = None
    record_id: str | None = None  # the record whose children the users' rows are; None when one user is addressed
    record_plan: Plan | None = None  # of the channels of a record that is made with them; None: none is made now


class Choice(NamedTuple):
    """A content before the channels that it may go through; some were planned for the same create before."""

    content: AnyContent
    now: datetime
    routes: Sequence[Route]
    beside: Plan = ()


class Audience(NamedTuple):
    """A content before the own channels of users."""

    content: AnyContent
    now: datetime
    user_ids: Sequence[str]
    beside: Plan = ()


async def reach(session: AsyncSession, sayings: Sequence[Saying], *, known: Collection[Owner] = ()) -> list[Reached]:
    """Put one notification of each saying into each of its users' inboxes, with the deliveries of their own channels.

    A new record of a project goes into the project's feed by the same statements, for the locks' order. Inboxes of
    those `known` are made where they are missing.
    """
    plans = await plan_users(session, [_audience(saying) for saying in sayings])
    numbers = Counter(owner for saying in sayings for owner in _owners(saying))
    if known:
        numbers.update(dict.fromkeys(await inboxes.missing(session, known), 0))
    counted = await inboxes.add(session, numbers)
    places = {owner: creations.last_places(inbox, numbers[owner]) for owner, inbox in counted.items()}
    reached = [_reached(saying, plan, places) for saying, plan in zip(sayings, plans, strict=True)]
    rows = [row for each in reached for row in each.notifications]
    await statements.run_all(
        session,
        creations.inserting(rows),
        changes.adding([*_additions(rows)]),
        deliveries.enqueuing([delivery for each in reached for delivery in each.deliveries]),
    )
    return reached


def together(reached: Sequence[Reached]) -> Reached:
    """What a whole transaction has added."""
    return Reached(
        [row for each in reached for row in each.notifications],
        [delivery for each in reached for delivery in each.deliveries],
    )


async def plan(session: AsyncSession, choices: Sequence[Choice]) -> list[Plan]:
    """What becomes of each choice's channels."""
    outside: dict[str, set[str]] = defaultdict(set)
    for choice in choices:
        outside[usages.day(choice.now)].update(
            protocol.protocol_id for _, protocol in choice.routes if protocol.protocol_type is ProtocolType.EXTERNAL
        )
    remaining = {day: await usages.remaining(session, protocols, day) for day, protocols in outside.items()}
    return [_plan(choice, remaining[usages.day(choice.now)]) for choice in choices]


async def plan_users(session: AsyncSession, audiences: Sequence[Audience]) -> list[dict[str, Plan]]:
    """What becomes of each user's own channels, for each audience by user; users without one are not in it."""
    users: dict[str, set[str]] = defaultdict(set)
    for audience in audiences:
        users[audience.content.domain_id].update(audience.user_ids)
    routes = {domain_id: await routing.of_users(session, domain_id, sorted(users[domain_id])) for domain_id in users}
    plans = await plan(session, [_choice(audience, routes[audience.content.domain_id]) for audience in audiences])
    return [_by_user(plan) for plan in plans]


def users_behind(plan: Plan) -> list[str]:
    """The users to whom the INTERNAL channels of a plan lead, in order."""
    named = [
        (channel.data or {}).get("users", [])
        for (channel, protocol), decision in plan
        if protocol.protocol_type is ProtocolType.INTERNAL and decision.decision is Decision.SEND
    ]
    return sorted({user_id for users in named for user_id in users})


def users_behind_later(plan: Plan) -> dict[datetime, list[str]]:
    """Whom the INTERNAL channels that defer lead to, by when the first of them opens; not those reached at once."""
    reached = set(users_behind(plan))
    later: dict[datetime, list[str]] = {}
    deferred = [
        (decision.defer_until, channel)
        for (channel, protocol), decision in plan
        if protocol.protocol_type is ProtocolType.INTERNAL and decision.defer_until is not None
    ]
    for opens_at, channel in sorted(deferred, key=lambda each: each[0]):
        users = set((channel.data or {}).get("users", [])) - reached
        reached |= users
        later.setdefault(opens_at, []).extend(sorted(users))
    return {opens_at: users for opens_at, users in later.items() if users}


async def reach_next_chunk(server: Server) -> bool:
    """Reach the next recipients of some fan-out in progress; False when there is none."""
    now = server.clock()

    async def work(session: AsyncSession) -> Reached | None:
        fanout = await fanouts.take(session, now=now)
        return None if fanout is None else await _continue(session, fanout, now)

    reached = await server.database.write(work)
    if reached is None:
        return False
    await announcements.announce(server, reached)
    return True


async def _continue(session: AsyncSession, fanout: Due, now: datetime) -> Reached:
    chunk = await fanouts.next_chunk(session, fanout)
    saying = Saying(
        content=fanout.content,
        created_by=fanout.created_by,
        now=now,
        user_ids=chunk.user_ids,
        project_id=fanout.project_id,
        record_id=fanout.record_id,
    )
    [reached] = await reach(session, [saying])
    if chunk.is_last:
        await fanouts.finish(session, fanout)
    return reached


def _audience(saying: Saying) -> Audience:
    return Audience(saying.content, saying.now, saying.user_ids, saying.record_plan or ())


def _choice(audience: Audience, routes: Mapping[str, Sequence[Route]]) -> Choice:
    theirs = [route for user_id in audience.user_ids for route in routes.get(user_id, ())]
    return Choice(audience.content, audience.now, theirs, audience.beside)


def _plan(choice: Choice, remaining: Mapping[str, int]) -> Plan:
    decisions = planner.plan(
        topic=choice.content.topic,
        level=choice.content.notification_level,
        channels=choice.routes,
        now=choice.now,
        remaining=planner.left(remaining, choice.beside),
    )
    return list(zip(choice.routes, decisions, strict=True))


def _by_user(plan: Plan) -> dict[str, Plan]:
    plans: dict[str, list[tuple[Route, DispatchDecision]]] = {}
    for route, decision in plan:
        plans.setdefault(route[0].user_id or "", []).append((route, decision))
    return cast(dict[str, Plan], plans)


def _owners(saying: Saying) -> list[Owner]:
    """Whose inboxes, or which project's feed, it goes into, in lock order."""
    domain_id = saying.content.domain_id
    users = [inboxes.of_user(domain_id, user_id) for user_id in sorted(saying.user_ids)]
    if saying.project_id is None or saying.record_plan is None:
        return users
    return [inboxes.of_project(domain_id, saying.project_id), *users]


def _reached(saying: Saying, plans: Mapping[str, Plan], places: Mapping[Owner, Iterator[Place]]) -> Reached:
    rows, made = [], []
    if saying.project_id is None and saying.record_plan is not None:
        rows.append(_notification(saying, None, None, saying.record_plan))
        made += _deliveries(rows[-1], saying.record_plan)
    for owner in _owners(saying):
        place = next(places[owner])
        plan = plans.get(owner.owner_id, ()) if owner.kind is InboxKind.USER else saying.record_plan or ()
        rows.append(_notification(saying, owner, place, plan))
        made += _deliveries(rows[-1], plan)
    return Reached(rows, made)


def _notification(saying: Saying, owner: Owner | None, place: Place | None, plan: Plan) -> NewNotification:
    user_id = owner.owner_id if owner is not None and owner.kind is InboxKind.USER else None
    return NewNotification(
        notification_id=saying.record_id if user_id is None and saying.record_id else ids.new(ids.NOTIFICATION),
        domain_id=saying.content.domain_id,
        content=saying.content,
        created_by=saying.created_by,
        created_at=saying.now,
        inbox=place,
        user_id=user_id,
        project_id=saying.project_id,
        parent_notification_id=None if user_id is None else saying.record_id,
        decisions=[decision.to_json() for _, decision in plan],
    )


def _additions(rows: Sequence[NewNotification]) -> Iterator[Addition]:
    for row in rows:
        if row.inbox is not None:
            inbox_id, _, seq, unread, unseen = row.inbox
            yield Addition(inbox_id, seq, row.notification_id, unread, unseen, row.created_at)


def _deliveries(notification: NewNotification, plan: Plan) -> list[NewDelivery]:
    return [
        _delivery(notification, route, decision, decision.delivery_state, part)
        for route, decision in plan
        if route[1].protocol_type is ProtocolType.EXTERNAL and decision.delivery_state is not None
        for part in range(route[0].part_count)
    ]


def _delivery(
    notification: NewNotification, route: Route, decision: DispatchDecision, state: DeliveryState, part: int
) -> NewDelivery:
    channel, protocol = route
    now, is_open = notification.created_at, state in OPEN_STATES
    return NewDelivery(
        delivery_id=ids.new(ids.DELIVERY),
        domain_id=notification.domain_id,
        notification_id=notification.notification_id,
        content_id=notification.content.content_id,
        protocol_id=protocol.protocol_id,
        plugin_id=protocol.plugin_id or "",
        channel_id=channel.channel_id,
        user_id=channel.user_id,
        part=part,
        destination=channel.destination or "",
        state=state,
        reason=decision.reason,
        detail=decision.detail,
        next_attempt_at=decision.defer_until or now if is_open else None,
        created_by=notification.created_by,
        created_at=now,
        finished_at=None if is_open else now,
    )
