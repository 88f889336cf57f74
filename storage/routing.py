"""Which channels, each with its protocol, lead from a project or from users: what a create or a test goes through."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any, NamedTuple, cast

import sqlalchemy
from sqlalchemy import Select, bindparam
from sqlalchemy.sql import operators as sql
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.dialects import Several, one_of
from storage.models import (
    Channel,
    JsonObject,
    LevelMatch,
    NotificationLevel,
    Protocol,
    ProtocolType,
    ResourceState,
)
from storage.records import narrowed
from storage.scope import Scope
from storage.statements import Query

Route = tuple[Channel, Protocol]


class _Channel(NamedTuple):
    """What planning asks of a channel, with the attributes of a Channel."""

    channel_id: str
    project_id: str | None
    user_id: str | None
    state: ResourceState
    data: JsonObject | None
    topics: list[str] | None
    schedule: JsonObject | None
    destination: str | None
    part_count: int
    notification_level: NotificationLevel | None
    level_match: LevelMatch | None


class _Protocol(NamedTuple):
    """What planning asks of a protocol, with the attributes of a Protocol."""

    protocol_id: str
    state: ResourceState
    protocol_type: ProtocolType
    plugin_id: str | None


def _routes(owner: Any) -> Query:
    """Of the channels of some owners of a domain: an owner's are together, oldest first."""

    def build(dialect: str) -> Select[Any]:
        channel = [col(getattr(Channel, name)) for name in _Channel._fields]
        protocol = [col(getattr(Protocol, name)) for name in _Protocol._fields]
        owners = one_of(dialect, owner, bindparam("owner_ids", type_=Several(owner.type)))
        theirs = sqlalchemy.select(*channel, *protocol).select_from(Channel).join(Protocol)
        within = theirs.where(col(Channel.domain_id) == bindparam("domain_id"), owners)
        # The owner first: by age alone, SQLite would read through all channels of the domain, which an index has in
        # order.
        return within.order_by(owner, col(Channel.created_at), col(Channel.channel_id))

    return Query(build)


_OF_PROJECTS = _routes(col(Channel.project_id))
_OF_USERS = _routes(col(Channel.user_id))


async def of_projects(session: AsyncSession, domain_id: str, project_ids: Collection[str]) -> dict[str, list[Route]]:
    """Each of these projects' channels, oldest first; projects without one are not in it."""
    return await _read(session, _OF_PROJECTS, domain_id, project_ids)


async def of_users(session: AsyncSession, domain_id: str, user_ids: Collection[str]) -> dict[str, list[Route]]:
    """Each of these users' channels, oldest first; users without one are not in it."""
    return await _read(session, _OF_USERS, domain_id, user_ids)


async def of_channel(session: AsyncSession, channel_id: str, scope: Scope) -> Route | None:
    """One channel, if it is within the scope."""
    own = (Channel.domain_id, scope.domain_id), (Channel.user_id, scope.user_id)
    mine = narrowed(sql.eq, (Channel.channel_id, channel_id), *own)
    found = (await session.exec(select(Channel, Protocol).join(Protocol).where(*mine))).first()
    return None if found is None else (found[0], found[1])


async def _read(
    session: AsyncSession, routes: Query, domain_id: str, owner_ids: Collection[str]
) -> dict[str, list[Route]]:
    by_owner: dict[str, list[Route]] = defaultdict(list)
    if owner_ids:
        for row in await routes.rows(session, domain_id=domain_id, owner_ids=owner_ids):
            channel, protocol = _Channel(*row[: len(_Channel._fields)]), _Protocol(*row[len(_Channel._fields) :])
            owner_id = channel.project_id or channel.user_id or ""
            by_owner[owner_id].append((cast(Channel, channel), cast(Protocol, protocol)))
    return dict(by_owner)
