"""Which channels, each with its protocol, lead from a project or from users: what a create or a test goes through."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.models import Channel, Protocol
from storage.scope import Scope

Route = tuple[Channel, Protocol]


async def of_project(session: AsyncSession, domain_id: str, project_id: str) -> list[Route]:
    """A project's channels, oldest first."""
    routes = select(Channel, Protocol).join(Protocol)
    mine = routes.where(Channel.domain_id == domain_id, Channel.project_id == project_id)
    return [
        (channel, protocol)
        for channel, protocol in await session.exec(mine.order_by(col(Channel.created_at), col(Channel.channel_id)))
    ]


async def of_channel(session: AsyncSession, channel_id: str, scope: Scope) -> Route | None:
    """One channel, if it is within the scope."""
    route = select(Channel, Protocol).join(Protocol).where(col(Channel.channel_id) == channel_id)
    if scope.domain_id is not None:
        route = route.where(col(Channel.domain_id) == scope.domain_id)
    if scope.user_id is not None:
        route = route.where(col(Channel.user_id) == scope.user_id)
    found = (await session.exec(route)).first()
    return None if found is None else (found[0], found[1])


async def of_users(session: AsyncSession, domain_id: str, user_ids: Collection[str]) -> dict[str, list[Route]]:
    """Each of these users' channels, oldest first; users without one are not in it."""
    routes = select(Channel, Protocol).join(Protocol)
    theirs = routes.where(Channel.domain_id == domain_id, col(Channel.user_id).in_(user_ids))
    by_user: dict[str, list[Route]] = defaultdict(list)
    # The user first: by age alone, SQLite would read through all channels of the domain, which an index has in order.
    order = (col(Channel.user_id), col(Channel.created_at), col(Channel.channel_id))
    for channel, protocol in await session.exec(theirs.order_by(*order)):
        by_user[channel.user_id or ""].append((channel, protocol))
    return dict(by_user)
