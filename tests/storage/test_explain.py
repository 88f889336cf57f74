"""Every hot statement, as it is really executed, is answered from an index, on both engines.

Statements are recorded while the functions of `storage/` are called, and then explained with the parameters that they
had: on SQLite as a server's database is, without statistics, and with them; on PostgreSQL with them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import (
    channels,
    contents,
    deliveries,
    fanouts,
    feeds,
    idempotency,
    inboxes,
    notification_filters,
    notifications,
    protocols,
    queue,
    quotas,
    retention,
    revocations,
    routing,
    statistics,
    steering,
    usages,
    verdicts,
)
from storage.engine import Database
from storage.idempotency import Claim
from storage.models import DecisionReason, DeliveryState, Inbox, InboxKind
from storage.notification_lists import InScope
from storage.paging import Bounds
from storage.pipelines.stages import Count
from storage.queries import search
from storage.queries.operators import Filter, Question
from storage.queue import Room
from storage.scope import Scope
from storage.statistics import Record, Wanted
from storage.verdicts import Outcome, Verdict
from tests.storage import explaining
from tests.storage.explaining import FEW, FOUND, Call, Case, Plan
from tests.storage.populated import BACK, CREATOR, DOMAIN, FIRST, NEXT, NOW, ROWS, USER


def _list(scope: Scope, bounds: Bounds = FIRST, **wanted: Any) -> Call:
    return lambda session: InScope(scope).page(session, notification_filters.Filter(**wanted), bounds)


def _deliveries(scope: Scope = DOMAIN, **wanted: Any) -> Call:
    return lambda session: deliveries.in_scope(scope).page(session, deliveries.Filter(**wanted), FIRST)


def _channels(kind: channels.Kind, scope: Scope = DOMAIN, **wanted: Any) -> Call:
    return lambda session: channels.in_scope(kind, scope).page(session, channels.Filter(**wanted), FIRST)


def _quotas(**wanted: Any) -> Call:
    return lambda session: quotas.in_scope(DOMAIN).page(session, quotas.Filter(**wanted), FIRST)


def _usages(**wanted: Any) -> Call:
    return lambda session: usages.in_scope(DOMAIN).page(session, usages.Filter(**wanted), FIRST)


async def _protocols(session: AsyncSession) -> None:
    await protocols.in_scope(DOMAIN).page(session, protocols.Filter(), FIRST)


def _key() -> Claim:
    return Claim("d1", "s1", "create", "key-11", body_hash="x", created_at=NOW)


async def _settle(session: AsyncSession) -> None:
    claims = await queue.claim(session, Room(3, each=1), lease=60, now=NOW)
    assert claims.claimed
    leases = [(one.delivery.delivery_id, one.delivery.attempt_no) for one in claims.claimed]
    await queue.renew(session, leases, lease=60)
    first, *others = (one.delivery for one in claims.claimed)
    outcomes = [Outcome(first, Verdict(DeliveryState.DELIVERED), is_of_destination=True)]
    outcomes += [Outcome(other, Verdict(DeliveryState.DEAD), is_of_destination=True) for other in others]
    await verdicts.record(session, outcomes, now=NOW, patience=timedelta(days=3))


async def _judge(session: AsyncSession) -> None:
    await channels.judge(session, worked=["channel-1"], failed=["channel-2"], now=NOW, patience=timedelta(days=3))


async def _use(session: AsyncSession) -> None:
    assert await usages.reserve(session, "protocol-1", "d1", "2026-01-31", 5) == 5
    await usages.give_back(session, "protocol-1", "2026-01-31", failed=True, number=1)


async def _send_again(session: AsyncSession) -> None:
    wanted = deliveries.Filter(channel_id="channel-1")
    ended = await steering.lock_ended(session, DOMAIN, wanted, since=NOW, limit=10)
    await steering.revive(session, ended)


async def _fan_out(session: AsyncSession) -> None:
    fanout = await fanouts.take(session, now=NOW + timedelta(seconds=ROWS))
    assert fanout is not None
    chunk = await fanouts.next_chunk(session, fanout)
    assert chunk.user_ids
    await fanouts.finish(session, fanout)


CASES: dict[str, Case] = {
    "list of a user": Case(_list(USER)),
    "list of a user, next page": Case(_list(USER, NEXT)),
    "list of a user, backwards": Case(_list(USER, BACK)),
    "list of what a user has not read": Case(_list(USER, is_read=False)),
    "list of what a user has not read, by a query": Case(
        _list(USER, question=Question([Filter("is_read", "eq", False)]))
    ),
    "list of a domain": Case(_list(DOMAIN)),
    "list of a domain, next page": Case(_list(DOMAIN, NEXT)),
    "list of a domain since": Case(_list(DOMAIN, created_after=NOW + timedelta(seconds=ROWS - 100))),
    "list of a project": Case(_list(DOMAIN, project_id="p1")),
    "list of a parent": Case(_list(DOMAIN, parent_notification_id="notification-1")),
    "list of a creator": Case(_list(CREATOR)),
    "list of ids": Case(_list(DOMAIN, notification_ids=["notification-1", "notification-11"]), sorts=FEW),
    "a notification": Case(lambda session: notifications.find(session, "notification-1", USER)),
    "notifications by their ids": Case(
        lambda session: notifications.find_all(session, ["notification-1", "notification-9"], USER), sorts=FEW
    ),
    "search of a domain": Case(_list(DOMAIN, question=Question(keyword="word1234")), sorts=FOUND),
    "search of a user": Case(_list(USER, question=Question(keyword="word1241")), sorts=FOUND),
    "search of a creator": Case(_list(CREATOR, question=Question(keyword="word1234 word2345")), sorts=FOUND),
    "contain of a title": Case(
        _list(DOMAIN, question=Question([Filter("message.title", "contain", "word1234")])), sorts=FOUND
    ),
    "search of what is everywhere": Case(_list(DOMAIN, question=Question(keyword="said")), sorts=FOUND),
    "search, next page": Case(_list(DOMAIN, NEXT, question=Question(keyword="word1234")), sorts=FOUND),
    "search, backwards": Case(_list(DOMAIN, BACK, question=Question(keyword="word1234")), sorts=FOUND),
    "search of a project": Case(_list(DOMAIN, project_id="p1", question=Question(keyword="word1234")), sorts=FOUND),
    "search of a user's rows": Case(_list(DOMAIN, user_id="u1", question=Question(keyword="word1234")), sorts=FOUND),
    "search of a create's rows": Case(
        _list(DOMAIN, parent_notification_id="notification-1", question=Question(keyword="word110")), sorts=FOUND
    ),
    "count of a search": Case(
        lambda session: InScope(DOMAIN).count(
            session, notification_filters.Filter(question=Question(keyword="word1234"))
        ),
    ),
    "statistics of a search": Case(
        lambda session: statistics.read(
            session, Record.NOTIFICATION, DOMAIN, Wanted(Question(keyword="word1234"), [Count("rows")])
        )
    ),
    "an inbox and its counts": Case(lambda session: inboxes.find(session, inboxes.of_user("d1", "u1"))),
    "heads of inboxes": Case(
        lambda session: inboxes.heads(session, [inboxes.of_user("d1", "u1"), inboxes.of_project("d1", "p1")])
    ),
    "heads of domains' feeds": Case(lambda session: feeds.heads(session, [inboxes.of_domain("d1")])),
    "a domain's feed": Case(lambda session: feeds.after(session, DOMAIN, feeds.Position(1, 1), limit=20)),
    "where feeds stand": Case(feeds.standing, scans={"sqlite_sequence": "a row for each of a few tables"}),
    "known users": Case(lambda session: inboxes.known_users(session, "d1", limit=100)),
    "lock of inboxes": Case(lambda session: inboxes.lock(session, [1, 2, 3]), sorts=FEW),
    "which notifications there still are": Case(
        lambda session: notifications.existing_of(session, ["notification-1", "notification-9"])
    ),
    "inboxes of notifications": Case(lambda session: notifications.inbox_ids(session, ["notification-1"], DOMAIN)),
    "mark as read": Case(
        lambda session: notifications.set_read(session, ["notification-1"], DOMAIN, is_read=True, now=NOW)
    ),
    "mark all as read": Case(
        lambda session: notifications.set_all_read(
            session,
            Inbox(inbox_id=2, domain_id="d0", kind=InboxKind.USER, owner_id="u1", generation=1),
            up_to=100,
            now=NOW,
        )
    ),
    "count of what is unseen": Case(lambda session: notifications.count_after(session, 2, 5)),
    "delete notifications": Case(lambda session: notifications.remove(session, ["notification-9"], DOMAIN)),
    "delete all of an inbox": Case(lambda session: notifications.remove_all(session, 5, up_to=1)),
    "delete contents": Case(lambda session: contents.drop_unneeded(session, [1, 2, 3])),
    "keep contents": Case(lambda session: contents.hold(session, [1, 2, 3])),
    "channels of a project, to route": Case(lambda session: routing.of_projects(session, "d1", ["p1"]), sorts=FEW),
    "channels of users, to route": Case(lambda session: routing.of_users(session, "d1", ["u1", "u2"]), sorts=FEW),
    "a channel, to route": Case(lambda session: routing.of_channel(session, "channel-1", DOMAIN)),
    "project channels": Case(_channels(channels.Kind.PROJECT)),
    "channels of one project": Case(_channels(channels.Kind.PROJECT, owner_id="p1")),
    "user channels": Case(_channels(channels.Kind.USER)),
    "channels of a user": Case(_channels(channels.Kind.USER, USER)),
    "channels of a protocol": Case(_channels(channels.Kind.PROJECT, protocol_id="protocol-1"), sorts=FEW),
    "channels to alert about": Case(lambda session: channels.to_alert(session, limit=10)),
    "protocols": Case(_protocols, sorts="the few of a domain"),
    "a protocol": Case(lambda session: protocols.find(session, "protocol-1", DOMAIN)),
    "quotas": Case(_quotas()),
    "usages": Case(_usages()),
    "what is left of quotas": Case(
        lambda session: usages.remaining(session, ["protocol-1"], "2026-01-31"), sorts="the days of a month"
    ),
    "claim, renew and record": Case(_settle, sorts="what one claim took, for the order of locks"),
    "when something is due": Case(queue.next_due),
    "leases given back": Case(queue.release_all),
    "deliveries of a domain": Case(_deliveries()),
    "deliveries of a user": Case(_deliveries(USER)),
    "deliveries of a creator": Case(_deliveries(CREATOR)),
    "deliveries of a notification": Case(_deliveries(notification_id="notification-1"), sorts=FEW),
    "deliveries of a channel": Case(_deliveries(channel_id="channel-1")),
    "deliveries of a protocol": Case(_deliveries(protocol_id="protocol-1")),
    "deliveries by state": Case(_deliveries(states=[DeliveryState.DELIVERED, DeliveryState.DEAD])),
    "deliveries by ids": Case(_deliveries(delivery_ids=["delivery-1", "delivery-11"]), sorts=FEW),
    "deliveries since": Case(_deliveries(created_after=NOW + timedelta(seconds=ROWS - 100))),
    "a channel": Case(_channels(channels.Kind.PROJECT, channel_id="channel-10")),
    "a channel, locked": Case(lambda session: channels.lock(session, channels.Kind.PROJECT, "channel-10", DOMAIN)),
    "channels that worked and failed": Case(_judge),
    "name of a protocol": Case(lambda session: protocols.is_name_taken(session, "d1", "name 1", besides="x")),
    "a protocol, locked": Case(lambda session: protocols.lock(session, "protocol-1", DOMAIN)),
    "is a protocol used": Case(lambda session: protocols.is_used(session, "protocol-1")),
    "is a protocol limited": Case(lambda session: quotas.is_limited(session, "protocol-1")),
    "a quota": Case(_quotas(quota_id="quota-1")),
    "a quota, locked": Case(lambda session: quotas.lock(session, "quota-1", DOMAIN)),
    "quotas of a protocol": Case(_quotas(protocol_id="protocol-1"), sorts=FEW),
    "usages of a protocol": Case(_usages(protocol_id="protocol-1"), sorts=FEW),
    "usage is reserved and given back": Case(_use),
    "a delivery, locked": Case(lambda session: steering.lock(session, "delivery-1", DOMAIN)),
    "deliveries to send again": Case(_send_again, sorts=FEW),
    "beginning of a log": Case(lambda session: retention.prune(session, {2: 1})),
    "deliveries of a create": Case(
        lambda session: deliveries.of_create(session, "notification-1", limit=100), sorts=FEW
    ),
    "attempts": Case(lambda session: deliveries.attempts(session, ["delivery-1", "delivery-2"])),
    "deliveries of a channel that is deleted": Case(
        lambda session: deliveries.skip_open(
            session, channel_id="channel-1", reason=DecisionReason.CHANNEL_DELETED, now=NOW
        ),
        sorts=FEW,
    ),
    "an idempotency key": Case(lambda session: idempotency.find(session, _key())),
    "an idempotency key is claimed": Case(lambda session: idempotency.claim(session, [_key()])),
    "idempotency keys are swept": Case(lambda session: idempotency.sweep(session, before=NOW)),
    "next chunk of a fan-out": Case(_fan_out),
    "revoked tokens": Case(lambda session: revocations.since(session, NOW + timedelta(seconds=ROWS - 10))),
    "old changes": Case(lambda session: retention.aged(session, before=NOW + timedelta(seconds=5), limit=10)),
    "long logs": Case(
        lambda session: retention.overlong(session, keep=1_000, limit=10),
        scans={"inbox": "each inbox has its own surplus; a sweep, not a request"},
    ),
    "old notifications": Case(
        lambda session: retention.past(session, before=NOW + timedelta(seconds=5), limit=10),
        scans={"notification": "the least of a domain's ids: SQLite calls a look at an index's end a scan"},
    ),
    "deliveries that ended long ago": Case(
        lambda session: retention.forget_deliveries(session, before=NOW + timedelta(seconds=5), limit=10)
    ),
}


async def test_every_hot_statement_is_answered_from_an_index(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "FIRST_ROWS", 5)
    monkeypatch.setattr(search, "MANY_FOUND", 200)
    faults: dict[str, list[Plan]] = {}

    async def explain(session: AsyncSession) -> None:
        for name, case in CASES.items():
            wrong = [plan for plan in await explaining.plans(session, case) if explaining.faults(plan, case)]
            if wrong:
                faults[name] = wrong

    async def gather_statistics(session: AsyncSession) -> None:
        await (await session.connection()).exec_driver_sql("ANALYZE")

    if filled.is_sqlite:
        await filled.write(explain)
    await filled.write(gather_statistics)
    await filled.write(explain)
    assert faults == {}


async def test_marking_all_as_read_looks_at_what_is_unread_alone(filled: Database) -> None:
    async def explain(session: AsyncSession) -> list[Plan]:
        return await explaining.plans(session, CASES["mark all as read"])

    async def gather_statistics(session: AsyncSession) -> None:
        await (await session.connection()).exec_driver_sql("ANALYZE")

    if filled.is_sqlite:
        assert "notification_unread" in str(await filled.write(explain))
    await filled.write(gather_statistics)
    assert "notification_unread" in str(await filled.write(explain))


async def test_a_statement_that_reads_through_a_table_would_be_found(filled: Database) -> None:
    everything = Case(lambda session: InScope(Scope(None)).page(session, notification_filters.Filter(), FIRST))

    async def explain(session: AsyncSession) -> list[Plan]:
        return await explaining.plans(session, everything)

    [plan] = await filled.write(explain)
    assert len(explaining.faults(plan, everything)) >= 2  # it reads, and it sorts
