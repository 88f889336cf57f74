"""Sending again what ended undelivered: which of it, how much at once, and each once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from resolvers import steering
from resolvers.context import Server
from resolvers.errors import InvalidArgument, PermissionDenied
from storage import states
from storage.models import Channel, DeliveryState, Protocol
from tests.conftest import Clock
from tests.dispatch import rows
from tests.dispatch.rows import SATURDAY_EVENING
from tests.resolvers import steered
from tests.resolvers.callers import AWAY_ADMIN, SYSTEM
from tests.resolvers.conftest import Wakes
from tests.resolvers.refusals import at


async def test_what_died_is_sent_again(server: Server, channel: Channel, wakes: Wakes) -> None:
    made = {state: await steered.delivery(server, state) for state in steered.ENDS}
    woken = wakes.worker

    assert await steered.replay(server) == 1

    after = {state: (await rows.reload(server.database, row)).state for state, row in made.items()}
    assert after == {state: state for state in steered.ENDS} | {DeliveryState.DEAD: DeliveryState.PENDING}
    assert wakes.worker == woken + 1
    assert await steered.replay(server) == 0


async def test_what_was_held_is_sent_again_where_that_is_asked_for(server: Server, channel: Channel) -> None:
    for state in steered.ENDS:
        await steered.delivery(server, state)

    assert await steered.replay(server, states=[DeliveryState.SKIPPED]) == 1
    assert await steered.replay(server, states=[]) == 0
    assert await steered.replay(server, states=[DeliveryState.SKIPPED, DeliveryState.DEAD]) == 1


@pytest.mark.parametrize("state", sorted(set(DeliveryState) - states.REPLAYABLE))
async def test_other_states_cannot_be_replayed(server: Server, state: DeliveryState) -> None:
    with pytest.raises(InvalidArgument, check=at("filter.states")):
        await steered.replay(server, states=[DeliveryState.DEAD, state])


async def test_a_replay_is_narrowed_by_time_filter_and_domain(server: Server, channel: Channel, clock: Clock) -> None:
    row = await steered.delivery(server, DeliveryState.DEAD)

    assert await steered.replay(server, since=clock.now + timedelta(milliseconds=1)) == 0
    assert await steered.replay(server, channel_id="user-ch-000000000000") == 0
    assert await steered.replay(server, created_before=row.created_at) == 0
    assert await steered.replay(server, AWAY_ADMIN) == 0
    assert await steered.replay(server, SYSTEM) == 0
    with pytest.raises(PermissionDenied):
        await steered.replay(server, AWAY_ADMIN, domain_id="home")
    assert await steered.replay(server, SYSTEM, domain_id="home", since=row.created_at, channel_id=row.channel_id) == 1


async def test_what_has_lost_its_content_is_left_out_of_a_replay(server: Server, channel: Channel) -> None:
    gone, kept = [await steered.delivery(server, DeliveryState.DEAD) for _ in range(2)]
    await steered.forget(server, gone)

    assert await steered.replay(server) == 1

    assert (await rows.reload(server.database, gone)).state is DeliveryState.DEAD
    assert (await rows.reload(server.database, kept)).state is DeliveryState.PENDING


async def test_a_replay_takes_a_bounded_number_those_that_ended_first(
    server: Server, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "MAX_REPLAYED", 3)
    said = rows.content(domain_id="home")
    record = rows.notification(said)
    await rows.store(server.database, said, record)
    record.content_id = said.content_id
    await rows.store(server.database, record)
    dead = [
        rows.delivery(said, protocol, state=DeliveryState.DEAD, finished_at=SATURDAY_EVENING - timedelta(hours=hour))
        for hour in range(5)
    ]
    await rows.enqueue(server.database, *dead)

    assert await steered.replay(server) == 3
    now = [(await rows.reload(server.database, row)).state for row in dead]
    assert now == [DeliveryState.DEAD] * 2 + [DeliveryState.PENDING] * 3
    assert await steered.replay(server) == 2


async def test_what_ends_undelivered_again_keeps_nothing_from_its_turn(
    server: Server, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "MAX_REPLAYED", 2)
    made = {(await steered.delivery(server, DeliveryState.DEAD)).delivery_id for _ in range(3)}

    assert await steered.replay(server) == 2
    first = [claimed.delivery for claimed in await steered.claim(server)]
    for delivery in first:
        await steered.record(server, delivery, steered.DEAD, now=SATURDAY_EVENING + timedelta(seconds=1))
    assert await steered.replay(server) == 2

    second = {claimed.delivery.delivery_id for claimed in await steered.claim(server)}
    assert second > made - {delivery.delivery_id for delivery in first}


async def test_replays_at_once_send_each_delivery_again_once(server: Server, channel: Channel) -> None:
    for _ in range(5):
        await steered.delivery(server, DeliveryState.DEAD)

    async with asyncio.timeout(steered.DEADLINE):
        counts = await asyncio.gather(*(steered.replay(server) for _ in range(4)))

    assert sum(counts) == 5
