"""Contents: what was said. One goes when no notification, no fan-out and no open delivery needs it any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlmodel import col, delete, exists, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.dialects import among
from storage.models import (
    Content,
    Delivery,
    Fanout,
    JsonObject,
    Notification,
    NotificationLevel,
    NotificationType,
)
from storage.queries import search_texts
from storage.statements import Insert


class NewContent(NamedTuple):
    """What is said, before it has an id, with the attributes of a Content."""

    domain_id: str
    topic: str
    message: JsonObject
    notification_type: NotificationType = NotificationType.INFO
    notification_level: NotificationLevel = NotificationLevel.ALL
    resource_type: str | None = None
    resource_id: str | None = None
    content_id: int = 0  # once it is stored

    @property
    def searched(self) -> str:
        return search_texts.searched(self.domain_id, self.topic, self.message)


_INSERT = Insert(
    Content,
    [*NewContent._fields[: NewContent._fields.index("content_id")], "searched"],
    then="RETURNING content_id",
    at_once=True,
)


AnyContent = Content | NewContent


async def insert(session: AsyncSession, contents: Sequence[NewContent]) -> list[NewContent]:
    """Store them in this order, which is that of their ids; each with its id."""
    made = sorted(content_id for (content_id,) in await _INSERT.run(session, contents))
    return [content._replace(content_id=content_id) for content, content_id in zip(contents, made, strict=True)]


async def hold(session: AsyncSession, content_ids: Iterable[int | None]) -> set[int]:
    """Those of these contents that still exist, not to be deleted by others until this transaction ends."""
    wanted = sorted({content_id for content_id in content_ids if content_id is not None})
    content_id = col(Content.content_id)
    statement = select(Content.content_id).where(content_id.in_(wanted)).order_by(content_id)
    return set(await session.exec(statement.with_for_update(read=True)))


# Spelled as the partial index spells it: a bound parameter would hide from the database that the index has it.
OPEN = text("delivery.state IN ('PENDING', 'SENDING', 'RETRYING')")


async def drop_unneeded(session: AsyncSession, content_ids: Iterable[int | None]) -> None:
    """Delete those of these contents that nothing needs, after what needed them was changed in this transaction.

    The rows are locked first: of two transactions that each take away one of the last two needs, the second then
    sees the first one's change, and one of them deletes the content.
    """
    candidates = sorted({content_id for content_id in content_ids if content_id is not None})
    if not candidates:
        return
    content_id = col(Content.content_id)
    them = among(session, content_id, candidates)
    await session.exec(select(Content.content_id).where(them).order_by(content_id).with_for_update())
    needed = (
        exists().where(col(Notification.content_id) == content_id),
        exists().where(col(Fanout.content_id) == content_id),
        exists().where(col(Delivery.content_id) == content_id, OPEN),
    )
    await session.exec(
        delete(Content).where(them, *(~need for need in needed)), execution_options={"synchronize_session": False}
    )
