"""Fan-outs in progress: the recipients whom a create has not reached yet, kept so that a crash forgets nobody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import literal
from sqlalchemy.orm import joinedload
from sqlmodel import col, delete, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import contents
from storage.engine import insert
from storage.models import Fanout, FanoutRecipient, Inbox, InboxKind


async def start(session: AsyncSession, fanout: Fanout, user_ids: Sequence[str]) -> None:
    """Keep these recipients for later."""
    session.add(fanout)
    await session.flush()
    session.add_all(FanoutRecipient(fanout_id=fanout.fanout_id, user_id=user_id) for user_id in user_ids)


async def start_for_domain(session: AsyncSession, fanout: Fanout) -> int:
    """Keep every known user of the domain for later; how many they are."""
    session.add(fanout)
    await session.flush()
    users = select(literal(fanout.fanout_id), Inbox.owner_id).where(
        Inbox.domain_id == fanout.domain_id, Inbox.kind == InboxKind.USER
    )
    await session.exec(insert(session, FanoutRecipient).from_select(["fanout_id", "user_id"], users))
    mine = select(func.count()).select_from(FanoutRecipient).where(FanoutRecipient.fanout_id == fanout.fanout_id)
    return (await session.exec(mine)).one()


async def take(session: AsyncSession, *, now: datetime) -> Fanout | None:
    """The fan-out that has been due for longest and that nobody else works on, with its content; locked."""
    due = select(Fanout).where(col(Fanout.due_at) <= now).order_by(col(Fanout.due_at)).limit(1)
    with_content = due.options(joinedload(Fanout.content, innerjoin=True))  # type: ignore[arg-type]
    return (await session.exec(with_content.with_for_update(skip_locked=True, of=Fanout))).first()


async def next_users(session: AsyncSession, fanout: Fanout, *, limit: int) -> list[str]:
    recipients = select(FanoutRecipient.user_id).where(FanoutRecipient.fanout_id == fanout.fanout_id)
    return list(await session.exec(recipients.order_by(col(FanoutRecipient.user_id)).limit(limit)))


async def reached(session: AsyncSession, fanout: Fanout, user_ids: Sequence[str]) -> None:
    """Forget these recipients: their rows are in this transaction."""
    where = (col(FanoutRecipient.fanout_id) == fanout.fanout_id, col(FanoutRecipient.user_id).in_(user_ids))
    await session.exec(delete(FanoutRecipient).where(*where))


async def finish(session: AsyncSession, fanout: Fanout) -> None:
    """All recipients were reached."""
    await session.delete(fanout)
    await session.flush()
    await contents.drop_unneeded(session, [fanout.content_id])
