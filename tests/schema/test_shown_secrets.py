"""No answer holds a secret: a mask stands for it."""

from __future__ import annotations

import pytest

from tests.resolvers.callers import ADMIN, ALICE
from tests.resolvers.courier import GOOD_TOKEN
from tests.schema.operations import CALLS, OWN_INBOX, filled, kind
from tests.schema.world import World


@pytest.mark.parametrize("operation", [operation for operation in CALLS if kind(operation) != "subscription"])
async def test_no_answer_holds_a_secret(world: World, operation: str) -> None:
    """The protocol's token, and the channels' doors, which their plugin says are secret."""
    owner = "admin" if operation in OWN_INBOX else "alice"
    answer = await world.try_out(ADMIN, operation, filled(CALLS[operation], world.of[owner]), depth=4)

    assert answer.error is None
    for secret in (GOOD_TOKEN, '"front"', '"back"', '"1234"'):
        assert secret not in answer.text


async def test_a_secret_is_shown_as_a_mask(world: World) -> None:
    things = world.of["alice"]
    protocol = await world.try_out(ADMIN, "protocol", {"protocolId": things["@protocol"]})
    unused = await world.try_out(ADMIN, "protocol", {"protocolId": things["@unusedProtocol"]})
    channel = await world.try_out(ALICE, "userChannel", {"userChannelId": things["@userChannel"]})

    assert protocol.data["protocol"]["secretData"] == "********"
    assert unused.data["protocol"]["secretData"] is None
    assert channel.data["userChannel"]["data"] == "********"
