"""A protocol's options and secret: what its plugin says of them, what is kept, and what is never shown."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from dispatch.plugins import PluginInfo, Verification, registry
from resolvers import channel_data, plugins, protocols
from resolvers.context import Server
from resolvers.errors import FailedPrecondition, InvalidArgument
from storage.models import JsonObject, Protocol
from storage.secrets import MASK
from tests.resolvers.callers import ADMIN
from tests.resolvers.courier import GOOD_TOKEN, Courier
from tests.resolvers.refusals import ON_ONE_ENGINE, at
from tests.resolvers.some_protocols import INTERNAL, channel_through, create, secret_of, stored


async def test_a_protocol_of_the_built_in_plugins_needs_neither_options_nor_a_secret(server: Server) -> None:
    for plugin_id in ("log", "webhook"):
        made = await create(server, name=plugin_id, plugin_id=plugin_id, secret_data=None)

        assert (made.options, made.secret_data) == ({}, None)


async def test_a_secret_is_sealed_before_it_is_stored(server: Server) -> None:
    made = await create(server)

    assert made.secret_data is not None
    assert GOOD_TOKEN.encode() not in made.secret_data
    assert secret_of(server, made) == {"token": GOOD_TOKEN}


async def test_a_protocol_needs_an_installed_plugin(server: Server) -> None:
    with pytest.raises(InvalidArgument, check=at("plugin.pluginId")):
        await create(server, plugin_id="pigeon")


async def test_settings_that_the_plugin_finds_wrong_are_not_stored(server: Server) -> None:
    with pytest.raises(FailedPrecondition, check=at("plugin")) as refused:
        await create(server, secret_data={"token": "close sesame"})

    assert refused.value.message == "The token is not known."
    assert await stored(server) == []


async def test_settings_are_stored_unverified_if_that_is_asked_for(server: Server, courier: Courier) -> None:
    made = await create(server, secret_data={"token": "close sesame"}, verify=False)

    assert secret_of(server, made) == {"token": "close sesame"}
    assert courier.verified == []


async def test_of_a_plugin_that_breaks_while_verifying_only_the_errors_class_is_told(
    server: Server, courier: Courier
) -> None:
    await plugins.installed(server, ADMIN)
    courier.broken = True

    with pytest.raises(FailedPrecondition, check=at("plugin")) as refused:
        await create(server)
    assert refused.value.message == "The plugin failed (ConnectionError)."


async def test_a_plugin_that_does_not_answer_is_not_waited_for(
    server: Server, courier: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "ANSWER_SECONDS", 0.0)
    courier.go_on.clear()

    with pytest.raises(FailedPrecondition, check=at("plugin.options")) as refused:
        await create(server)
    assert "TimeoutError" in refused.value.message


async def test_a_secret_among_the_options_would_be_shown_and_is_refused(server: Server) -> None:
    signing = {"signingSecret": "whsec_" + "A" * 44}

    with pytest.raises(InvalidArgument, check=at("plugin.options.signingSecret")):
        await create(server, plugin_id="webhook", options=signing, secret_data=None)
    with pytest.raises(InvalidArgument, check=at("plugin.options.token")):
        await create(server, options={"token": GOOD_TOKEN})
    assert await stored(server) == []
    assert (await create(server, plugin_id="webhook", secret_data=signing)).options == {}


async def test_errors_repeat_no_value_of_the_callers(server: Server) -> None:
    for changes in ({"secret_data": {"token": GOOD_TOKEN, "pin": 987654}}, {"options": {"vans": -987654}}):
        with pytest.raises(InvalidArgument) as refused:
            await create(server, **changes)
        assert "987654" not in refused.value.message


@ON_ONE_ENGINE
@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (None, {"token": GOOD_TOKEN, "pin": "1234"}),
        (MASK, {"token": GOOD_TOKEN, "pin": "1234"}),
        ({"token": MASK, "pin": MASK}, {"token": GOOD_TOKEN, "pin": "1234"}),
        ({"token": MASK, "pin": "5678"}, {"token": GOOD_TOKEN, "pin": "5678"}),
        ({"token": MASK}, {"token": GOOD_TOKEN}),
        ({"token": GOOD_TOKEN, "pin": "0000"}, {"token": GOOD_TOKEN, "pin": "0000"}),
    ],
)
async def test_the_mask_stands_for_what_is_kept(server: Server, sent: Any, kept: dict[str, str]) -> None:
    made = await create(server, secret_data={"token": GOOD_TOKEN, "pin": "1234"})

    updated = await protocols.update_plugin(server, ADMIN, protocol_id=made.protocol_id, secret_data=sent)

    assert secret_of(server, updated) == kept


async def test_the_mask_of_a_key_that_was_never_kept_is_refused(server: Server) -> None:
    made = await create(server)

    with pytest.raises(InvalidArgument, check=at("secretData.pin")):
        await protocols.update_plugin(
            server, ADMIN, protocol_id=made.protocol_id, secret_data={"token": MASK, "pin": MASK}
        )


async def test_an_empty_secret_means_that_there_is_none_any_more(server: Server) -> None:
    made = await create(server, plugin_id="log", secret_data={"unused": "x"})
    updated = await protocols.update_plugin(server, ADMIN, protocol_id=made.protocol_id, secret_data={})

    assert made.secret_data is not None
    assert updated.secret_data is None


async def test_new_options_replace_the_old_ones_and_leave_the_secret(server: Server) -> None:
    made = await create(server, options={"region": "north", "vans": 1})
    updated = await protocols.update_plugin(server, ADMIN, protocol_id=made.protocol_id, options={"vans": 9})

    assert updated.options == {"vans": 9}
    assert secret_of(server, updated) == {"token": GOOD_TOKEN}


@ON_ONE_ENGINE
@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"options": {"vans": 0}}, InvalidArgument, "options.vans"),
        ({"options": "fast"}, InvalidArgument, "options"),
        ({"options": {"region": "moon"}}, InvalidArgument, "options"),
        ({"options": {"pin": "12345"}}, InvalidArgument, "options.pin"),
        ({"secret_data": {"token": "x"}}, InvalidArgument, "secretData.token"),
        ({"secret_data": {}}, InvalidArgument, "secretData.token"),
        ({"secret_data": {"token": "close sesame"}}, FailedPrecondition, "plugin"),
    ],
)
async def test_wrong_new_settings_leave_the_old_ones(
    server: Server, changes: dict[str, Any], error: type[Exception], field: str
) -> None:
    before = (await create(server)).model_dump()

    with pytest.raises(error, check=at(field)):  # type: ignore[arg-type]
        await protocols.update_plugin(server, ADMIN, protocol_id=before["protocol_id"], **changes)
    found = await protocols.find(server, ADMIN, before["protocol_id"])
    assert found is not None
    assert {name: getattr(found, name) for name in before} == before


async def test_the_new_settings_are_verified_together_unless_that_is_not_asked_for(
    server: Server, courier: Courier
) -> None:
    made = await create(server, verify=False)
    await protocols.update_plugin(server, ADMIN, protocol_id=made.protocol_id, options={"vans": 2})
    await protocols.update_plugin(server, ADMIN, protocol_id=made.protocol_id, options={"vans": 3}, verify=False)

    assert courier.verified == [({"vans": 2}, {"token": GOOD_TOKEN})]


async def test_settings_that_changed_while_others_were_verified_are_not_overwritten(
    server: Server, courier: Courier
) -> None:
    made = await create(server)
    courier.go_on.clear()
    courier.asked.clear()
    slow = asyncio.create_task(
        protocols.update_plugin(server, ADMIN, protocol_id=made.protocol_id, secret_data={"token": GOOD_TOKEN})
    )
    async with asyncio.timeout(5):
        await courier.asked.wait()
        new = {"token": MASK, "pin": "9999"}
        with pytest.raises(InvalidArgument):
            await protocols.update_plugin(server, ADMIN, protocol_id=made.protocol_id, secret_data={}, verify=False)
        other = {"token": GOOD_TOKEN, "pin": "9999"}
        await protocols.update_plugin(server, ADMIN, protocol_id=made.protocol_id, secret_data=other, verify=False)
        courier.go_on.set()
        with pytest.raises(FailedPrecondition, check=at("protocolId")):
            await slow

    again = await protocols.update_plugin(server, ADMIN, protocol_id=made.protocol_id, secret_data=new)
    assert secret_of(server, again) == other


async def test_a_verification_says_what_the_plugin_finds_now(server: Server, courier: Courier) -> None:
    made = await create(server)
    wrong = await create(server, name="wrong", secret_data={"token": "close sesame"}, verify=False)

    assert await protocols.verify(server, ADMIN, protocol_id=made.protocol_id) == Verification(True, "Ready.")
    assert await protocols.verify(server, ADMIN, protocol_id=wrong.protocol_id) == Verification(
        False, "The token is not known."
    )
    assert await protocols.verify(server, ADMIN, protocol_id=INTERNAL) == Verification(True)
    courier.broken = True
    assert await protocols.verify(server, ADMIN, protocol_id=made.protocol_id) == Verification(
        False, "The plugin failed (ConnectionError)."
    )


async def _schema(server: Server, protocol: Protocol) -> JsonObject | None:
    return await channel_data.schema(
        server, protocol.protocol_type, plugin_id=protocol.plugin_id, options=protocol.options
    )


async def test_a_protocol_whose_plugin_is_gone_is_shown_but_its_settings_cannot_be_changed(server: Server) -> None:
    made = await create(server)
    poorer = replace(server, plugins={})

    assert await protocols.find(poorer, ADMIN, made.protocol_id) is not None
    assert await _schema(poorer, made) is None
    with pytest.raises(FailedPrecondition, check=at("protocolId")):
        await protocols.update_plugin(poorer, ADMIN, protocol_id=made.protocol_id, options={})
    with pytest.raises(FailedPrecondition, check=at("protocolId")):
        await protocols.verify(poorer, ADMIN, protocol_id=made.protocol_id)
    with pytest.raises(FailedPrecondition, check=at("protocolId")):
        await channel_through(poorer, made.protocol_id)


async def test_a_plugin_is_asked_once_for_the_same_options(server: Server, courier: Courier) -> None:
    made = await create(server, options={"vans": 4})
    asked = courier.inits
    for _ in range(3):
        schema = await _schema(server, made)
        assert schema is not None
        assert schema["required"] == ["door"]

    assert courier.inits == asked


async def test_a_plugin_that_failed_is_asked_again(server: Server, courier: Courier) -> None:
    made = await create(server, verify=False)
    made.options = {"region": "moon"}
    assert await _schema(server, made) is None

    asked = courier.inits
    assert await _schema(server, made) is None
    assert courier.inits == asked + 1


async def test_the_plugins_are_listed_with_their_schemas_but_not_one_that_is_broken(
    server: Server, courier: Courier
) -> None:
    found = {plugin.plugin_id: plugin.info for plugin in await plugins.installed(server, ADMIN)}
    assert list(found) == sorted({"courier", *registry.BUILT_IN.names})
    assert (found["courier"].name, found["courier"].data_is_secret) == ("Courier", True)

    broken = Courier()
    broken.broken = True
    also = replace(server, plugins={**server.plugins, "broken": broken})
    assert [plugin.plugin_id for plugin in await plugins.installed(also, ADMIN)] == sorted(
        {"courier", *registry.BUILT_IN.names}
    )


@pytest.mark.parametrize("schema", [{"$ref": "https://example.com/schema"}, {"type": "no-such-type"}])
@ON_ONE_ENGINE
async def test_a_plugin_whose_schema_cannot_be_used_makes_no_protocol(server: Server, schema: JsonObject) -> None:
    class Elsewhere(Courier):
        async def init(self, options: JsonObject) -> PluginInfo:
            return replace(await super().init(options), data_schema=schema if options else {})

    also = replace(server, plugins={**server.plugins, "elsewhere": Elsewhere()})
    with pytest.raises(InvalidArgument, match="one of its schemas", check=at("plugin.options")):
        await create(also, plugin_id="elsewhere", options={"vans": 1})

    assert await stored(server) == []
