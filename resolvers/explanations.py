"""What would become of a create, told without creating anything: the same planner's decisions over the same rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from dispatch.planner import DispatchDecision
from resolvers import fanout, notifications
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.fanout import Audience, Choice, Plan
from resolvers.notifications import Creation
from storage import inboxes, routing
from storage.contents import NewContent

MAX_USERS = 100  # whose channels are told about, of a create that reaches more


async def explain(server: Server, caller: Caller, creation: Creation) -> list[DispatchDecision]:
    """What would be decided for each channel, the project's own first. Its input is refused as a create's is."""
    domain_id = notifications.check(caller, creation)
    content, now = notifications.content_of(creation, domain_id), server.clock()
    async with server.database.read() as session:
        plan = await _PLAN_FOR[creation.resource_type](session, content, now)
    return [decision for _, decision in plan]


async def _for_user(session: AsyncSession, content: NewContent, now: datetime) -> Plan:
    return await _for_users(session, content, [content.resource_id or ""], now)


async def _for_project(session: AsyncSession, content: NewContent, now: datetime) -> Plan:
    project_id = content.resource_id or ""
    routes = await routing.of_projects(session, content.domain_id, [project_id])
    [plan] = await fanout.plan(session, [Choice(content, now, routes.get(project_id, ()))])
    users = fanout.users_behind(plan)[:MAX_USERS]
    return [*plan, *await _for_users(session, content, users, now, beside=plan)]


async def _for_domain(session: AsyncSession, content: NewContent, now: datetime) -> Plan:
    users = await inboxes.known_users(session, content.domain_id, limit=MAX_USERS)
    return await _for_users(session, content, users, now)


async def _for_users(
    session: AsyncSession, content: NewContent, user_ids: Sequence[str], now: datetime, *, beside: Plan = ()
) -> Plan:
    [plans] = await fanout.plan_users(session, [Audience(content, now, user_ids, beside)])
    return [planned for plan in plans.values() for planned in plan]


_PLAN_FOR: dict[str, Callable[[AsyncSession, NewContent, datetime], Awaitable[Plan]]] = {
    "identity.User": _for_user,
    "identity.Project": _for_project,
    "identity.Domain": _for_domain,
}
