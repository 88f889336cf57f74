"""What is past its time is found from indexes: what stays costs a sweep nothing, however much it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import inboxes, retention
from storage.engine import Database
from storage.models import Change, ChangeKind, Content, Notification, NotificationLevel, NotificationType

NOW = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)
MONTH_AGO = NOW - timedelta(days=30)
DOMAINS, USERS, PER_USER = 3, 10, 60


async def _fill(session: AsyncSession) -> None:
    """Inboxes of some domains, with notifications and changes of now."""
    for domain in (f"d{number}" for number in range(DOMAINS)):
        content = Content(
            domain_id=domain,
            topic="t",
            message={},
            notification_type=NotificationType.INFO,
            notification_level=NotificationLevel.ALL,
        )
        session.add(content)
        await session.flush()
        owners = [inboxes.of_user(domain, f"u{number}") for number in range(USERS)]
        for owner, inbox in (await inboxes.add(session, dict.fromkeys(owners, PER_USER))).items():
            for seq in range(1, PER_USER + 1):
                row = Notification(
                    notification_id=f"n-{inbox.inbox_id}-{seq}",
                    domain_id=domain,
                    content_id=content.content_id,
                    inbox_id=inbox.inbox_id,
                    seq=seq,
                    user_id=owner.owner_id,
                    created_by="s",
                    created_at=NOW,
                )
                change = Change(
                    inbox_id=inbox.inbox_id,
                    seq=seq,
                    kind=ChangeKind.ADDED,
                    notification_id=row.notification_id,
                    unread_count=seq,
                    unseen_count=seq,
                    changed_at=NOW,
                )
                session.add_all([row, change])


@pytest.fixture
async def filled(database: Database) -> Database:
    await database.write(_fill)
    return database


async def _plans(database: Database) -> list[str]:
    """How each of the questions of a sweep is answered."""
    asked: list[tuple[str, Any]] = []

    async def explain(session: AsyncSession) -> list[str]:
        connection = await session.connection()
        await connection.exec_driver_sql("ANALYZE")
        event.listen(
            connection.sync_connection,
            "before_cursor_execute",
            lambda _c, _cursor, statement, parameters, _x, _many: asked.append((statement, parameters)),
        )
        await retention.aged(session, before=MONTH_AGO, limit=10)
        await retention.overlong(session, keep=PER_USER, limit=10)
        await retention.past(session, before=MONTH_AGO, limit=10)
        prefix = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        plans = []
        for statement, parameters in asked[:]:
            plan = await connection.exec_driver_sql(f"{prefix} {statement}", parameters)
            plans.append("\n".join(str(line) for line in plan))
        return plans

    return await database.write(explain)


async def test_a_sweep_of_what_is_young_reads_indexes_only(filled: Database) -> None:
    aged, overlong, past = await _plans(filled)

    assert "change_by_age" in aged
    assert "notification_by_domain" in past
    assert "Join" not in past  # of all that is old with all there is
    for plan in (overlong, past):
        assert "SCAN change" not in plan
        assert "SCAN notification" not in plan.replace("SCAN notification USING COVERING INDEX", "")
        assert "Seq Scan on change" not in plan
        assert "Seq Scan on notification" not in plan


async def test_nothing_is_past_its_time_where_all_is_young(filled: Database) -> None:
    async with filled.read() as session:
        assert await retention.aged(session, before=MONTH_AGO, limit=10) == {}
        assert await retention.overlong(session, keep=PER_USER, limit=10) == {}
        assert await retention.past(session, before=MONTH_AGO, limit=10) == []


async def test_of_long_logs_as_much_goes_as_one_batch_may_have(filled: Database) -> None:
    async with filled.read() as session:
        ends = await retention.overlong(session, keep=PER_USER - 4, limit=10)

    assert sorted(ends.values()) == [2, 4, 4]
