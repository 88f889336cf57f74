"""Who sees which deliveries, and what is refused."""

from __future__ import annotations

from functools import partial

import pytest

from resolvers import deliveries
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import InvalidArgument, PermissionDenied
from resolvers.paging import Window
from storage.deliveries import Filter
from storage.models import Delivery, DeliveryState
from storage.verdicts import Verdict
from tests.dispatch import rows
from tests.resolvers import working
from tests.resolvers.callers import ADMIN, ALICE, AWAY_ADMIN, BOB, SERVICE, SYSTEM

ALL = Window()


@pytest.fixture
async def made(server: Server) -> dict[str, Delivery]:
    """One through a project's channel, one through Alice's own, one of a push by somebody else, and one elsewhere."""
    said, through = rows.content(domain_id="home"), rows.protocol(domain_id="home")
    await rows.store(server.database, said, through)
    make = partial(rows.delivery, said, through)
    made = {
        "project": make(channel_id="c1"),
        "alice": make(channel_id="c2", user_id="alice"),
        "push": make(created_by="other"),
        "away": make(domain_id="away"),
    }
    await rows.enqueue(server.database, *made.values())
    return made


@pytest.mark.parametrize(
    ("caller", "domain_id", "seen"),
    [
        (ADMIN, None, {"project", "alice", "push"}),
        (SERVICE, None, {"project"}),
        (ALICE, None, {"alice"}),
        (BOB, None, set()),
        (AWAY_ADMIN, None, {"away"}),
        (SYSTEM, "home", {"project", "alice", "push"}),
        (SYSTEM, "away", {"away"}),
    ],
)
async def test_everybody_lists_their_own(
    server: Server, made: dict[str, Delivery], caller: Caller, domain_id: str | None, seen: set[str]
) -> None:
    listing = await deliveries.page(server, caller, Filter(), domain_id=domain_id, window=ALL)

    assert {row.delivery_id for row in listing.page.rows} == {made[name].delivery_id for name in seen}
    assert await listing.count() == len(seen)


@pytest.mark.parametrize(
    ("caller", "seen"),
    [
        (ADMIN, {"project", "alice", "push"}),
        (SERVICE, {"project"}),
        (ALICE, {"alice"}),
        (BOB, set()),
        (AWAY_ADMIN, {"away"}),
        (SYSTEM, {"project", "alice", "push", "away"}),
    ],
)
async def test_what_is_not_the_callers_looks_as_if_there_were_none(
    server: Server, made: dict[str, Delivery], caller: Caller, seen: set[str]
) -> None:
    for name, row in made.items():
        found = await deliveries.find(server, caller, row.delivery_id)
        assert (found is not None) is (name in seen)
    assert await deliveries.find(server, caller, "delivery-ffffffffffff") is None


async def test_another_domain_is_out_of_reach(server: Server) -> None:
    with pytest.raises(PermissionDenied):
        await deliveries.page(server, ADMIN, Filter(), domain_id="away", window=ALL)


async def test_pages_follow_each_other(server: Server, made: dict[str, Delivery]) -> None:
    first = await deliveries.page(server, ADMIN, Filter(), domain_id=None, window=Window(first=2))
    after = first.cursor(first.page.rows[-1])
    rest = await deliveries.page(server, ADMIN, Filter(), domain_id=None, window=Window(first=2, after=after))

    seen = [row.delivery_id for row in [*first.page.rows, *rest.page.rows]]
    assert seen == sorted(seen, reverse=True)  # they were all made at the same moment
    assert (len(seen), first.page.has_next, rest.page.has_next) == (3, True, False)


async def test_attempts_are_given_by_their_delivery(server: Server, made: dict[str, Delivery]) -> None:
    [claimed] = await working.claim(server.database, limit=1)
    await working.record(server.database, claimed.delivery, Verdict(DeliveryState.DELIVERED))

    found = await deliveries.attempts(server, [row.delivery_id for row in made.values()])

    assert {delivery_id: len(of_one) for delivery_id, of_one in found.items()} == {claimed.delivery.delivery_id: 1}


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (Filter(delivery_ids=["fine", "\0"]), "filter.deliveryIds.1"),
        (Filter(delivery_ids=["x"] * 1_001), "filter.deliveryIds"),
        (Filter(notification_id="\ud83d"), "filter.notificationId"),
        (Filter(channel_id="x" * 1_000), "filter.channelId"),
        (Filter(protocol_id=""), "filter.protocolId"),
    ],
)
async def test_ids_that_no_row_could_have_are_refused(server: Server, wanted: Filter, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await deliveries.page(server, ADMIN, wanted, domain_id=None, window=ALL)

    assert caught.value.field == field


async def test_an_id_that_no_row_could_have_is_refused(server: Server) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await deliveries.find(server, ADMIN, "delivery-\0")

    assert caught.value.field == "deliveryId"
