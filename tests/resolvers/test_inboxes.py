"""Inboxes: exact counts through every change, one line in the log for each, and nobody else's rows."""

from __future__ import annotations

import asyncio
import random

import pytest
from sqlmodel import col, func, select

from resolvers import inboxes, notifications, pushes
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import CursorExpired, InvalidArgument, NotFound, PermissionDenied
from resolvers.inboxes import InboxState
from resolvers.paging import Window
from resolvers.pushes import Push
from storage import inboxes as inbox_rows
from storage.models import Change, ChangeKind, Content, Inbox, Notification
from storage.notification_filters import Filter
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, BOB, SERVICE, SYSTEM
from tests.resolvers.said import inside, log_protocol, say, say_to_project


async def _state(server: Server, caller: Caller = ALICE) -> InboxState:
    state = await inboxes.mine(server, caller)
    assert state is not None
    return state


async def _log(server: Server, user_id: str = "alice") -> list[Change]:
    async with server.database.read() as session:
        inbox = await inbox_rows.find(session, inbox_rows.of_user("home", user_id))
        assert inbox is not None
        log = select(Change).where(col(Change.inbox_id) == inbox.inbox_id).order_by(col(Change.seq))
        return list(await session.exec(log))


async def _said(server: Server, count: int, user_id: str = "alice") -> list[str]:
    return [(await say(server, user_id)).notification_id for _ in range(count)]


async def _contents(server: Server) -> int:
    async with server.database.read() as session:
        return (await session.exec(select(func.count()).select_from(Content))).one()


async def test_the_inbox_of_an_unknown_user_is_zero_and_writes_nothing(server: Server) -> None:
    state = await _state(server)

    assert (state.unread_count, state.unseen_count, state.total_count) == (0, 0, 0)
    async with server.database.read() as session:
        assert (await session.exec(select(func.count()).select_from(Inbox))).one() == 0


async def test_a_service_has_no_inbox(server: Server) -> None:
    assert await inboxes.mine(server, SERVICE) is None


async def test_reading_counts_what_really_changed_and_logs_one_change(server: Server, clock: Clock) -> None:
    ids = await _said(server, 3)

    first = await inboxes.set_read(server, ALICE, notification_ids=ids[:2], is_read=True, origin_id="tab-1")
    again = await inboxes.set_read(server, ALICE, notification_ids=ids, is_read=True, origin_id=None)
    none = await inboxes.set_read(server, ALICE, notification_ids=ids, is_read=True, origin_id=None)

    assert [changed.count for changed in (first, again, none)] == [2, 1, 0]
    assert first.inbox is not None
    assert (first.inbox.unread_count, first.inbox.total_count) == (1, 3)
    log = [(line.seq, line.kind, line.unread_count, line.origin_id) for line in await _log(server)]
    assert log == [
        (1, ChangeKind.ADDED, 1, None),
        (2, ChangeKind.ADDED, 2, None),
        (3, ChangeKind.ADDED, 3, None),
        (4, ChangeKind.READ, 1, "tab-1"),
        (5, ChangeKind.READ, 0, None),
    ]
    row = await notifications.find(server, ALICE, ids[0])
    assert row is not None
    assert (row.is_read, row.read_at) == (True, clock.now)


async def test_unreading_takes_it_back(server: Server) -> None:
    ids = await _said(server, 1)
    await inboxes.set_read(server, ALICE, notification_ids=ids, is_read=True, origin_id=None)

    changed = await inboxes.set_read(server, ALICE, notification_ids=ids, is_read=False, origin_id=None)

    assert changed.inbox is not None
    assert (changed.count, changed.inbox.unread_count) == (1, 1)
    row = await notifications.find(server, ALICE, ids[0])
    assert row is not None
    assert (row.is_read, row.read_at) == (False, None)


async def test_nobody_changes_what_is_not_theirs(server: Server) -> None:
    [mine] = await _said(server, 1, "alice")

    read = await inboxes.set_read(server, BOB, notification_ids=[mine], is_read=True, origin_id=None)
    deleted = await inboxes.delete(server, BOB, notification_ids=[mine], origin_id=None)
    with pytest.raises(NotFound):
        await inboxes.delete_one(server, BOB, notification_id=mine, origin_id=None)
    with pytest.raises(PermissionDenied):
        await inboxes.delete_all(server, BOB, users=["alice"], up_to=None, domain_id=None, origin_id=None)
    with pytest.raises(PermissionDenied):
        await inboxes.set_read(server, SERVICE, notification_ids=[mine], is_read=True, origin_id=None)

    assert (read.count, deleted.count) == (0, 0)
    assert (await _state(server)).unread_count == 1


