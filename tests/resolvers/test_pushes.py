"""Pushing: what is kept, what is refused, and what the same key does."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from resolvers import protocols, pushes
from resolvers.context import Server
from resolvers.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from resolvers.pushes import Push
from storage import ids
from storage.models import DeliveryState, ResourceState
from tests.resolvers.callers import ADMIN, AWAY_ADMIN, SERVICE
from tests.resolvers.conftest import Wakes
from tests.resolvers.courier import GOOD_TOKEN, Courier
from tests.resolvers.said import MESSAGE, log_protocol


async def test_a_push_keeps_a_record_and_its_one_delivery(server: Server, wakes: Wakes) -> None:
    protocol = await log_protocol(server)

    pushed = await pushes.push(server, SERVICE, Push(protocol.protocol_id, data={}, message=MESSAGE))

    assert (pushed.record.user_id, pushed.record.project_id, pushed.record.inbox) == (None, None, None)
    assert (pushed.record.content.topic, pushed.record.content.message) == (pushes.DEFAULT_TOPIC, MESSAGE)
    assert pushed.delivery.notification_id == pushed.record.notification_id
    assert (pushed.delivery.channel_id, pushed.delivery.state) == (None, DeliveryState.PENDING)
    assert wakes.worker == 1


async def test_a_push_goes_through_enabled_external_protocols_of_the_domain(server: Server) -> None:
    internal = ids.internal_protocol("home")
    with pytest.raises(InvalidArgument, match="EXTERNAL"):
        await pushes.push(server, SERVICE, Push(internal, data={"users": ["a"]}, message=MESSAGE))
    with pytest.raises(NotFound):
        await pushes.push(server, SERVICE, Push("protocol-000000000000", data={}, message=MESSAGE))
    protocol = await log_protocol(server)
    with pytest.raises(NotFound):
        await pushes.push(server, AWAY_ADMIN, Push(protocol.protocol_id, data={}, message=MESSAGE))
    await protocols.set_state(server, ADMIN, protocol_id=protocol.protocol_id, state=ResourceState.DISABLED)
    with pytest.raises(FailedPrecondition):
        await pushes.push(server, SERVICE, Push(protocol.protocol_id, data={}, message=MESSAGE))


async def test_a_push_with_a_key_is_sent_once(server: Server, wakes: Wakes) -> None:
    protocol = await log_protocol(server)
    wanted = Push(protocol.protocol_id, data={}, message=MESSAGE, idempotency_key="k")

    first, again = [await pushes.push(server, SERVICE, wanted) for _ in range(2)]

    assert (first.replayed, again.replayed) == (False, True)
    assert first.delivery.delivery_id == again.delivery.delivery_id
    assert wakes.worker == 1


async def test_a_repeat_may_name_the_callers_own_domain_or_not(server: Server) -> None:
    wanted = Push((await log_protocol(server)).protocol_id, data={}, message=MESSAGE, idempotency_key="k")
    first = await pushes.push(server, SERVICE, wanted)
    again = await pushes.push(server, SERVICE, replace(wanted, domain_id=SERVICE.domain_id))

    assert (again.delivery.delivery_id, again.replayed) == (first.delivery.delivery_id, True)


async def test_a_key_is_for_one_body(server: Server) -> None:
    wanted = Push((await log_protocol(server)).protocol_id, data={}, message=MESSAGE, idempotency_key="k")
    await pushes.push(server, SERVICE, wanted)

    with pytest.raises(AlreadyExists) as caught:
        await pushes.push(server, SERVICE, replace(wanted, topic="another"))

    assert caught.value.field == "idempotencyKey"


async def test_concurrent_duplicates_are_sent_once(server: Server, wakes: Wakes) -> None:
    wanted = Push((await log_protocol(server)).protocol_id, data={}, message=MESSAGE, idempotency_key="k")

    async with asyncio.timeout(30):
        answers = await asyncio.gather(*(pushes.push(server, SERVICE, wanted) for _ in range(8)))

    assert len({answer.delivery.delivery_id for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 7
    assert wakes.worker == 1


@pytest.mark.parametrize("since", ["disabled", "deleted", "uninstalled", "broken"])
async def test_a_repeat_is_answered_as_the_first_call_whatever_became_of_its_protocol(
    server: Server, courier: Courier, since: str
) -> None:
    protocol = await protocols.create(
        server, ADMIN, name="courier", plugin_id="courier", secret_data={"token": GOOD_TOKEN}
    )
    wanted = Push(protocol.protocol_id, data={"door": "red"}, message=MESSAGE, idempotency_key="k")
    first = await pushes.push(server, SERVICE, wanted)
    now = server
    match since:
        case "disabled":
            disabled = ResourceState.DISABLED
            await protocols.set_state(server, ADMIN, protocol_id=protocol.protocol_id, state=disabled)
        case "deleted":
            await protocols.delete(server, ADMIN, protocol_id=protocol.protocol_id)
        case "uninstalled":
            now = replace(server, plugins={})
        case "broken":
            courier.broken = True

    again = await pushes.push(now, SERVICE, wanted)

    assert (again.replayed, again.record.notification_id) == (True, first.record.notification_id)
    assert again.delivery.delivery_id == first.delivery.delivery_id
    if since in ("disabled", "deleted", "uninstalled"):  # what a new key is refused for
        with pytest.raises((FailedPrecondition, NotFound)):
            await pushes.push(now, SERVICE, replace(wanted, idempotency_key="another"))
