"""Webhooks' signing secrets, as administrators set them."""

from __future__ import annotations

import pytest

from resolvers import protocols
from resolvers.context import Server
from resolvers.errors import InvalidArgument
from storage.models import JsonObject
from tests.resolvers.callers import ADMIN
from tests.resolvers.refusals import at

GOOD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize(
    ("secret", "field"),
    [
        ({"signingSecret": "whsec_c2hvcnQ="}, "signingSecret"),
        ({"signingSecret": "whsec_" + "?" * 32}, "signingSecret"),
        ({"signingSecret": GOOD, "previousSigningSecret": GOOD[:-1]}, "previousSigningSecret"),
    ],
)
async def test_a_malformed_one_is_refused_with_its_place(server: Server, secret: JsonObject, field: str) -> None:
    with pytest.raises(InvalidArgument, check=at(f"plugin.secretData.{field}")):
        await protocols.create(server, ADMIN, name="hook", plugin_id="webhook", secret_data=secret)

    made = await protocols.create(server, ADMIN, name="hook", plugin_id="webhook", secret_data={"signingSecret": GOOD})
    with pytest.raises(InvalidArgument, check=at(f"secretData.{field}")):
        await protocols.update_plugin(server, ADMIN, protocol_id=made.protocol_id, secret_data=secret)


async def test_a_new_one_takes_its_place_beside_the_one_before(server: Server) -> None:
    made = await protocols.create(server, ADMIN, name="hook", plugin_id="webhook", secret_data={"signingSecret": GOOD})
    new = {"signingSecret": GOOD.replace("M", "N", 1), "previousSigningSecret": GOOD}
    updated = await protocols.update_plugin(server, ADMIN, protocol_id=made.protocol_id, secret_data=new)

    assert updated.secret_data is not None
    assert server.vault.unseal(updated.secret_data) == new
