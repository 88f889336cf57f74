"""What is kept for how long: change logs, ended deliveries and, where the operator says so, notifications.

Small batches, one at a time. A log loses its beginning and never its middle, so a cursor before it is told that it has
expired. A notification that goes is a change of its inbox like any other: locked, counted, logged and announced.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import inboxes
from resolvers.context import Server
from storage import contents, notifications, retention
from storage import inboxes as inbox_rows
from storage.inboxes import Owner
from storage.scope import Scope

CHANGES = 1_000  # that one transaction forgets
NOTIFICATIONS = 100  # that one transaction deletes: it holds the locks of their inboxes
DELIVERIES = 500  # that one transaction deletes, each from every index it is in


@dataclass(frozen=True)
class Keep:
    """A log keeps what is younger than `log_age` of its latest `log_changes`; None keeps notifications for ever.

    Deliveries go by the time they ended: an open one has none.
    """

    log_age: timedelta = timedelta(days=30)
    log_changes: int = 10_000
    notification_age: timedelta | None = None
    delivery_age: timedelta = timedelta(days=90)


async def sweep(server: Server, keep: Keep) -> bool:
    """Let one batch of each go; whether there may be more."""
    pruned = await _prune(server, keep)
    removed = await _remove(server, keep.notification_age)
    return await _forget(server, keep.delivery_age) or removed or pruned


async def _prune(server: Server, keep: Keep) -> bool:
    before = server.clock() - keep.log_age
    async with server.database.read() as session:
        aged = await retention.aged(session, before=before, limit=CHANGES)
        overlong = await retention.overlong(session, keep=keep.log_changes, limit=CHANGES)
    for ends in filter(None, (aged, overlong)):
        await server.database.write(partial(retention.prune, ends=ends))
    return bool(aged or overlong)


async def _remove(server: Server, age: timedelta | None) -> bool:
    """Delete the oldest notifications of one domain."""
    if age is None:
        return False
    now = server.clock()
    async with server.database.read() as session:
        rows = await retention.past(session, before=now - age, limit=NOTIFICATIONS)
    if not rows:
        return False
    ends, alone = retention.ends_of(rows), [row.notification_id for row in rows if row.inbox_id is None]

    async def work(session: AsyncSession) -> dict[Owner, int]:
        locked = await inbox_rows.lock(session, ends)
        removed = [
            row
            for inbox_id, inbox in locked.items()
            for row in await inboxes.empty(session, inbox, up_to=ends[inbox_id], now=now)
        ]
        removed += await notifications.remove(session, alone, Scope(rows[0].domain_id))
        await contents.drop_unneeded(session, [row.content_id for row in removed])
        return inboxes.heads_of(locked.values())

    await server.hub.publish(await server.database.write(work))
    return True


async def _forget(server: Server, age: timedelta) -> bool:
    before = server.clock() - age
    work = partial(retention.forget_deliveries, before=before, limit=DELIVERIES)
    return await server.database.write(work) == DELIVERIES
