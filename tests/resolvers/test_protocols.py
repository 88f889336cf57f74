from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from dispatch.plugins import PluginInfo, Verification, registry
from resolvers import channel_data, channels, plugins, protocols
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from resolvers.paging import Window
from storage import ids, inboxes
from storage.channels import Kind
from storage.models import JsonObject, Protocol, ProtocolType, ResourceState
from storage.protocols import Filter
from storage.secrets import MASK
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, AWAY_ADMIN, SERVICE, SYSTEM
from tests.resolvers.courier import GOOD_TOKEN, Courier
from tests.resolvers.refusals import at

INTERNAL = ids.internal_protocol("home")
NOBODYS = "protocol-000000000000"
# What is refused before the database is asked is refused alike on both.
ON_ONE_ENGINE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def create(server: Server, caller: Caller = ADMIN, **changes: Any) -> Protocol:
    wish: dict[str, Any] = {"name": "Vans", "plugin_id": "courier", "secret_data": {"token": GOOD_TOKEN}}
    return await protocols.create(server, caller, **{**wish, **changes})


async def stored(server: Server) -> list[Protocol]:
    async with server.database.read() as session:
        return list(await session.exec(select(Protocol)))


async def names(server: Server, caller: Caller = ADMIN, **wanted: Any) -> list[str]:
    listing = await protocols.page(server, caller, wanted=Filter(**wanted), window=Window())
    return [row.name for row in listing.page.rows]


def secret_of(server: Server, protocol: Protocol) -> Any:
    return None if protocol.secret_data is None else server.vault.unseal(protocol.secret_data)


async def test_a_created_protocol_is_kept_as_it_was_asked_for(server: Server, clock: Clock) -> None:
    made = await create(server, options={"region": "north", "vans": 3}, tags={"team": "a"})
    found = await protocols.find(server, ADMIN, made.protocol_id)

    assert found is not None
    kept = made.model_dump()
    assert {name: getattr(found, name) for name in kept} == kept
    assert (found.name, found.plugin_id, found.domain_id) == ("Vans", "courier", "home")
    assert (found.protocol_type, found.state) == (ProtocolType.EXTERNAL, ResourceState.ENABLED)
    assert (found.options, found.tags) == ({"region": "north", "vans": 3}, {"team": "a"})
    assert found.created_at == clock.now
    assert found.protocol_id.startswith("protocol-")


async def test_a_protocol_of_the_built_in_plugins_needs_neither_options_nor_a_secret(server: Server) -> None:
    for plugin_id in ("log", "webhook"):
        made = await create(server, name=plugin_id, plugin_id=plugin_id, secret_data=None)

        assert (made.options, made.secret_data) == ({}, None)


async def test_a_secret_is_sealed_before_it_is_stored(server: Server) -> None:
    made = await create(server)

    assert made.secret_data is not None
    assert GOOD_TOKEN.encode() not in made.secret_data
    assert secret_of(server, made) == {"token": GOOD_TOKEN}


async def test_the_name_of_a_protocol_is_unique_in_its_domain(server: Server) -> None:
    await create(server)

    with pytest.raises(AlreadyExists, check=at("name")):
        await create(server)
    assert (await create(server, AWAY_ADMIN)).name == "Vans"


async def test_of_protocols_created_at_once_under_one_name_one_is_made(server: Server) -> None:
    outcomes = await asyncio.gather(*(create(server) for _ in range(5)), return_exceptions=True)

    assert sum(isinstance(outcome, Protocol) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, AlreadyExists) for outcome in outcomes) == 4
    assert len(await names(server, protocol_type=ProtocolType.EXTERNAL)) == 1


async def test_the_internal_protocols_name_is_taken_before_that_is_stored(server: Server) -> None:
    with pytest.raises(AlreadyExists, check=at("name")):
        await create(server, name="Internal")
    assert await stored(server) == []


async def test_a_protocol_needs_an_installed_plugin(server: Server) -> None:
    with pytest.raises(InvalidArgument, check=at("plugin.pluginId")):
        await create(server, plugin_id="pigeon")


