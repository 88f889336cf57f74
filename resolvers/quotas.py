"""Quotas and usages: how much may go, and has gone, through each protocol. Administrators only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import access, checks, transaction
from resolvers.access import Caller
from resolvers.asking import NOTHING, Asking, listing
from resolvers.context import Server
from resolvers.errors import AlreadyExists, InvalidArgument, NotFound
from resolvers.paging import Listing, Window
from storage import ids, protocols, quotas, usages
from storage.models import ProtocolType, Quota
from storage.scope import Scope
from storage.selected import ALL, Row, Selected

MAX_LIMIT = 2**31 - 1  # what the API's integers hold


async def create(
    server: Server,
    caller: Caller,
    *,
    protocol_id: str,
    day: int | None = None,
    month: int | None = None,
    domain_id: str | None = None,
) -> Quota:
    """Limit what goes through a protocol on a UTC day and in a month. None: unlimited; 0: nothing."""
    access.require(caller, access.ADMINS)
    domain = access.domain_of(caller, domain_id)
    checks.identifier(protocol_id, "protocolId")
    limits = {"day": day, "month": month}
    _check_limits(limits)
    now = server.clock()

    async def work(session: AsyncSession) -> Quota:
        await _lock_protocol(session, protocol_id, Scope(domain))
        if await quotas.is_limited(session, protocol_id):
            raise AlreadyExists("This protocol has a quota: change that one.", field="protocolId")
        quota = Quota(quota_id=ids.new(ids.QUOTA), domain_id=domain, protocol_id=protocol_id, created_at=now, **limits)
        await quotas.create(session, quota)
        return quota

    return await transaction.write(server, caller, work)


async def update(server: Server, caller: Caller, *, quota_id: str, limits: Mapping[str, int | None]) -> Quota:
    """Change the limits, by `day` and `month`, that are given; what is not given stays."""
    access.require(caller, access.ADMINS)
    checks.identifier(quota_id, "quotaId")
    _check_limits(limits)

    async def work(session: AsyncSession) -> Quota:
        quota = await _lock(session, caller, quota_id)
        for period, limit in limits.items():
            setattr(quota, period, limit)
        return quota

    return await transaction.write(server, caller, work)


async def delete(server: Server, caller: Caller, *, quota_id: str) -> str:
    """Limit a protocol no longer, and return the id of its quota. What went through it stays known."""
    access.require(caller, access.ADMINS)
    checks.identifier(quota_id, "quotaId")

    async def work(session: AsyncSession) -> str:
        await quotas.remove(session, await _lock(session, caller, quota_id))
        return quota_id

    return await transaction.write(server, caller, work)


async def find(server: Server, caller: Caller, quota_id: str, *, selected: Selected = ALL) -> Row | None:
    """The quota, or None when there is none to see."""
    access.require(caller, access.ADMINS)
    checks.identifier(quota_id, "quotaId")
    async with server.database.read() as session:
        mine = quotas.in_scope(access.scope_of_id(caller))
        return await mine.find(session, quotas.Filter(quota_id=quota_id), selected)


async def page(
    server: Server,
    caller: Caller,
    *,
    wanted: quotas.Filter,
    window: Window,
    domain_id: str | None = None,
    asking: Asking = NOTHING,
    selected: Selected = ALL,
) -> Listing[Row]:
    """The domain's quotas, newest first."""
    access.require(caller, access.ADMINS)
    records = quotas.in_scope(access.scope(caller, domain_id))
    checks.given(checks.identifier, {"filter.quotaId": wanted.quota_id, "filter.protocolId": wanted.protocol_id})
    return await listing(server, asking, window, records, wanted, selected=selected)


async def page_usages(
    server: Server,
    caller: Caller,
    *,
    wanted: usages.Filter,
    window: Window,
    domain_id: str | None = None,
    asking: Asking = NOTHING,
    selected: Selected = ALL,
) -> Listing[Row]:
    """What went through the domain's protocols, the latest day first."""
    access.require(caller, access.ADMINS)
    records = usages.in_scope(access.scope(caller, domain_id))
    checks.given(checks.identifier, {"filter.protocolId": wanted.protocol_id})
    checks.given(_day, {"filter.dateFrom": wanted.date_from, "filter.dateTo": wanted.date_to})
    return await listing(server, asking, window, records, wanted, selected=selected)


async def _lock(session: AsyncSession, caller: Caller, quota_id: str) -> Quota:
    quota = await quotas.lock(session, quota_id, access.scope_of_id(caller))
    if quota is None:
        raise NotFound("There is no such quota.", field="quotaId")
    return quota


async def _lock_protocol(session: AsyncSession, protocol_id: str, scope: Scope) -> None:
    protocol = await protocols.find(session, protocol_id, scope)
    if protocol is not None and protocol.protocol_type is ProtocolType.INTERNAL:
        raise InvalidArgument("The INTERNAL protocol leads to inboxes, which have no quota.", field="protocolId")
    if await protocols.lock(session, protocol_id, scope) is None:
        raise NotFound("There is no such protocol.", field="protocolId")


def _check_limits(limits: Mapping[str, int | None]) -> None:
    for period, limit in limits.items():
        if limit is not None and not 0 <= limit <= MAX_LIMIT:
            raise InvalidArgument("A limit is a number from 0 on, or null.", field=period)


def _day(value: str, field: str) -> str:
    if not _is_day(value):
        raise InvalidArgument("This must be a day such as 2026-01-31.", field=field)
    return value


def _is_day(value: str) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value  # which has other spellings of a day too
    except ValueError:
        return False
