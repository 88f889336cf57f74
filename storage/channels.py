"""Channels: where to. Projects' and users' channels are rows of one table; nothing here tells them apart but `Kind`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.sql import operators as sql
from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import ids, paging
from storage.dialects import among
from storage.models import Channel, NotificationLevel, ResourceState
from storage.paging import Order
from storage.queries import fields
from storage.queries.operators import EVERYTHING, Question
from storage.records import Records, narrowed
from storage.scope import Scope
from storage.selected import of_model


class Kind(StrEnum):
    """Whose channel it is. The value is the prefix of its id."""

    PROJECT = ids.PROJECT_CHANNEL
    USER = ids.USER_CHANNEL


_COLUMNS = of_model(Channel)
_FIELDS = {Kind.PROJECT: fields.PROJECT_CHANNEL, Kind.USER: fields.USER_CHANNEL}


@dataclass(frozen=True)
class Filter:
    """What is None does not narrow."""

    channel_id: str | None = None
    owner_id: str | None = None  # the project's or the user's id
    name: str | None = None
    state: ResourceState | None = None
    notification_level: NotificationLevel | None = None
    protocol_id: str | None = None
    question: Question = EVERYTHING


NEWEST_FIRST: Order = (
    paging.key("createdAt", Channel.created_at, lambda row: row.created_at),
    paging.key("channelId", Channel.channel_id, lambda row: row.channel_id),
)


def in_scope(kind: Kind, scope: Scope) -> Records[Filter]:
    return Records(Channel, _COLUMNS, _FIELDS[kind], NEWEST_FIRST, partial(_where, kind, scope))


def _where(kind: Kind, scope: Scope, wanted: Filter) -> list[ColumnElement[bool]]:
    owner_id: Any = Channel.project_id if kind is Kind.PROJECT else Channel.user_id
    return [
        owner_id.is_not(None),
        *narrowed(sql.eq, (Channel.domain_id, scope.domain_id), (Channel.user_id, scope.user_id)),
        *narrowed(
            sql.eq,
            (Channel.channel_id, wanted.channel_id),
            (owner_id, wanted.owner_id),
            (Channel.name, wanted.name),
            (Channel.state, wanted.state),
            (Channel.notification_level, wanted.notification_level),
            (Channel.protocol_id, wanted.protocol_id),
        ),
    ]


async def create(session: AsyncSession, channel: Channel) -> None:
    session.add(channel)
    await session.flush()


async def lock(session: AsyncSession, kind: Kind, channel_id: str, scope: Scope) -> Channel | None:
    """The channel, not to be changed by others until this transaction ends."""
    mine = in_scope(kind, scope).matching(Filter(channel_id=channel_id))
    return (await session.exec(mine.with_for_update())).first()


async def remove(session: AsyncSession, channel: Channel) -> None:
    await session.exec(delete(Channel).where(col(Channel.channel_id) == channel.channel_id))


async def judge(
    session: AsyncSession, *, worked: Collection[str], failed: Collection[str], now: datetime, patience: timedelta
) -> Sequence[Channel]:
    """Note which channels worked and which failed. Those that have only failed for so long are disabled, and returned.

    That their owners are to be told is noted with it. Most work as they did before: that changes no row and locks none.
    """
    channel_id, since = col(Channel.channel_id), col(Channel.failing_since)
    if worked:
        await _set(session, among(session, channel_id, sorted(worked)), since.is_not(None), failing_since=None)
    if not failed:
        return []
    await _set(session, among(session, channel_id, sorted(failed)), since.is_(None), failing_since=now)
    is_enabled = col(Channel.state) == ResourceState.ENABLED
    given_up = among(session, channel_id, sorted(failed)), since <= now - patience, is_enabled
    disabled = update(Channel).where(*given_up).values(state=ResourceState.DISABLED, alert_due_at=now)
    options = {"synchronize_session": False}
    return (await session.exec(disabled.returning(Channel), execution_options=options)).scalars().all()


async def to_alert(session: AsyncSession, *, limit: int) -> Sequence[Channel]:
    """Channels that were disabled and whose owners are still to be told of it, the longest due first."""
    due_at = col(Channel.alert_due_at)
    return (await session.exec(select(Channel).where(due_at.is_not(None)).order_by(due_at).limit(limit))).all()


async def alerted(session: AsyncSession, channel: Channel) -> None:
    """Note that the owner was told of what was due then; what is due since stays so."""
    mine = col(Channel.channel_id) == channel.channel_id
    await _set(session, mine, col(Channel.alert_due_at) == channel.alert_due_at, alert_due_at=None)


async def _set(session: AsyncSession, *where: Any, **values: Any) -> None:
    statement = update(Channel).where(*where).values(**values)
    await session.exec(statement, execution_options={"synchronize_session": False})
