"""Explaining a create: the decisions that creating it would keep, and nothing stored, sent or announced."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sqlmodel import SQLModel, select

from dispatch.planner import DispatchDecision
from resolvers import explanations, notifications, quotas
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import InvalidArgument, PermissionDenied
from resolvers.notifications import Creation
from storage import usages
from storage.models import Decision, DecisionReason, Notification, NotificationLevel, Protocol
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, AWAY_ADMIN, BOB, SERVICE
from tests.resolvers.conftest import Wakes
from tests.resolvers.refusals import at
from tests.resolvers.said import creation, inside, of_user, outside


@pytest.fixture
async def populated(server: Server, protocol: Protocol, clock: Clock) -> None:
    """A project with three channels, whose users Alice and Bob have one each; and a quota that is nearly used up."""
    await outside(server, protocol)
    clock.advance(seconds=1)
    await outside(server, protocol, level=NotificationLevel.LV5)
    clock.advance(seconds=1)
    await inside(server, "bob", "alice")
    for user in (ALICE, BOB):
        await of_user(server, user, protocol)
    await quotas.create(server, ADMIN, protocol_id=protocol.protocol_id, day=4)
    reserve = partial(usages.reserve, protocol_id=protocol.protocol_id, domain_id="home", date="2026-01-31", wanted=2)
    await server.database.write(reserve)


async def _explain(server: Server, creation: Creation, caller: Caller = SERVICE) -> list[DispatchDecision]:
    return await explanations.explain(server, caller, creation)


async def _kept(server: Server, creation: Creation) -> list[DispatchDecision]:
    """What creating it keeps on the record and its children."""
    said = await notifications.create(server, SERVICE, creation)
    async with server.database.read() as session:
        found = await session.exec(select(Notification))
        rows = [row for row in found if said.notification_id in (row.notification_id, row.parent_notification_id)]
    rows.sort(key=lambda row: row.user_id or "")
    return [DispatchDecision.from_json(kept) for row in rows for kept in row.decisions]


async def _stored(server: Server) -> dict[str, list[str]]:
    async with server.database.read() as session:
        return {
            table.name: sorted(map(repr, await session.exec(select(table))))  # type: ignore[call-overload]
            for table in SQLModel.metadata.sorted_tables
        }


@pytest.mark.usefixtures("populated")
@pytest.mark.parametrize(
    "wanted",
    [
        creation("p1", resource_type="identity.Project", notification_level=NotificationLevel.LV1),
        creation("alice"),
        creation("nobody"),
        creation("home", resource_type="identity.Domain"),
        creation("p2", resource_type="identity.Project"),
    ],
    ids=["project", "user", "nobody", "domain", "empty project"],
)
async def test_what_is_explained_is_what_a_create_then_keeps(server: Server, wanted: Creation) -> None:
    assert await _explain(server, wanted) == await _kept(server, wanted)


@pytest.mark.usefixtures("populated")
async def test_every_reason_is_told_and_one_quota_is_shared_by_all(server: Server) -> None:
    wanted = creation("p1", resource_type="identity.Project", notification_level=NotificationLevel.LV1)

    decisions = await _explain(server, wanted)

    assert [(each.decision, each.reason) for each in decisions] == [
        (Decision.SEND, None),
        (Decision.SKIP, DecisionReason.LEVEL),
        (Decision.SEND, None),  # the inboxes
        (Decision.SEND, None),
        (Decision.SKIP, DecisionReason.QUOTA),
    ]


@pytest.mark.usefixtures("populated")
async def test_explaining_leaves_no_trace(server: Server, wakes: Wakes) -> None:
    before = await _stored(server)

    await _explain(server, creation("p1", resource_type="identity.Project", idempotency_key="key"))

    assert await _stored(server) == before
    assert (wakes.worker, wakes.fanout) == (0, 0)


async def test_of_a_crowd_the_first_hundred_are_told_about(
    server: Server, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explanations, "MAX_USERS", 1)
    for user in (ALICE, BOB):
        await of_user(server, user, protocol)
    await inside(server, "alice", "bob")

    of_domain = await _explain(server, creation("home", resource_type="identity.Domain"))
    of_project = await _explain(server, creation("p1", resource_type="identity.Project"))

    assert (len(of_domain), len(of_project)) == (0, 2)  # the first known user is the administrator


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"resource_type": "identity.Planet"}, "resourceType"),
        ({"resource_id": ""}, "resourceId"),
        ({"topic": "x" * 256}, "topic"),
        ({"message": ["no object"]}, "message"),
        ({"idempotency_key": "\0"}, "idempotencyKey"),
        ({"resource_type": "identity.Domain", "resource_id": "home", "domain_id": "away"}, "resourceId"),
    ],
)
async def test_what_a_create_refuses_is_refused(server: Server, changes: dict[str, Any], field: str) -> None:
    wanted = creation(**{"resource_id": "alice", **changes})

    for refuse in (explanations.explain, notifications.create):
        with pytest.raises(InvalidArgument, check=at(field)):
            await refuse(server, SERVICE, wanted)


async def test_users_and_other_domains_are_told_nothing(server: Server) -> None:
    with pytest.raises(PermissionDenied):
        await _explain(server, creation("alice"), ALICE)
    with pytest.raises(PermissionDenied, check=at("domainId")):
        await _explain(server, creation("alice", domain_id="home"), AWAY_ADMIN)


@pytest.mark.usefixtures("populated")
async def test_another_domain_has_other_channels(server: Server) -> None:
    assert await _explain(server, creation("p1", resource_type="identity.Project"), AWAY_ADMIN) == []
    assert await _explain(server, creation("alice"), AWAY_ADMIN) == []
