"""Every hot statement, as it is really executed, is answered from an index, on both engines.

Statements are recorded while the functions of `storage/` are called, and then explained with the parameters that they
had: on SQLite as a server's database is, without statistics, and with them; on PostgreSQL with them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import event, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import (
    changes,
    channels,
    contents,
    deliveries,
    fanouts,
    feeds,
    idempotency,
    inboxes,
    lines,
    notification_lists,
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
)
from storage.engine import Database, Driver
from storage.idempotency import Claim
from storage.kept import Statements
from storage.models import (
    Attempt,
    AttemptOutcome,
    Change,
    ChangeKind,
    Channel,
    Content,
    DecisionReason,
    Delivery,
    DeliveryState,
    Fanout,
    FanoutRecipient,
    IdempotencyKey,
    Inbox,
    InboxKind,
    Notification,
    NotificationLevel,
    NotificationType,
    NotificationUsage,
    Protocol,
    ProtocolType,
    Quota,
    ResourceState,
    Revocation,
)
from storage.notification_lists import CREATED_AT, ID
from storage.paging import Bounds
from storage.pipelines.stages import Count
from storage.queries import search
from storage.queries.operators import Filter, Question
from storage.queue import Outcome, Room, Verdict
from storage.scope import Scope
from storage.selected import Selected
from storage.statistics import Record, Wanted

NOW = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)
LATER = datetime(2126, 1, 31, tzinfo=UTC)
DOMAINS = 10
ROWS = 4_000  # of each of the large tables
USERS = 40  # of a domain
WIDE = "x" * 1_000  # what rows say takes most of a table, as it does where there are many

DOMAIN = Scope("d1")
USER = Scope("d1", user_id="u1")
CREATOR = Scope("d1", created_by="s1")
ORDER = (CREATED_AT, ID)
FIRST = Bounds(limit=20)
NEXT = Bounds(limit=20, after=(NOW + timedelta(seconds=2_001), "notification-2001"))
BACK = Bounds(limit=20, before=(NOW + timedelta(seconds=2_001), "notification-2001"), backwards=True)

# Tables of one row, or of a row for each thing that somebody set up.
SMALL = {"feed_epoch"}

# Partial ones, which hold only what is being sent, waits, or is to be told: claims take them from their beginning.
SMALL_INDEXES = ("delivery_leased", "delivery_due", "channel_alert_due")

Call = Callable[[AsyncSession], Awaitable[Any]]


@dataclass(frozen=True)
class Case:
    call: Call
    sorts: str = ""  # why it may sort what it found
    scans: Mapping[str, str] | None = None  # tables that it may read through, and why


def _list(scope: Scope, bounds: Bounds = FIRST, **wanted: Any) -> Call:
    return lambda session: notification_lists.page(session, scope, notification_lists.Filter(**wanted), ORDER, bounds)


def _deliveries(scope: Scope = DOMAIN, **wanted: Any) -> Call:
    return lambda session: deliveries.page(session, scope, deliveries.Filter(**wanted), FIRST)


def _channels(kind: channels.Kind, scope: Scope = DOMAIN, **wanted: Any) -> Call:
    return lambda session: channels.page(session, kind, scope, channels.Filter(**wanted), FIRST)


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
    await queue.record(session, outcomes, now=NOW, patience=timedelta(days=3))


async def _judge(session: AsyncSession) -> None:
    await channels.judge(session, worked=["channel-1"], failed=["channel-2"], now=NOW, patience=timedelta(days=3))


async def _use(session: AsyncSession) -> None:
    assert await usages.reserve(session, "protocol-1", "d1", "2026-01-31", 5) == 5
    await usages.give_back(session, "protocol-1", "2026-01-31", failed=True)


async def _send_again(session: AsyncSession) -> None:
    wanted = deliveries.Filter(channel_id="channel-1")
    ended = await steering.lock_ended(session, DOMAIN, wanted, since=NOW, limit=10)
    await steering.revive(session, ended)


async def _fan_out(session: AsyncSession) -> None:
    fanout = await fanouts.take(session, now=NOW + timedelta(seconds=ROWS))
    assert fanout is not None
    users = await fanouts.next_users(session, fanout, limit=20)
    assert users
    await fanouts.reached(session, fanout, users)
    await fanouts.finish(session, fanout)


FEW = "a handful that one key found"
FOUND = "the first rows of a list, or what the index of texts led to, both of which are bounded"

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
        lambda session: notification_lists.count(
            session, DOMAIN, notification_lists.Filter(question=Question(keyword="word1234"))
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
    "count of known users": Case(lambda session: inboxes.count_users(session, "d1")),
    "lock of inboxes": Case(lambda session: inboxes.lock(session, [1, 2, 3]), sorts=FEW),
    "which notifications there still are": Case(
        lambda session: changes.existing_of(session, ["notification-1", "notification-9"])
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
    "protocols": Case(
        lambda session: protocols.page(session, "d1", protocols.Filter(), FIRST), sorts="the few of a domain"
    ),
    "a protocol": Case(lambda session: protocols.find(session, "protocol-1", DOMAIN)),
    "quotas": Case(lambda session: quotas.page(session, DOMAIN, quotas.Filter(), FIRST)),
    "usages": Case(lambda session: usages.page(session, DOMAIN, usages.Filter(), FIRST)),
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
    "a channel": Case(lambda session: channels.find(session, channels.Kind.PROJECT, "channel-10", DOMAIN)),
    "a channel, locked": Case(lambda session: channels.lock(session, channels.Kind.PROJECT, "channel-10", DOMAIN)),
    "channels that worked and failed": Case(_judge),
    "name of a protocol": Case(lambda session: protocols.is_name_taken(session, "d1", "name 1", besides="x")),
    "a protocol, locked": Case(lambda session: protocols.lock(session, "protocol-1", DOMAIN)),
    "is a protocol used": Case(lambda session: protocols.is_used(session, "protocol-1")),
    "is a protocol limited": Case(lambda session: quotas.is_limited(session, "protocol-1")),
    "a quota": Case(lambda session: quotas.find(session, "quota-1", DOMAIN)),
    "a quota, locked": Case(lambda session: quotas.lock(session, "quota-1", DOMAIN)),
    "quotas of a protocol": Case(
        lambda session: quotas.page(session, DOMAIN, quotas.Filter(protocol_id="protocol-1"), FIRST), sorts=FEW
    ),
    "usages of a protocol": Case(
        lambda session: usages.page(session, DOMAIN, usages.Filter(protocol_id="protocol-1"), FIRST), sorts=FEW
    ),
    "usage is reserved and given back": Case(_use),
    "a delivery, locked": Case(lambda session: steering.lock(session, "delivery-1", DOMAIN)),
    "deliveries to send again": Case(_send_again, sorts=FEW),
    "beginning of a log": Case(lambda session: retention.prune(session, {2: 1})),
    "a delivery": Case(lambda session: deliveries.find(session, "delivery-1", DOMAIN)),
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


def _tables() -> dict[type[SQLModel], list[dict[str, Any]]]:
    """Rows of ten domains that are all alike; `n` of a row tells its domain, its user, its project and its time."""

    def rows(make: Callable[[int], dict[str, Any]], count: int = ROWS) -> list[dict[str, Any]]:
        return [make(n) for n in range(count)]

    def domain(n: int) -> str:
        return f"d{n % DOMAINS}"

    def owner(n: int) -> int:
        return n // DOMAINS % USERS

    def at(n: int) -> datetime:
        return NOW + timedelta(seconds=n)

    def inbox_id(n: int) -> int:
        return n % DOMAINS * USERS + owner(n) + 1

    users = DOMAINS * USERS
    states = [DeliveryState.DELIVERED] * 18 + [DeliveryState.PENDING, DeliveryState.SENDING]
    return {
        Content: rows(
            lambda n: {
                "content_id": n + 1,
                "domain_id": domain(n),
                "topic": f"t{n % 7}",
                "message": {"title": f"said word{n}", "more": WIDE},
                "notification_type": NotificationType.INFO,
                "notification_level": NotificationLevel.LV1,
            }
        ),
        Inbox: [
            {
                "inbox_id": domain_number * USERS + n + 1,
                "domain_id": domain(domain_number),
                "kind": InboxKind.USER,
                "owner_id": f"u{n}",
                "generation": 1,
                "last_seq": 10,
            }
            for domain_number in range(DOMAINS)
            for n in range(USERS)
        ],
        Notification: rows(
            lambda n: {
                "notification_id": f"notification-{n}",
                "domain_id": domain(n),
                "content_id": n + 1,
                "inbox_id": inbox_id(n) if n % 3 else None,
                "seq": n // users + 1 if n % 3 else None,
                "feed_at": None if n % 3 else n,
                "user_id": f"u{owner(n)}" if n % 3 else None,
                "project_id": f"p{owner(n)}",
                "parent_notification_id": f"notification-{n // 100}" if n % 3 else None,
                "is_read": n % 20 > 0,
                "decisions": [{"more": WIDE}],
                "created_by": f"s{owner(n)}",
                "created_at": at(n),
            }
        ),
        Change: rows(
            lambda n: {
                "inbox_id": n % users + 1,
                "seq": n // users + 1,
                "kind": ChangeKind.READ if n // users % 2 else ChangeKind.ADDED,
                "notification_id": None if n // users % 2 else f"notification-{n}",
                "notification_ids": [f"notification-{n}"] if n // users % 2 else None,
                "unread_count": 1,
                "unseen_count": 1,
                "changed_at": at(n),
            }
        ),
        IdempotencyKey: rows(
            lambda n: {
                "domain_id": domain(n),
                "caller": f"s{owner(n)}",
                "operation": "create",
                "key": f"key-{n}",
                "body_hash": "x",
                "created_at": at(n),
            }
        ),
        Revocation: rows(lambda n: {"domain_id": domain(n), "user_id": f"u{n}", "revoked_at": at(n)}),
        Fanout: rows(
            lambda n: {
                "fanout_id": n + 1,
                "record_id": f"notification-{n}",
                "domain_id": domain(n),
                "content_id": n + 1,
                "created_by": "s",
                "due_at": at(n),
            }
        ),
        FanoutRecipient: rows(lambda n: {"fanout_id": n // 20 + 1, "user_id": f"u{n % 20}"}),
        Protocol: rows(
            lambda n: {
                "protocol_id": f"protocol-{n}",
                "domain_id": f"d{n % 200}",
                "name": f"name {n}",
                "state": ResourceState.ENABLED,
                "protocol_type": ProtocolType.EXTERNAL,
                "plugin_id": "webhook",
                "options": {},
                "tags": {},
                "created_at": at(n),
            }
        ),
        Channel: rows(
            lambda n: {
                "channel_id": f"channel-{n}",
                "domain_id": domain(n),
                "protocol_id": f"protocol-{n % 400}",
                "project_id": f"p{owner(n)}" if n // DOMAINS % 2 else None,
                "user_id": None if n // DOMAINS % 2 else f"u{owner(n)}",
                "name": "Pager",
                "state": ResourceState.ENABLED,
                "alert_due_at": None if n % 100 else at(n),
                "tags": {},
                "created_at": at(n),
            }
        ),
        Quota: rows(
            lambda n: {
                "quota_id": f"quota-{n}",
                "domain_id": domain(n),
                "protocol_id": f"protocol-{n}",
                "day": 1_000_000,
                "created_at": at(n),
            }
        ),
        NotificationUsage: rows(
            lambda n: {
                "protocol_id": f"protocol-{n}",
                "date": "2026-01-31",
                "domain_id": domain(n),
                "count": 1,
                "fail_count": 0,
            }
        ),
        Delivery: rows(
            lambda n: {
                "delivery_id": f"delivery-{n}",
                "domain_id": domain(n),
                "notification_id": f"notification-{n}",
                "content_id": n + 1,
                "protocol_id": f"protocol-{n % 400}",
                "plugin_id": "webhook",
                "channel_id": f"channel-{n % 400}",
                "user_id": f"u{owner(n)}" if n % 3 else None,
                "detail": WIDE,
                "destination": f"destination-{n // 20 % 40}",
                "state": states[n % 20],
                "next_attempt_at": NOW if n % 20 == 18 else None,
                "lease_until": LATER if n % 20 == 19 else None,
                "created_by": f"s{owner(n)}",
                "created_at": at(n),
                "finished_at": at(n) if n % 20 < 18 else None,
            }
        ),
        Attempt: rows(
            lambda n: {
                "delivery_id": f"delivery-{n}",
                "attempt_no": 1,
                "started_at": at(n),
                "duration_ms": 1,
                "outcome": AttemptOutcome.OK,
            }
        ),
    }


@pytest.fixture
async def filled(database: Database) -> Database:
    def fill(connection: Any) -> None:
        for model, rows in _tables().items():
            connection.execute(insert(model), rows)

    await database.run_sync(fill)
    return database


Plan = list[str]


async def _plans(session: AsyncSession, case: Case) -> list[Plan]:
    """How each of the statements that a case executes is answered."""
    connection = await session.connection()
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, is_many: bool) -> None:
        if re.match(r"\s*(SELECT|UPDATE|DELETE|WITH|SET)\b", statement):
            asked.append((statement, parameters[0] if is_many else parameters))

    event.listen(connection.sync_connection, "before_cursor_execute", note)

    async def fetch(driver: Driver, statement: str, values: Any) -> Any:
        note(None, None, statement, tuple(values), None, False)
        return await straight(driver, statement, values)

    straight = Driver.fetch
    savepoint = await connection.begin_nested()
    with patch.object(Driver, "fetch", fetch):
        await case.call(session)
    await savepoint.rollback()
    session.expunge_all()
    event.remove(connection.sync_connection, "before_cursor_execute", note)
    assert asked, "a case that asks nothing shows nothing"
    explaining = await connection.begin_nested()  # what a case sets holds for what it asks then
    if connection.dialect.name == "postgresql":  # a few rows may as well be sorted: it is asked whether they have to be
        await connection.exec_driver_sql(f"SET LOCAL enable_sort = {'on' if case.sorts else 'off'}")
    plans = [await _plan(connection, statement, parameters) for statement, parameters in asked]
    await explaining.rollback()
    return [plan for plan in plans if plan]


async def _plan(connection: AsyncConnection, statement: str, parameters: Any) -> Plan:
    if statement.startswith(("SET ", "SELECT set_config(")):
        await connection.exec_driver_sql(statement)
        return []
    how = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    return [str(row[-1]) for row in await connection.exec_driver_sql(f"{how} {statement}", parameters)]


TABLES = {table.name for table in SQLModel.metadata.tables.values()}
SCAN = re.compile(r"\bSCAN (\w+?)(?:_\d+)?\b(?! VIRTUAL)|Seq Scan on (\w+)|(?:Index|Bitmap Heap) Scan .* on (\w+)")
SORT = re.compile(r"USE TEMP B-TREE FOR .*ORDER BY|^\s*(?:->\s*)?(?:Incremental )?Sort\b")


def _faults(plan: Plan, case: Case) -> list[str]:
    """Lines of a plan that read through a table, or sort."""
    allowed = SMALL | set(case.scans or {})
    found = []
    for number, line in enumerate(plan):
        scanned = SCAN.search(line)
        name = next((name for name in scanned.groups() if name), "") if scanned else ""
        # PostgreSQL may also read an index from one end to the other: there is no condition below such a line.
        is_led = "Index Scan" in line or "Index Only Scan" in line or "Bitmap Heap" in line
        is_small = any(index in line for index in SMALL_INDEXES)
        if name in TABLES - allowed and not is_small and not (is_led and _is_bounded(plan[number + 1 :])):
            found.append(line)
        if SORT.search(line) and not case.sorts:
            found.append(line)
    return found


def _is_bounded(below: Plan) -> bool:
    """Whether the lines below one, up to the next node, say what led through the index."""
    for line in below:
        if "Cond:" in line:
            return True
        if "->" in line:
            return False
    return False


async def test_every_hot_statement_is_answered_from_an_index(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "FIRST_ROWS", 5)
    monkeypatch.setattr(search, "MANY_FOUND", 200)
    faults: dict[str, list[Plan]] = {}

    async def explain(session: AsyncSession) -> None:
        for name, case in CASES.items():
            wrong = [plan for plan in await _plans(session, case) if _faults(plan, case)]
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
        return await _plans(session, CASES["mark all as read"])

    async def gather_statistics(session: AsyncSession) -> None:
        await (await session.connection()).exec_driver_sql("ANALYZE")

    if filled.is_sqlite:
        assert "notification_unread" in str(await filled.write(explain))
    await filled.write(gather_statistics)
    assert "notification_unread" in str(await filled.write(explain))


async def test_a_statement_that_reads_through_a_table_would_be_found(filled: Database) -> None:
    everything = Case(
        lambda session: notification_lists.page(session, Scope(None), notification_lists.Filter(), ORDER, FIRST)
    )

    async def explain(session: AsyncSession) -> list[Plan]:
        return await _plans(session, everything)

    [plan] = await filled.write(explain)
    assert len(_faults(plan, everything)) >= 2  # it reads, and it sorts


AFTER, BEFORE = (
    (NOW + timedelta(seconds=2_001), "notification-2001"),
    (NOW + timedelta(seconds=1_001), "notification-1001"),
)
PAGES = {
    "first": FIRST,
    "next": NEXT,
    "backwards": BACK,
}
BY_TEXT = Selected(frozenset({"topic", "message", "created_at"}), as_text=True)

Kept = Callable[[Database], Awaitable[Any]]


def _kept_list(scope: Scope, bounds: Bounds = FIRST, **wanted: Any) -> Kept:
    wanted_rows = notification_lists.Filter(**wanted)
    return lambda database: notification_lists.page_kept(database, scope, wanted_rows, ORDER, bounds, BY_TEXT)


def _kept_deliveries(scope: Scope, bounds: Bounds = FIRST, **wanted: Any) -> Kept:
    return lambda database: deliveries.page_kept(database, scope, deliveries.Filter(**wanted), bounds)


LISTS: dict[str, tuple[Scope, dict[str, Any], str]] = {
    "a user": (USER, {}, "notification_by_user"),
    "what a user has not read": (USER, {"is_read": False}, "notification_unread"),
    "a user, to an administrator": (DOMAIN, {"user_id": "u1"}, "notification_by_user"),
    "a domain": (DOMAIN, {}, "notification_by_domain"),
    "a project": (DOMAIN, {"project_id": "p1"}, "notification_by_project"),
    "a creator": (CREATOR, {}, "notification_by_creator"),
}

# Those that are read on the thread of the event loop on SQLite, and the index that bounds what is read.
BOUNDED: dict[str, tuple[Kept, str]] = {
    "a notification": (
        lambda database: notifications.find_kept(database, "notification-1", USER, BY_TEXT),
        "sqlite_autoindex_notification_1",
    ),
    "a delivery": (
        lambda database: deliveries.find_kept(database, "delivery-1", DOMAIN),
        "sqlite_autoindex_delivery_1",
    ),
    "an inbox and its counts": (
        lambda database: inboxes.find_kept(database, inboxes.of_user("d1", "u1")),
        "sqlite_autoindex_inbox_1",
    ),
    **{
        f"{page} page of {name}": (_kept_list(scope, bounds, **wanted), index)
        for page, bounds in PAGES.items()
        for name, (scope, wanted, index) in LISTS.items()
    },
    "a user's since": (_kept_list(USER, created_after=NOW), "notification_by_user"),
    "a domain's until": (_kept_list(DOMAIN, created_before=LATER), "notification_by_domain"),
    **{
        f"{page} page of deliveries of {name}": (_kept_deliveries(scope, bounds), index)
        for page, bounds in PAGES.items()
        for name, scope, index in (
            ("a domain", DOMAIN, "delivery_by_domain"),
            ("a user", USER, "delivery_by_user"),
        )
    },
}

# Those that may have to pass over rows, so that a thread reads them on SQLite.
UNBOUNDED: dict[str, Kept] = {
    "what a user has read": _kept_list(USER, is_read=True),
    "a user's of a topic": _kept_list(USER, topics=["a", "b"]),
    "a user's of a project": _kept_list(USER, project_id="p1"),
    "a user who is somebody else": _kept_list(USER, user_id="u2"),
    "a user's between two positions, searched": _kept_list(
        USER, Bounds(limit=20, after=AFTER, before=BEFORE), question=Question(keyword="said")
    ),
    "a search for two letters": _kept_list(USER, question=Question(keyword="ab")),
    "a user's behind a number": _kept_list(USER, Bounds(limit=20, offset=1_000)),
    "a user's between two positions": _kept_list(USER, Bounds(limit=20, after=AFTER, before=BEFORE)),
    "a user's after a position and before a time": _kept_list(USER, NEXT, created_before=LATER),
    "a user's by topic": lambda database: notification_lists.page_kept(
        database, USER, notification_lists.Filter(), (notification_lists.TOPIC, ID), FIRST
    ),
    "deliveries of a channel": _kept_deliveries(DOMAIN, channel_id="channel-1"),
    "deliveries of a creator": _kept_deliveries(CREATOR),
}


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None, Sequence[Any]]]:
    """The kept statements that are asked: text, the index that is said to bound it, parameters."""
    asked: list[tuple[str, str | None, Sequence[Any]]] = []
    of = Statements.of

    def note(self: Statements, kind: Any, given: Any, fixed: Any) -> Any:
        found = of(self, kind, given, fixed)
        asked.append((found.statement.text, found.index, found.statement.parameters(given)))
        return found

    monkeypatch.setattr(Statements, "of", note)
    return asked


async def _kept_plan(session: AsyncSession, text: str, parameters: Sequence[Any]) -> Plan:
    """How it is answered whatever the values are, for it is prepared once."""
    connection = await session.connection()
    if connection.dialect.name == "sqlite":
        found = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", tuple(parameters))
    else:
        await connection.exec_driver_sql("SET LOCAL enable_sort = off")
        found = await connection.exec_driver_sql(f"EXPLAIN (GENERIC_PLAN) {text}", tuple(parameters))
    return [str(row[-1]) for row in found]


async def test_what_is_read_on_the_event_loop_is_bounded_by_the_index_that_is_said_to_do_so(
    filled: Database, kept: list[tuple[str, str | None, Sequence[Any]]]
) -> None:
    faults: dict[str, Any] = {}

    async def explain(session: AsyncSession) -> None:
        for name, (call, index) in BOUNDED.items():
            kept.clear()
            await call(filled)
            assert kept, name
            for text, said, parameters in kept:
                plan = await _kept_plan(session, text, parameters)
                on_sqlite = re.compile(rf"SEARCH (notification|delivery|inbox) USING (COVERING )?INDEX {index} ")
                is_bounded = not filled.is_sqlite or any(on_sqlite.match(line) for line in plan)
                if said != index or not is_bounded or _faults(plan, Case(call=_nothing)):
                    faults[name] = (said, plan)

    async def gather_statistics(session: AsyncSession) -> None:
        await (await session.connection()).exec_driver_sql("ANALYZE")

    async with filled.read() as session:
        await explain(session)
    await filled.write(gather_statistics)
    async with filled.read() as session:
        await explain(session)
    assert faults == {}


@pytest.mark.parametrize("page", PAGES)
async def test_a_search_begins_with_the_first_rows_of_its_list_on_the_event_loop(
    filled: Database, page: str, kept: list[tuple[str, str | None, Sequence[Any]]]
) -> None:
    for name, (scope, wanted, index) in LISTS.items():
        if not wanted.keys() & {"is_read"}:  # which is checked of them
            kept.clear()
            await _kept_list(scope, PAGES[page], question=Question(keyword="said"), **wanted)(filled)
            (text, said, parameters), *others = kept
            async with filled.read() as session:
                plan = await _kept_plan(session, text, parameters)
            assert said == index, name
            assert any(index in line for line in plan) or not filled.is_sqlite, plan
            assert _faults(plan, Case(call=_nothing, sorts=FOUND)) == [], plan
            assert [index for _, index, _ in others] == [None] * len(others)


async def test_the_next_changes_of_many_inboxes_are_read_from_indexes(
    filled: Database, kept: list[tuple[str, str | None, Sequence[Any]]]
) -> None:
    """Both on SQLite's event loop: the changes, and what was said by them."""
    assert (await lines.after(filled, {1: 0, 2: 0}, limit=200)).of(1)

    assert len(kept) == 2
    async with filled.read() as session:
        if not filled.is_sqlite:  # of so few rows it would rather read all
            connection = await session.connection()
            for way in ("seqscan", "hashjoin", "mergejoin"):
                await connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        plans = [await _kept_plan(session, text, parameters) for text, _, parameters in kept]
    assert [_faults(plan, Case(call=_nothing)) for plan in plans] == [[], []], plans
    # From the position on: an inbox may have had thousands of changes before.
    led = r"SEARCH change .*inbox_id=\? AND seq>" if filled.is_sqlite else r"Index Cond: .*inbox_id = .* AND \(seq >"
    assert any(re.search(led, line) for line in plans[0]), plans[0]


async def _nothing(_session: AsyncSession) -> None:
    pass


@pytest.mark.parametrize("name", UNBOUNDED)
async def test_what_may_have_to_pass_over_rows_is_not_read_on_the_event_loop(
    database: Database, name: str, kept: list[tuple[str, str | None, Sequence[Any]]]
) -> None:
    await UNBOUNDED[name](database)

    assert [index for _, index, _ in kept] == [None] * len(kept) != []
