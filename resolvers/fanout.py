"""Reaching users: a row in each inbox, its change, and the deliveries of each user's own channels.

A create reaches its first recipients in its own transaction. A larger crowd follows in chunks, each a transaction,
driven by rows: after a crash the next chunk goes on where the last commit was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from dispatch import planner
from dispatch.planner import DispatchDecision
from resolvers.context import Server
from storage import changes, deliveries, fanouts, feeds, ids, inboxes, routing, usages
from storage.inboxes import Owner
from storage.models import (
    OPEN_STATES,
    ChangeKind,
    Content,
    Decision,
    Delivery,
    DeliveryState,
    Fanout,
    Inbox,
    InboxKind,
    Notification,
    ProtocolType,
)
from storage.routing import Route

Plan = Sequence[tuple[Route, DispatchDecision]]

CHUNK = 100  # recipients of one transaction: more would hold SQLite's only writer for too long


@dataclass(frozen=True)
class Saying:
    """What every row of one create shares."""

    content: Content
    project_id: str | None
    record_id: str | None  # the record whose children the users' rows are; None when one user is addressed
    created_by: str
    now: datetime


@dataclass(frozen=True)
class Reached:
    """What one transaction has added."""

    notifications: Sequence[Notification] = ()
    heads: Mapping[Owner, int] = field(default_factory=dict)
    deliveries: Sequence[Delivery] = ()


async def reach(
    session: AsyncSession,
    saying: Saying,
    user_ids: Sequence[str],
    *,
    project_id: str | None = None,
    beside: Plan = (),
) -> Reached:
    """Put one notification into each user's inbox, with the deliveries of the user's own channels.

    With a project, its record goes into its feed by the same statement, for the locks' order; it comes first. What
    was planned for its channels is given as `beside`.
    """
    domain_id = saying.content.domain_id
    owners = [inboxes.of_user(domain_id, user_id) for user_id in user_ids]
    if project_id is not None:
        owners.append(inboxes.of_project(domain_id, project_id))
    plans = await plan_users(session, saying.content, user_ids, saying.now, beside=beside)
    locked = await inboxes.add_one_to_each(session, owners)
    rows = [_notification(saying, locked[owner]) for owner in sorted(owners)]
    planned = [
        delivery for row in rows if row.user_id is not None for delivery in deliver(row, plans.get(row.user_id, ()))
    ]
    session.add_all(rows)
    for row in rows:
        assert row.inbox is not None
        changes.append(session, row.inbox, ChangeKind.ADDED, now=saying.now, notification_id=row.notification_id)
    await session.flush()
    await deliveries.enqueue(session, planned)
    return Reached(rows, {owner: inbox.last_seq for owner, inbox in locked.items()}, planned)


async def plan(
    session: AsyncSession, content: Content, routes: Sequence[Route], now: datetime, *, beside: Plan = ()
) -> Plan:
    """What becomes of each of these channels, where `beside` was planned for the same create before."""
    outside = {protocol.protocol_id for _, protocol in routes if protocol.protocol_type is ProtocolType.EXTERNAL}
    remaining = await usages.remaining(session, outside, usages.day(now))
    decisions = planner.plan(
        topic=content.topic,
        level=content.notification_level,
        channels=routes,
        now=now,
        remaining=planner.left(remaining, beside),
    )
    return list(zip(routes, decisions, strict=True))


async def plan_users(
    session: AsyncSession, content: Content, user_ids: Sequence[str], now: datetime, *, beside: Plan = ()
) -> Mapping[str, Plan]:
    """What becomes of each of these users' own channels, by user; users without one are not in it."""
    routes = await routing.of_users(session, content.domain_id, user_ids)
    theirs = [route for user_id in user_ids for route in routes.get(user_id, ())]
    plans: dict[str, list[tuple[Route, DispatchDecision]]] = {}
    for route, decision in await plan(session, content, theirs, now, beside=beside):
        plans.setdefault(route[0].user_id or "", []).append((route, decision))
    return plans


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


def deliver(notification: Notification, plan: Plan) -> list[Delivery]:
    """Keep what was decided on the notification, and return the deliveries to enqueue."""
    notification.decisions = [decision.to_json() for _, decision in plan]
    return [
        _delivery(notification, route, decision, decision.delivery_state, part)
        for route, decision in plan
        if route[1].protocol_type is ProtocolType.EXTERNAL and decision.delivery_state is not None
        for part in range(route[0].part_count)
    ]


async def reach_next_chunk(server: Server) -> bool:
    """Reach the next recipients of some fan-out in progress; False when there is none."""
    now = server.clock()

    async def work(session: AsyncSession) -> Reached | None:
        fanout = await fanouts.take(session, now=now)
        return None if fanout is None else await _continue(session, fanout, now)

    reached = await server.database.write(work)
    if reached is None:
        return False
    await announce(server, reached)
    return True


async def announce(server: Server, reached: Reached) -> None:
    """After commit: tell the streams and wake the worker."""
    await server.hub.publish({**reached.heads, **_feeds(reached.notifications)})
    await announce_deliveries(server, reached.deliveries)


async def announce_deliveries(server: Server, changed: Sequence[Delivery]) -> None:
    """The same, where nothing but deliveries has changed."""
    await server.hub.publish_deliveries(changed)
    if changed:
        server.wake_worker()


async def _continue(session: AsyncSession, fanout: Fanout, now: datetime) -> Reached:
    user_ids = await fanouts.next_users(session, fanout, limit=CHUNK)
    saying = Saying(
        content=fanout.content,
        project_id=fanout.project_id,
        record_id=fanout.record_id,
        created_by=fanout.created_by,
        now=now,
    )
    reached = await reach(session, saying, user_ids)
    await fanouts.reached(session, fanout, user_ids)
    if len(user_ids) < CHUNK:
        await fanouts.finish(session, fanout)
    return reached


def _feeds(rows: Sequence[Notification]) -> dict[Owner, int]:
    """The feeds of the domains that these rows' records are in: how far they have come, the stream sees for itself."""
    return {inboxes.of_domain(row.domain_id): feeds.LAST for row in rows if row.user_id is None}


def _notification(saying: Saying, inbox: Inbox) -> Notification:
    is_record = inbox.kind is InboxKind.PROJECT
    return Notification(
        notification_id=saying.record_id if is_record and saying.record_id else ids.new(ids.NOTIFICATION),
        domain_id=inbox.domain_id,
        content=saying.content,
        inbox=inbox,
        seq=inbox.last_seq,
        feed_at=feeds.number() if is_record else None,
        user_id=None if is_record else inbox.owner_id,
        project_id=saying.project_id,
        parent_notification_id=None if is_record else saying.record_id,
        created_by=saying.created_by,
        created_at=saying.now,
    )


def _delivery(
    notification: Notification, route: Route, decision: DispatchDecision, state: DeliveryState, part: int
) -> Delivery:
    channel, protocol = route
    now, is_open = notification.created_at, state in OPEN_STATES
    return Delivery(
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
