"""The place of a notification: by inbox and sequence number, so that those of an inbox lie together."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as some
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import contents, creations, inboxes, notifications, places, statements
from storage.contents import NewContent
from storage.creations import NewNotification, last_places
from storage.engine import Database
from storage.models import Inbox, Notification, NotificationLevel, NotificationType
from storage.places import APART

NOW = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)
INBOX_IDS = some.integers(1, 2**28 - 1)
SEQS = some.integers(1, APART - 1)
GIVEN = some.integers(-(2**70), 2**70)  # a cursor may say any number
ALICE, BOB = inboxes.of_user("d", "alice"), inboxes.of_user("d", "bob")
CONTENT = NewContent("d", "t", {}, NotificationType.INFO, NotificationLevel.ALL, None, None)


@given(some.tuples(INBOX_IDS, SEQS), some.tuples(INBOX_IDS, SEQS))
def test_places_sort_by_inbox_and_sequence_number(one: tuple[int, int], other: tuple[int, int]) -> None:
    assert (places.of(*one) < places.of(*other)) == (one < other)
    assert 0 < places.of(*one) < 2**63


@given(INBOX_IDS, SEQS, some.integers(-1, 1), GIVEN, GIVEN)
def test_what_is_within_an_inbox_is_no_other_inboxs(
    inbox_id: int, seq: int, apart: int, after: int, up_to: int
) -> None:
    between = places.within(Notification.place, inbox_id, after=after, up_to=up_to)
    first, last = between.compile().params.values()

    assert (first <= places.of(inbox_id + apart, seq) <= last) == (apart == 0 and after < seq <= up_to)


async def _fill(database: Database) -> None:
    """Two rows for each of two users, in turn, and a record of no inbox; each with a content of its own."""

    async def work(session: AsyncSession) -> None:
        counted = await inboxes.add(session, {ALICE: 2, BOB: 2})
        said = await contents.insert(session, [CONTENT] * 5)
        of_users = {owner: last_places(counted[owner], 2) for owner in (ALICE, BOB)}
        rows = [
            NewNotification(
                f"n{number}",
                "d",
                content,
                "s",
                NOW,
                inbox=None if owner is None else next(of_users[owner]),
                user_id=None if owner is None else owner.owner_id,
            )
            for number, (content, owner) in enumerate(zip(said, (ALICE, BOB, None, ALICE, BOB), strict=True))
        ]
        await statements.run_all(session, creations.inserting(rows))

    await database.write(work)


async def test_rows_lie_by_inbox_and_records_of_none_before_them(database: Database) -> None:
    await _fill(database)

    async with database.read() as session:
        rows = (await session.exec(select(Notification).order_by(Notification.place))).all()  # type: ignore[arg-type]
        of_inboxes = [(row.inbox_id, row.seq) for row in rows if row.inbox_id is not None and row.seq is not None]
    assert [row.notification_id for row in rows] == ["n2", "n0", "n3", "n1", "n4"]
    assert [row.place for row in rows] == [-(rows[0].content_id or 0), *(places.of(*each) for each in of_inboxes)]


async def test_numbers_that_no_row_can_have_lead_to_no_other_inbox(database: Database) -> None:
    await _fill(database)
    async with database.read() as session:
        ids = {inbox.owner_id: inbox.inbox_id for inbox in await session.exec(select(Inbox))}

    async with database.read() as session:
        assert await notifications.count_after(session, ids["alice"], -(2**40)) == 2
        assert await notifications.count_after(session, ids["alice"], 1) == 1
        assert await notifications.count_after(session, ids["alice"], APART) == 0
    removed = await database.write(lambda session: notifications.remove_all(session, ids["alice"], up_to=2**40))

    assert {row.user_id for row in removed} == {"alice"}
    async with database.read() as session:
        assert await notifications.count_after(session, ids["bob"], 0) == 2


async def test_a_known_owner_uses_no_number_up(database: Database) -> None:
    """Else numbers would grow with what is said, and leave no room for places."""
    for _ in range(3):
        await database.write(lambda session: inboxes.add(session, {ALICE: 1}))

    added = await database.write(lambda session: inboxes.add(session, {ALICE: 1, BOB: 1}))

    assert added[BOB].inbox_id == added[ALICE].inbox_id + 1
