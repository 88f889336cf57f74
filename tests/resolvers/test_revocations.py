"""Revoked tokens: whose and from when on, here and in processes that were told later or not at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from dispatch.hub import Hub
from resolvers import access, revocations
from resolvers.access import Caller, Revocations, Role
from resolvers.context import Server
from resolvers.errors import InvalidArgument, Unauthenticated
from storage import revocations as rows
from storage.models import Revocation
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, NEVER, SYSTEM

DEADLINE_S = 20
KEY = b"k" * 44


def _given(server: Server, user_id: str = "alice", domain_id: str = "home", role: Role = Role.USER) -> Caller:
    """A caller by a token that is issued now, as it is read back."""
    token = access.issue(KEY, Caller(domain_id, user_id, role, NEVER, issued_at=server.clock()))
    return access.authenticate(f"Bearer {token}", KEY, server.clock())


def _is_refused(server: Server, caller: Caller) -> bool:
    try:
        server.revocations.check(caller)
    except Unauthenticated:
        return True
    return False


def _elsewhere(server: Server) -> Server:
    """Another process on the same database, which has been told nothing."""
    return replace(server, revocations=Revocations())


async def test_what_was_issued_so_far_is_refused_whatever_its_role_and_what_comes_later_is_not(
    server: Server, clock: Clock
) -> None:
    before, service = _given(server), _given(server, role=Role.SERVICE)
    clock.advance(microseconds=600)  # in the same millisecond

    revoked_at = await revocations.revoke(server, ADMIN, user_id="alice", domain_id=None)

    assert revoked_at == clock()
    clock.advance(milliseconds=1)
    assert _is_refused(server, before)
    assert _is_refused(server, service)
    assert not _is_refused(server, _given(server))


async def test_a_token_that_does_not_say_when_it_was_issued_is_refused(server: Server) -> None:
    assert not _is_refused(server, ALICE)

    await revocations.revoke(server, ADMIN, user_id="alice", domain_id=None)

    assert _is_refused(server, ALICE)


async def test_others_are_not_touched(server: Server) -> None:
    bob, away = _given(server, "bob"), _given(server, "alice", "away")

    await revocations.revoke(server, ADMIN, user_id="alice", domain_id=None)

    assert not _is_refused(server, bob)
    assert not _is_refused(server, away)


async def test_the_system_revokes_in_the_domain_that_it_names(server: Server) -> None:
    here, away = _given(server), _given(server, "alice", "away")

    await revocations.revoke(server, SYSTEM, user_id="alice", domain_id="away")

    assert _is_refused(server, away)
    assert not _is_refused(server, here)


async def test_another_process_learns_of_it_and_is_told_whom_it_concerns(server: Server, clock: Clock) -> None:
    caller, elsewhere = _given(server), _elsewhere(server)
    assert await revocations.refresh(elsewhere, None) == set()
    read_at = clock()
    await revocations.revoke(server, ADMIN, user_id="alice", domain_id=None)
    assert not _is_refused(elsewhere, caller)

    concerned = await revocations.refresh(elsewhere, read_at)

    assert concerned == {("home", "alice")}
    assert _is_refused(elsewhere, caller)


async def test_a_process_that_starts_learns_of_all_and_then_reads_only_what_is_recent(
    server: Server, clock: Clock
) -> None:
    caller = _given(server)
    await revocations.revoke(server, ADMIN, user_id="alice", domain_id=None)
    clock.advance(days=300)
    await revocations.revoke(server, ADMIN, user_id="bob", domain_id=None)

    started = _elsewhere(server)
    assert await revocations.refresh(started, None) == {("home", "alice"), ("home", "bob")}
    assert _is_refused(started, caller)

    assert await revocations.refresh(_elsewhere(server), clock()) == {("home", "bob")}
    clock.advance(hours=2)
    assert await revocations.refresh(_elsewhere(server), clock()) == set()


async def test_the_latest_revocation_counts_in_whatever_order_they_come(server: Server, clock: Clock) -> None:
    early = Revocation(domain_id="home", user_id="alice", revoked_at=clock())
    clock.advance(minutes=1)
    between = _given(server)
    clock.advance(minutes=1)
    late = Revocation(domain_id="home", user_id="alice", revoked_at=clock())

    for revocation in (late, early):
        await server.database.write(lambda session, row=revocation: rows.put(session, row))  # type: ignore[misc]
    server.revocations.learn([late, early])
    elsewhere = _elsewhere(server)
    await revocations.refresh(elsewhere, None)

    assert _is_refused(server, between)
    assert _is_refused(elsewhere, between)


async def test_every_process_is_told_through_the_hub(server: Server) -> None:
    told = asyncio.Event()
    hub = Hub("memory://", check_revocations=told.set)
    await hub.open()

    await revocations.revoke(replace(server, hub=hub), ADMIN, user_id="alice", domain_id=None)

    async with asyncio.timeout(DEADLINE_S):
        await told.wait()
    await hub.close()


async def test_a_user_has_to_be_named_as_users_are(server: Server) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await revocations.revoke(server, ADMIN, user_id="a" * 129, domain_id=None)

    assert refused.value.field == "userId"
