"""Usages in the API: the day that they are of, as it is kept and as the original spells it."""

from __future__ import annotations

from resolvers.context import Server
from storage.models import NotificationUsage
from tests.dispatch import rows
from tests.resolvers.callers import ADMIN
from tests.schema.asking import ask

LISTED = "{ notificationUsages { nodes { date usageMonth usageDate count } } }"


async def test_a_usage_tells_its_day_whole_and_in_parts(server: Server) -> None:
    usage = NotificationUsage(protocol_id="protocol-1", date="2026-01-31", domain_id=ADMIN.domain_id, count=3)
    await rows.store(server.database, usage)

    answer = await ask(server, ADMIN, LISTED)

    assert answer["notificationUsages"]["nodes"] == [
        {"date": "2026-01-31", "usageMonth": "2026-01", "usageDate": "31", "count": 3}
    ]