async def test_an_administrator_changes_rows_of_the_domain(server: Server) -> None:
    [of_alice], [of_bob] = await _said(server, 1, "alice"), await _said(server, 1, "bob")

    one = await inboxes.set_read(server, ADMIN, notification_ids=[of_alice], is_read=True, origin_id=None)
    both = await inboxes.delete(server, SYSTEM, notification_ids=[of_alice, of_bob], origin_id=None)

    assert one.inbox is not None  # just one user's
    assert (one.inbox.unread_count, both.count, both.inbox) == (0, 2, None)


async def test_deleting_lowers_every_count_that_the_row_was_in(server: Server) -> None:
    read, unread, kept = await _said(server, 3)
    await inboxes.set_read(server, ALICE, notification_ids=[read], is_read=True, origin_id=None)

    changed = await inboxes.delete(server, ALICE, notification_ids=[read, unread, unread], origin_id="o")

    assert changed.inbox is not None
    assert (changed.count, changed.inbox.unread_count, changed.inbox.unseen_count, changed.inbox.total_count) == (
        2,
        1,
        1,
        1,
    )
    last = (await _log(server))[-1]
    assert (last.kind, sorted(last.notification_ids or [])) == (ChangeKind.REMOVED, sorted([read, unread]))
    assert await notifications.find(server, ALICE, kept) is not None


async def test_deleting_one_twice_is_not_found_the_second_time(server: Server) -> None:
    [only] = await _said(server, 1)
    await inboxes.delete_one(server, ALICE, notification_id=only, origin_id=None)

    with pytest.raises(NotFound):
        await inboxes.delete_one(server, ALICE, notification_id=only, origin_id=None)


async def test_deleting_all_empties_the_callers_inbox_or_the_named_ones(server: Server) -> None:
    for user in ("alice", "bob", "carol"):
        await _said(server, 2, user)

    async def delete(caller: Caller, users: list[str] | None) -> int:
        return await inboxes.delete_all(server, caller, users=users, up_to=None, domain_id=None, origin_id=None)

    assert await delete(ALICE, None) == 2
    assert await delete(ALICE, ["alice"]) == 0
    assert await delete(ADMIN, ["bob", "carol", "nobody"]) == 4
    with pytest.raises(InvalidArgument):
        await delete(SERVICE, None)
    assert (await _log(server))[-1].kind is ChangeKind.ALL_REMOVED
    assert (await _state(server)).total_count == 0


async def test_deleting_up_to_a_position_keeps_what_came_later(server: Server) -> None:
    await _said(server, 2)
    position = (await _state(server)).cursor
    [later] = await _said(server, 1)

    deleted = await inboxes.delete_all(server, ALICE, users=None, up_to=position, domain_id=None, origin_id=None)

    assert deleted == 2
    assert await notifications.find(server, ALICE, later) is not None
    await _said(server, 1, "bob")
    with pytest.raises(InvalidArgument):
        await inboxes.delete_all(server, BOB, users=None, up_to=position, domain_id=None, origin_id=None)


async def test_a_position_from_before_an_inbox_started_anew_has_expired(server: Server) -> None:
    await _said(server, 1)
    position = (await _state(server)).cursor
    async with server.database.read() as session:
        inbox = await inbox_rows.find(session, inbox_rows.of_user("home", "alice"))
    assert inbox is not None

    async def renew(session: object) -> None:
        locked = await inbox_rows.lock(session, [inbox.inbox_id])  # type: ignore[arg-type]
        locked[inbox.inbox_id].generation += 1

    await server.database.write(renew)

    with pytest.raises(CursorExpired):
        await inboxes.delete_all(server, ALICE, users=None, up_to=position, domain_id=None, origin_id=None)


async def test_content_stays_while_a_row_or_an_open_delivery_needs_it(server: Server) -> None:
    await inside(server, "alice", "bob")
    said = await say_to_project(server)
    rows = {row.user_id: row.notification_id for row in await notifications.rows_of(server, said, first=9)}

    for caller, gone in ((ALICE, rows["alice"]), (BOB, rows["bob"])):
        await inboxes.delete(server, caller, notification_ids=[gone], origin_id=None)
        assert await _contents(server) == 1
    await inboxes.delete(server, ADMIN, notification_ids=[said.notification_id], origin_id=None)
    assert await _contents(server) == 0

    pushed = await pushes.push(server, SERVICE, Push((await log_protocol(server)).protocol_id, {}, {"a": 1}))
    await inboxes.delete(server, ADMIN, notification_ids=[pushed.record.notification_id], origin_id=None)
    assert await _contents(server) == 1  # the delivery waits