@ON_ONE_ENGINE
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "n" * 256}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"tags": ["a"]}, "tags"),
        ({"options": "fast"}, "plugin.options"),
        ({"options": {"vans": 0}}, "plugin.options.vans"),
        ({"options": {"region": 5}}, "plugin.options.region"),
        ({"options": {"region": "moon"}}, "plugin.options"),
        ({"secret_data": None}, "plugin.secretData.token"),
        ({"secret_data": {}}, "plugin.secretData.token"),
        ({"secret_data": {"token": "x"}}, "plugin.secretData.token"),
        ({"secret_data": {"token": GOOD_TOKEN, "pin": 1234}}, "plugin.secretData.pin"),
        ({"secret_data": [GOOD_TOKEN]}, "plugin.secretData"),
        ({"secret_data": MASK}, "plugin.secretData"),
        ({"secret_data": {"token": MASK}}, "plugin.secretData.token"),
    ],
)
async def test_a_wrong_argument_is_named_and_nothing_is_stored(
    server: Server, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument, check=at(field)):
        await create(server, **changes)
    assert await stored(server) == []


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


async def test_errors_repeat_no_value_of_the_callers(server: Server) -> None:
    for changes in ({"secret_data": {"token": GOOD_TOKEN, "pin": 987654}}, {"options": {"vans": -987654}}):
        with pytest.raises(InvalidArgument) as refused:
            await create(server, **changes)
        assert "987654" not in refused.value.message


async def test_an_update_changes_what_is_given_and_nothing_else(server: Server) -> None:
    made = await create(server, tags={"team": "a"}, options={"vans": 2})
    before = made.model_dump()

    renamed = await protocols.update(server, ADMIN, protocol_id=made.protocol_id, name="Trucks")
    assert renamed.model_dump() == {**before, "name": "Trucks"}

    tagged = await protocols.update(server, ADMIN, protocol_id=made.protocol_id, tags={})
    assert tagged.model_dump() == {**before, "name": "Trucks", "tags": {}}


async def test_a_protocol_may_be_given_its_own_name_but_not_anothers(server: Server) -> None:
    await create(server, name="Trucks")
    made = await create(server)

    assert (await protocols.update(server, ADMIN, protocol_id=made.protocol_id, name="Vans")).name == "Vans"
    with pytest.raises(AlreadyExists, check=at("name")):
        await protocols.update(server, ADMIN, protocol_id=made.protocol_id, name="Trucks")


async def test_of_protocols_renamed_alike_at_once_one_is_renamed(server: Server) -> None:
    made = [await create(server, name=f"protocol {number}") for number in range(4)]
    renames = (protocols.update(server, ADMIN, protocol_id=row.protocol_id, name="The one") for row in made)
    outcomes = await asyncio.gather(*renames, return_exceptions=True)

    assert sum(isinstance(outcome, Protocol) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, AlreadyExists) for outcome in outcomes) == 3


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


async def test_a_protocol_is_disabled_and_enabled(server: Server) -> None:
    made = await create(server)
    for state in (ResourceState.DISABLED, ResourceState.DISABLED, ResourceState.ENABLED):
        changed = await protocols.set_state(server, ADMIN, protocol_id=made.protocol_id, state=state)
        found = await protocols.find(server, ADMIN, made.protocol_id)

        assert found is not None
        assert changed.state is found.state is state


async def test_a_deleted_protocol_is_gone(server: Server) -> None:
    made = await create(server)

    assert await protocols.delete(server, ADMIN, protocol_id=made.protocol_id) == made.protocol_id
    assert await protocols.find(server, ADMIN, made.protocol_id) is None
    with pytest.raises(NotFound, check=at("protocolId")):
        await protocols.delete(server, ADMIN, protocol_id=made.protocol_id)


async def test_a_protocol_that_a_channel_uses_stays(server: Server) -> None:
    made = await create(server)
    channel = await _channel(server, made.protocol_id)

    with pytest.raises(FailedPrecondition, check=at("protocolId")):
        await protocols.delete(server, ADMIN, protocol_id=made.protocol_id)
    await channels.delete(server, ADMIN, Kind.PROJECT, channel_id=channel)
    assert await protocols.delete(server, ADMIN, protocol_id=made.protocol_id) == made.protocol_id


