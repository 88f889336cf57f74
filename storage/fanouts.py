"""Fan-outs in progress: the recipients whom a create has not reached yet, kept so that a crash forgets nobody."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import literal
from sqlalchemy.orm import joinedload
from sqlmodel import col, delete, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import contents
from storage.engine import insert
from storage.models import Fanout, FanoutRecipient, Inbox, InboxKind


async def start(session: AsyncSession, fanout: Fanout, user_ids: Sequence[str]) -> None:
    """Keep these recipients for later chunks."""
    session.add(fanout)
    await session.flush()
    session.add_all(FanoutRecipient(record_id=fanout.record_id, user_id=user_id) for user_id in user_ids)


async def start_for_domain(session: AsyncSession, fanout: Fanout) -> int:
    """Keep every known user of the domain for later chunks; how many they are."""
    session.add(fanout)
    await session.flush()
    users = select(literal(fanout.record_id), Inbox.owner_id).where(
        Inbox.domain_id == fanout.domain_id, Inbox.kind == InboxKind.USER
    )
    await session.exec(insert(session, FanoutRecipient).from_select(["record_id", "user_id"], users))
    mine = select(func.count()).select_from(FanoutRecipient).where(FanoutRecipient.record_id == fanout.record_id)
    return (await session.exec(mine)).one()


async def take(session: AsyncSession) -> Fanout | None:
    """A fan-out that no other process works on now, with its content, locked."""
    waiting = select(Fanout).options(joinedload(Fanout.content, innerjoin=True)).limit(1)  # type: ignore[arg-type]
    return (await session.exec(waiting.with_for_update(skip_locked=True, of=Fanout))).first()


async def next_users(session: AsyncSession, record_id: str, *, limit: int) -> list[str]:
    recipients = select(FanoutRecipient.user_id).where(FanoutRecipient.record_id == record_id)
    return list(await session.exec(recipients.order_by(col(FanoutRecipient.user_id)).limit(limit)))


async def reached(session: AsyncSession, record_id: str, user_ids: Sequence[str]) -> None:
    """Forget these recipients: their rows are in this transaction."""
    where = (col(FanoutRecipient.record_id) == record_id, col(FanoutRecipient.user_id).in_(user_ids))
    await session.exec(delete(FanoutRecipient).where(*where))


async def finish(session: AsyncSession, fanout: Fanout) -> None:
    """All recipients were reached."""
    await session.delete(fanout)
    await session.flush()
    await contents.drop_unneeded(session, [fanout.content_id])