async def test_deleting_a_record_leaves_its_children(server: Server) -> None:
    await inside(server, "alice")
    said = await say_to_project(server)

    await inboxes.delete(server, ADMIN, notification_ids=[said.notification_id], origin_id=None)

    assert (await _state(server)).total_count == 1


async def test_the_last_two_owners_of_a_content_deleting_at_once_leave_nothing(server: Server) -> None:
    for _ in range(5):
        said = await say(server, "home", resource_type="identity.Domain")
        await inboxes.register(server, ADMIN, user_ids=["alice", "bob"], domain_id=None)
        await inboxes.delete(server, ADMIN, notification_ids=[said.notification_id], origin_id=None)
    said = await say(server, "home", resource_type="identity.Domain")
    everything = [row.notification_id for row in await notifications.rows_of(server, said, first=9)]
    everything.append(said.notification_id)

    async with asyncio.timeout(30):
        await asyncio.gather(
            *(inboxes.delete(server, ADMIN, notification_ids=[one], origin_id=None) for one in everything)
        )
        for caller in (ALICE, BOB, ADMIN):
            await inboxes.delete_all(server, caller, users=None, up_to=None, domain_id=None, origin_id=None)

    assert await _contents(server) == 0


async def test_only_a_users_own_unread_rows_are_marked_by_being_shown(server: Server) -> None:
    [mine], [other] = await _said(server, 1, "alice"), await _said(server, 1, "bob")
    rows = (await notifications.page(server, ADMIN, Filter(), domain_id=None, order_by=[], window=Window())).page.rows

    assert inboxes.to_mark(server, ALICE, rows, None) == [mine]
    assert inboxes.to_mark(server, BOB, rows, True) == [other]
    assert inboxes.to_mark(server, ALICE, rows, False) == []
    assert inboxes.to_mark(server, ADMIN, rows, True) == []
    await inboxes.mark_fetched(server, ALICE, [mine])
    shown = await notifications.find(server, ALICE, mine)
    assert shown is not None
    assert inboxes.to_mark(server, ALICE, [shown], None) == []


async def test_counts_are_exact_and_the_log_gap_free_whatever_happens_at_once(server: Server) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    known: list[str] = []

    async def something(kind: int) -> None:
        some = chance.sample(known, min(len(known), 4))
        if kind < 5 or not known:
            known.append((await say(server, "alice")).notification_id)
        elif kind < 8:
            await inboxes.set_read(server, ALICE, notification_ids=some, is_read=chance.random() < 0.6, origin_id=None)
        elif kind < 9:
            await inboxes.delete(server, ALICE, notification_ids=some, origin_id=None)
        else:
            await inboxes.delete_all(server, ALICE, users=None, up_to=None, domain_id=None, origin_id=None)

    async with asyncio.timeout(120):
        for _ in range(12):
            await asyncio.gather(*(something(chance.randrange(10)) for _ in range(8)))

    state, log = await _state(server), await _log(server)
    async with server.database.read() as session:
        rows = (await session.exec(select(Notification).where(Notification.user_id == "alice"))).all()
    assert [line.seq for line in log] == list(range(1, len(log) + 1)), f"seed {seed}"
    assert state.total_count == len(rows), f"seed {seed}"
    assert state.unread_count == sum(not row.is_read for row in rows) == log[-1].unread_count, f"seed {seed}"


async def test_all_read_up_to_a_position_leaves_what_came_later(server: Server) -> None:
    await _said(server, 2)
    position = (await _state(server)).cursor
    [later] = await _said(server, 1)

    changed = await inboxes.mark_all_read(server, ALICE, up_to=position, origin_id="tab")
    again = await inboxes.mark_all_read(server, ALICE, up_to=position, origin_id="tab")

    assert (changed.count, again.count) == (2, 0)
    assert changed.inbox is not None
    assert changed.inbox.unread_count == 1
    row = await notifications.find(server, ALICE, later)
    assert row is not None
    assert not row.is_read
    last = (await _log(server))[-1]
    assert (last.kind, last.up_to, last.unread_count, last.origin_id) == (ChangeKind.ALL_READ, 2, 1, "tab")


async def test_seeing_clears_what_is_unseen_and_nothing_else(server: Server) -> None:
    await _said(server, 2)
    position = (await _state(server)).cursor
    await _said(server, 1)

    seen = await inboxes.mark_seen(server, ALICE, up_to=position, origin_id=None)
    again = await inboxes.mark_seen(server, ALICE, up_to=position, origin_id=None)

    assert (seen.count, again.count) == (2, 0)
    assert seen.inbox is not None
    assert (seen.inbox.unseen_count, seen.inbox.unread_count) == (1, 3)
    await _said(server, 1)
    assert (await _state(server)).unseen_count == 2