async def test_a_protocol_deleted_while_a_channel_is_made_never_leaves_the_channel_without_it(server: Server) -> None:
    for number in range(8):
        made = await create(server, name=f"protocol {number}", verify=False)
        deletion, channel = await asyncio.gather(
            protocols.delete(server, ADMIN, protocol_id=made.protocol_id),
            _channel(server, made.protocol_id),
            return_exceptions=True,
        )
        kept = await protocols.find(server, ADMIN, made.protocol_id)

        if isinstance(channel, str):
            assert isinstance(deletion, FailedPrecondition)
            assert kept is not None
        else:
            assert isinstance(channel, NotFound)
            assert (deletion, kept) == (made.protocol_id, None)


async def _channel(server: Server, protocol_id: str) -> str:
    channel = await channels.create(
        server, ADMIN, Kind.PROJECT, protocol_id=protocol_id, owner_id="shop", name="c", data={"door": "blue"}
    )
    return channel.channel_id


async def test_the_internal_protocol_is_seen_before_anything_is_written_and_stays_the_last(
    server: Server, clock: Clock
) -> None:
    assert await names(server) == ["Internal"]
    assert await stored(server) == []

    await create(server)
    clock.advance(minutes=1)
    await create(server, name="Trucks")

    assert await names(server) == ["Trucks", "Vans", "Internal"]
    assert len(await stored(server)) == 3


async def test_a_change_stores_the_internal_protocol_with_its_fixed_age(server: Server) -> None:
    await protocols.update(server, ADMIN, protocol_id=INTERNAL, name="Inbox", tags={"x": 1})
    await protocols.set_state(server, ADMIN, protocol_id=INTERNAL, state=ResourceState.DISABLED)
    found = await protocols.find(server, ADMIN, INTERNAL)

    assert found is not None
    assert (found.name, found.tags, found.state) == ("Inbox", {"x": 1}, ResourceState.DISABLED)
    assert found.created_at == datetime(1970, 1, 1, tzinfo=UTC)
    assert await names(server) == ["Inbox"]


@pytest.mark.parametrize("is_stored", [False, True])
async def test_the_internal_protocol_has_no_plugin_to_update_and_cannot_be_deleted(
    server: Server, is_stored: bool
) -> None:
    if is_stored:
        await create(server)

    with pytest.raises(FailedPrecondition, check=at("protocolId")):
        await protocols.update_plugin(server, ADMIN, protocol_id=INTERNAL, options={})
    with pytest.raises(FailedPrecondition, check=at("protocolId")):
        await protocols.delete(server, ADMIN, protocol_id=INTERNAL)


async def test_the_system_sees_and_changes_its_own_internal_protocol_by_id(server: Server) -> None:
    own = ids.internal_protocol(SYSTEM.domain_id)

    assert await protocols.find(server, SYSTEM, own) is not None
    assert (await protocols.update(server, SYSTEM, protocol_id=own, name="Inbox")).name == "Inbox"


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
        await _channel(poorer, made.protocol_id)


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


Operation = Callable[[Server, Caller, str], Awaitable[Any]]

OPERATIONS: dict[str, Operation] = {
    "plugins": lambda server, caller, _: plugins.installed(server, caller),
    "protocol": lambda server, caller, id: protocols.find(server, caller, id),
    "protocols": lambda server, caller, _: protocols.page(server, caller, wanted=Filter(), window=Window()),
    "createProtocol": lambda server, caller, _: create(server, caller, name="another"),
    "updateProtocol": lambda server, caller, id: protocols.update(server, caller, protocol_id=id, name="new"),
    "updateProtocolPlugin": lambda server, caller, id: protocols.update_plugin(server, caller, protocol_id=id),
    "enableProtocol": lambda server, caller, id: protocols.set_state(
        server, caller, protocol_id=id, state=ResourceState.ENABLED
    ),
    "verifyProtocol": lambda server, caller, id: protocols.verify(server, caller, protocol_id=id),
    "deleteProtocol": lambda server, caller, id: protocols.delete(server, caller, protocol_id=id),
}
BY_ID = [name for name in OPERATIONS if name not in ("plugins", "protocol", "protocols", "createProtocol")]


