"""Creates that share a transaction: what was said at the same time is written with one statement for each kind of row.

One create is a group of one: there is no other way to write it. Who may create what was judged before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import access, announcements, fanout, once
from resolvers.access import Caller
from resolvers.announcements import Reached
from resolvers.context import Server
from resolvers.errors import Refused
from resolvers.fanout import AT_ONCE, Choice, Plan, Saying
from resolvers.grouping import MAX_WEIGHT
from resolvers.once import Said
from storage import contents, fanouts, ids, inboxes, routing
from storage.contents import NewContent
from storage.creations import NewNotification
from storage.errors import DatabaseUnavailable
from storage.fanouts import NewFanout
from storage.idempotency import Claim
from storage.inboxes import Owner


@dataclass(frozen=True)
class Call:
    """A create that may go ahead."""

    caller: Caller
    content: NewContent
    now: datetime
    claim: Claim | None

    @property
    def weight(self) -> int:
        """How many recipients it may have in its transaction. A domain's has that for itself.

        Whom it reaches is whoever is known by then, and those before it make users known.
        """
        return {"identity.User": 1, "identity.Project": AT_ONCE}.get(self.content.resource_type or "", MAX_WEIGHT)


@dataclass(frozen=True)
class _Addressed:
    """A create with those whom it reaches: at once, later, and, of a domain of many, everybody later."""

    saying: Saying
    later: Mapping[datetime, Sequence[str]] = field(default_factory=dict)
    is_for_all: bool = False


async def say(server: Server, calls: Sequence[Call]) -> list[Said | Exception]:
    """What each of these calls led to, in their order; of one that led to nothing, why.

    Where their transaction fails, each is tried again in one of its own, so that none fails for another's sake. Not so
    where the database did not answer: it may have been lost during the commit, and they would be said twice.
    """
    try:
        outcomes, reached = await server.database.write(lambda session: _say_once(session, calls))
    except Exception as error:
        if len(calls) == 1 or isinstance(error, DatabaseUnavailable):
            return [error] * len(calls)
        return [outcome for call in calls for outcome in await say(server, [call])]
    await announcements.announce(server, reached)
    if any(isinstance(outcome, Said) and outcome.recipient_count > AT_ONCE for outcome in outcomes):
        server.wake_fanout()
    return [*outcomes]


async def _say_once(session: AsyncSession, calls: Sequence[Call]) -> tuple[Sequence[Said | Refused], Reached]:
    async def new(numbers: Sequence[int]) -> tuple[Sequence[Said], Reached]:
        return await _say(session, [calls[number] for number in numbers], known=_people(calls))

    return await once.unless_said(session, [call.claim for call in calls], new)


async def _say(
    session: AsyncSession, calls: Sequence[Call], *, known: Collection[Owner]
) -> tuple[Sequence[Said], Reached]:
    stored = await contents.insert(session, [call.content for call in calls])
    addressed = await _address(session, calls, stored)
    reached = await fanout.reach(session, [each.saying for each in addressed], known=known)
    said = []
    for each, its in zip(addressed, reached, strict=True):
        row = its.notifications[0]
        later = await _leave_for_later(session, each, row)
        recipients = len(each.saying.user_ids) + later
        said.append(once.said(row, recipient_count=recipients, delivery_count=len(its.deliveries)))
    return said, fanout.together(reached)


async def _address(session: AsyncSession, calls: Sequence[Call], stored: Sequence[NewContent]) -> list[_Addressed]:
    by_type: dict[str, list[_Stored]] = defaultdict(list)
    for call, content in zip(calls, stored, strict=True):
        by_type[content.resource_type or ""].append((call, content))
    addressed: dict[int, _Addressed] = {}
    for resource_type, some in by_type.items():
        for each in await _ADDRESS[resource_type](session, some):
            addressed[each.saying.content.content_id] = each
    return [addressed[content.content_id] for content in stored]


async def _to_users(_session: AsyncSession, some: Sequence[_Stored]) -> list[_Addressed]:
    return [_Addressed(_saying(call, content, user_ids=[content.resource_id or ""])) for call, content in some]


async def _to_projects(session: AsyncSession, some: Sequence[_Stored]) -> list[_Addressed]:
    projects: dict[str, set[str]] = defaultdict(set)
    for _, content in some:
        projects[content.domain_id].add(content.resource_id or "")
    routes = {
        domain_id: await routing.of_projects(session, domain_id, sorted(project_ids))
        for domain_id, project_ids in projects.items()
    }
    choices = [
        Choice(content, call.now, routes[content.domain_id].get(content.resource_id or "", ()))
        for call, content in some
    ]
    plans = await fanout.plan(session, choices)
    return [_to_project(call, content, plan) for (call, content), plan in zip(some, plans, strict=True)]


def _to_project(call: Call, content: NewContent, plan: Plan) -> _Addressed:
    users, later = fanout.users_behind(plan), fanout.users_behind_later(plan)
    is_crowd = len(users) > AT_ONCE
    saying = _saying(
        call,
        content,
        user_ids=() if is_crowd else users,
        project_id=content.resource_id,
        record_id=ids.new(ids.NOTIFICATION),
        record_plan=plan,
    )
    return _Addressed(saying, later | {call.now: users} if is_crowd else later)


async def _to_domains(session: AsyncSession, some: Sequence[_Stored]) -> list[_Addressed]:
    return [await _to_domain(session, call, content) for call, content in some]


async def _to_domain(session: AsyncSession, call: Call, content: NewContent) -> _Addressed:
    for caller in _people([call]):  # who is one of those reached
        await inboxes.register(session, caller.domain_id, [caller.owner_id])
    users = await inboxes.known_users(session, content.domain_id, limit=AT_ONCE + 1)
    is_crowd = len(users) > AT_ONCE
    record_id = ids.new(ids.NOTIFICATION)
    saying = _saying(call, content, user_ids=() if is_crowd else users, record_id=record_id, record_plan=())
    return _Addressed(saying, is_for_all=is_crowd)


_Stored = tuple[Call, NewContent]
_ADDRESS: Mapping[str, Callable[[AsyncSession, Sequence[_Stored]], Awaitable[list[_Addressed]]]] = {
    "identity.User": _to_users,
    "identity.Project": _to_projects,
    "identity.Domain": _to_domains,
}
RESOURCE_TYPES = frozenset(_ADDRESS)


def _saying(call: Call, content: NewContent, **what: Any) -> Saying:
    return Saying(content, created_by=call.caller.user_id, now=call.now, **what)


async def _leave_for_later(session: AsyncSession, addressed: _Addressed, record: NewNotification) -> int:
    """Keep those whom the record's create does not reach at once; how many they are."""
    later = [(_fanout(record, due_at=due_at), users) for due_at, users in addressed.later.items()]
    await fanouts.start(session, later)
    if addressed.is_for_all:
        return await fanouts.start_for_domain(session, _fanout(record, due_at=record.created_at))
    return sum(map(len, addressed.later.values()))


def _fanout(record: NewNotification, *, due_at: datetime) -> NewFanout:
    return NewFanout(
        record_id=record.notification_id,
        domain_id=record.domain_id,
        content_id=record.content_id,
        project_id=record.project_id,
        created_by=record.created_by,
        due_at=due_at,
    )


def _people(calls: Sequence[Call]) -> set[Owner]:
    """The inboxes of those callers who have one: it is made with the first that they write."""
    callers = [call.caller for call in calls if call.caller.role in access.PEOPLE]
    return {inboxes.of_user(caller.domain_id, caller.user_id) for caller in callers}