@ON_ONE_ENGINE
@pytest.mark.parametrize("caller", [ALICE, SERVICE])
@pytest.mark.parametrize("name", OPERATIONS)
async def test_protocols_and_plugins_are_the_administrators_business(server: Server, name: str, caller: Caller) -> None:
    made = await create(server)
    with pytest.raises(PermissionDenied):
        await OPERATIONS[name](server, caller, made.protocol_id)


@pytest.mark.parametrize("name", OPERATIONS)
async def test_the_system_may_do_it_in_any_domain(server: Server, name: str) -> None:
    made = await create(server)
    await OPERATIONS[name](server, SYSTEM, made.protocol_id)


@pytest.mark.parametrize("name", BY_ID)
async def test_what_is_not_there_or_another_domains_is_not_found(server: Server, name: str) -> None:
    made = await create(server)
    for caller, protocol_id in ((ADMIN, NOBODYS), (AWAY_ADMIN, made.protocol_id), (AWAY_ADMIN, INTERNAL)):
        with pytest.raises(NotFound, check=at("protocolId")):
            await OPERATIONS[name](server, caller, protocol_id)


@ON_ONE_ENGINE
@pytest.mark.parametrize("name", [*BY_ID, "protocol"])
@pytest.mark.parametrize("protocol_id", ["", "\ud800", "a\0b", "x" * 1_000_000])
async def test_what_cannot_be_an_id_is_an_invalid_argument(server: Server, name: str, protocol_id: str) -> None:
    with pytest.raises(InvalidArgument, check=at("protocolId")):
        await OPERATIONS[name](server, ADMIN, protocol_id)


async def test_another_domains_protocol_is_null_for_a_query(server: Server) -> None:
    made = await create(server)

    assert await protocols.find(server, AWAY_ADMIN, made.protocol_id) is None
    assert await protocols.find(server, AWAY_ADMIN, INTERNAL) is None
    assert await protocols.find(server, ADMIN, NOBODYS) is None


async def test_only_the_system_names_another_domain(server: Server) -> None:
    with pytest.raises(PermissionDenied, check=at("domainId")):
        await create(server, AWAY_ADMIN, domain_id="home")
    with pytest.raises(PermissionDenied, check=at("filter.domainId")):
        await protocols.page(server, AWAY_ADMIN, wanted=Filter(), window=Window(), domain_id="home")

    made = await create(server, SYSTEM, domain_id="home")
    assert made.domain_id == "home"
    listing = await protocols.page(server, SYSTEM, wanted=Filter(), window=Window(), domain_id="home")
    assert [row.name for row in listing.page.rows] == await names(server) == ["Vans", "Internal"]


async def test_pages_are_walked_by_their_cursors_and_counted(server: Server, clock: Clock) -> None:
    for number in range(3):
        await create(server, name=f"protocol {number}", verify=False)
        clock.now += timedelta(seconds=1)
    seen: list[str] = []
    after = None
    for _ in range(4):
        listing = await protocols.page(server, ADMIN, wanted=Filter(), window=Window(first=1, after=after))
        seen += [row.name for row in listing.page.rows]
        after = listing.cursor(listing.page.rows[-1])

    assert seen == ["protocol 2", "protocol 1", "protocol 0", "Internal"]
    assert not listing.page.has_next
    assert await listing.count() == 4


@ON_ONE_ENGINE
@pytest.mark.parametrize("wanted", [Filter(name=""), Filter(protocol_id="\0"), Filter(name="n" * 300)])
async def test_a_filter_that_nothing_could_match_is_an_invalid_argument(server: Server, wanted: Filter) -> None:
    with pytest.raises(InvalidArgument):
        await protocols.page(server, ADMIN, wanted=wanted, window=Window())


async def test_whoever_writes_becomes_known(server: Server) -> None:
    await create(server)

    async with server.database.read() as session:
        assert await inboxes.known_users(session, "home", limit=10) == [ADMIN.user_id]


async def test_reading_makes_nobody_known(server: Server) -> None:
    await names(server)
    await protocols.find(server, ADMIN, INTERNAL)

    async with server.database.read() as session:
        assert await inboxes.known_users(session, "home", limit=10) == []
