"""The plugin `spaceone` against a real plugin server that enforces the original's rules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings

from dispatch import message, rpc
from dispatch.addresses import Address
from dispatch.network import Network
from dispatch.plugins import DispatchRequest, JsonObject, Result, Unusable, schemas, structs
from dispatch.plugins.spaceone import GENERAL, OPTIONS_SCHEMA, SpaceONE
from dispatch.plugins.structs import spelled
from storage.models import AttemptOutcome, NotificationType
from tests.dispatch import tls
from tests.dispatch.messages import messages
from tests.dispatch.spaceone_plugin import GOOD_KEY, Failure, Hang, SpaceOnePlugin
from tests.dispatch.test_plugins import request
from tests.sink import PATIENCE, Sink

LOOPBACK = [ip_network("127.0.0.0/8")]
PHONE = {"phone_number": "0123456"}


@pytest.fixture
async def far_side() -> AsyncIterator[SpaceOnePlugin]:
    async with SpaceOnePlugin() as plugin:
        yield plugin


@pytest.fixture
async def spaceone(network: Network) -> AsyncIterator[SpaceONE]:
    plugin = SpaceONE(network)
    yield plugin
    await plugin.close()


def to(endpoint: str, channel_data: JsonObject = PHONE, **fields: Any) -> DispatchRequest:
    options = {"endpoint": endpoint, **fields.pop("options", {})}
    return request(channel_data, **{"secret_data": {}, **fields}, options=options)


class TestInit:
    """What a protocol and its channels need is what the plugin says."""

    async def test_without_options_it_asks_for_an_endpoint(self, spaceone: SpaceONE) -> None:
        assert await spaceone.init({}) is GENERAL

    @pytest.mark.parametrize(("data_type", "is_secret"), [("PLAIN_TEXT", False), ("SECRET", True)])
    async def test_channel_data_is_as_the_plugin_says(
        self, spaceone: SpaceONE, data_type: str, is_secret: bool
    ) -> None:
        async with SpaceOnePlugin(data_type=data_type) as far_side:
            info = await spaceone.init({"endpoint": far_side.endpoint()})

        assert info.data_is_secret is is_secret
        assert info.data_schema["required"] == ["phone_number"]
        # A Struct brought a double, and a person reads an integer.
        assert repr(info.data_schema["properties"]["phone_number"]["minLength"]) == "4"

    async def test_only_the_plugins_own_options_are_sent(self, spaceone: SpaceONE, far_side: SpaceOnePlugin) -> None:
        await spaceone.init({"endpoint": far_side.endpoint(), "issuetype": "Task", "port": 587, "is_on": True})

        assert far_side.inits == [{"issuetype": "Task", "port": "587", "is_on": True}]

    @pytest.mark.parametrize(
        ("metadata", "says"),
        [
            ({}, "does not say"),
            ({"data_type": "PLAIN_TEXT"}, "does not say"),
            ({"data_type": "OTHER", "data": {"schema": {}}}, "does not say"),
            ({"data_type": "SECRET", "data": {"schema": "text"}}, "does not say"),
            ({"data_type": "SECRET", "data": {"schema": {"type": "no-such-type"}}}, "no JSON Schema"),
            ({"data_type": "SECRET", "data": {"schema": {"pattern": "("}}}, "no JSON Schema"),
            ({"data_type": "SECRET", "data": {"schema": {"$ref": "https://example.com/schema"}}}, "refers to others"),
        ],
    )
    async def test_a_plugin_that_does_not_say_it_cannot_be_used(
        self, spaceone: SpaceONE, far_side: SpaceOnePlugin, metadata: JsonObject, says: str
    ) -> None:
        far_side.metadata = metadata

        with pytest.raises(Unusable, match=says):
            await spaceone.init({"endpoint": far_side.endpoint()})

    async def test_a_plugin_that_fails_is_named_by_its_status_alone(
        self, spaceone: SpaceONE, far_side: SpaceOnePlugin
    ) -> None:
        far_side.otherwise = Failure(grpc.StatusCode.INTERNAL, "ERROR_UNKNOWN: of-the-options")

        with pytest.raises(Unusable) as caught:
            await spaceone.init({"endpoint": far_side.endpoint()})

        assert str(caught.value) == "the call ended with INTERNAL"

    async def test_an_endpoint_inside_is_refused_before_anything_is_sent(self, sink: Sink) -> None:
        network = Network([], PATIENCE)
        plugin = SpaceONE(network)
        for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433"):
            with pytest.raises(Unusable, match="not allowed"):
                await plugin.init({"endpoint": f"grpc://{host}:{sink.port}"})
        await network.close()

        assert sink.connections == 0


@pytest.mark.parametrize(
    "endpoint",
    [
        "grpc://plugin:50051",
        "grpc+ssl://plugin.ns.svc.cluster.local:443",
        "grpc://10.0.0.1:1",
        "grpc://[fd00::1]:50051",
    ],
)
def test_an_endpoint_is_a_scheme_a_host_and_a_port(endpoint: str) -> None:
    schemas.validate({"endpoint": endpoint, "anything": ["else"]}, OPTIONS_SCHEMA)

    assert rpc.endpoint(endpoint).port


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "plugin:50051",
        "grpc://plugin",
        "grpc://plugin:",
        "grpc://:50051",
        "http://plugin:50051",
        "unix:///tmp/plugin",
        "grpc://plugin:50051/",
        "grpc://plugin:50051\n",
        "grpc://user@plugin:50051",
        "grpc://plugin:50051,evil:1",
        "dns:///plugin:50051",
        "GRPC://plugin:50051",
        7,
    ],
)
def test_anything_else_is_refused(endpoint: object) -> None:
    with pytest.raises(schemas.SchemaViolation):
        schemas.validate({"endpoint": endpoint}, OPTIONS_SCHEMA)


@pytest.mark.parametrize("endpoint", ["grpc://plugin:65536", "grpc://plugin:0", "grpc://[:::1]:5"])
async def test_an_endpoint_that_only_looks_like_one_is_refused_when_it_is_used(
    spaceone: SpaceONE, endpoint: str
) -> None:
    assert (await spaceone.dispatch(to(endpoint))).outcome is AttemptOutcome.REFUSED


class TestVerify:
    async def test_the_plugin_finds_the_secret_right(self, spaceone: SpaceONE, far_side: SpaceOnePlugin) -> None:
        verification = await spaceone.verify({"endpoint": far_side.endpoint()}, {"access_key": GOOD_KEY, "port": 25})

        assert verification.ok
        assert far_side.verified == [({}, {"access_key": GOOD_KEY, "port": "25"})]

    async def test_what_the_plugin_says_against_it_is_told_without_the_secret(
        self, spaceone: SpaceONE, far_side: SpaceOnePlugin
    ) -> None:
        verification = await spaceone.verify({"endpoint": far_side.endpoint()}, {"access_key": "a-wrong-key"})

        assert not verification.ok
        assert verification.detail == "UNAUTHENTICATED: ERROR_AUTHENTICATE_FAILURE: not {'access_key': '********'}"

    async def test_a_plugin_that_is_not_there_is_no_exception(self, spaceone: SpaceONE) -> None:
        async with SpaceOnePlugin() as gone:
            endpoint = gone.endpoint()

        assert not (await spaceone.verify({"endpoint": endpoint}, {})).ok

    async def test_an_endpoint_inside_is_no_exception_either(self) -> None:
        network = Network([], PATIENCE)
        verification = await SpaceONE(network).verify({"endpoint": "grpc://127.0.0.1:9"}, {})
        await network.close()

        assert verification.detail == "The destination's address is not allowed."


class TestDispatch:
    """The five fields, by the rules."""

    @pytest.mark.parametrize(
        ("kind", "number"),
        [
            (NotificationType.INFO, 1),
            (NotificationType.ERROR, 2),
            (NotificationType.SUCCESS, 3),
            (NotificationType.WARNING, 4),
        ],
    )
    async def test_all_five_fields_are_there_also_when_they_hold_nothing(
        self, spaceone: SpaceONE, far_side: SpaceOnePlugin, kind: NotificationType, number: int
    ) -> None:
        result = await spaceone.dispatch(to(far_side.endpoint(), message={}, notification_type=kind))

        assert result == Result(AttemptOutcome.OK, status_code=0)
        [dispatched] = far_side.dispatched
        assert (dispatched.options, dispatched.secret_data) == ({}, {})
        assert dispatched.notification_type == number
        assert dispatched.message == {"title": "monitoring.alert", "tags": [], "callbacks": []}

    async def test_the_message_has_the_form_that_plugins_need(
        self, spaceone: SpaceONE, far_side: SpaceOnePlugin
    ) -> None:
        said = {"title": "Disk full", "tags": {"State": "TRIGGERED", "Number": 3}, "link": None, "domain_name": "Ops"}
        await spaceone.dispatch(to(far_side.endpoint(), message=said))

        assert far_side.dispatched[0].message == {
            "title": "Disk full",
            "tags": [{"key": "State", "value": "TRIGGERED"}, {"key": "Number", "value": "3"}],
            "callbacks": [],
            "domain_name": "Ops",
        }

    async def test_what_plugins_take_for_texts_are_texts(self, spaceone: SpaceONE, far_side: SpaceOnePlugin) -> None:
        await spaceone.dispatch(to(far_side.endpoint(), message={"title": 1, "description": 5, "occurred_at": 17}))

        texts = {"title": "1", "description": "5", "occurred_at": "17"}
        assert far_side.dispatched[0].message.items() >= texts.items()

    async def test_the_deepest_message_that_is_taken_arrives(
        self, spaceone: SpaceONE, far_side: SpaceOnePlugin
    ) -> None:
        message: JsonObject = {}
        for _ in range(31):  # of the 32 levels that a message may have
            message = {"a": message}
        await spaceone.dispatch(to(far_side.endpoint(), message=message))

        assert str(far_side.dispatched[0].message).count("'a'") == 31

    async def test_integers_go_as_strings_where_the_plugin_has_no_number_in_its_schema(
        self, spaceone: SpaceONE, far_side: SpaceOnePlugin
    ) -> None:
        result = await spaceone.dispatch(
            to(
                far_side.endpoint(),
                {**PHONE, "retries": 3, "country_code": 82, "ratio": 0.5, "is_on": True},
                options={"port": 587},
                secret_data={"smtp_port": 587, "access_key": GOOD_KEY},
            )
        )

        assert result.outcome is AttemptOutcome.OK
        [dispatched] = far_side.dispatched
        assert dispatched.options == {"port": "587"}
        assert dispatched.secret_data == {"smtp_port": "587", "access_key": GOOD_KEY}
        assert dispatched.channel_data == {**PHONE, "retries": 3, "country_code": "82", "ratio": 0.5, "is_on": True}

    async def test_the_schema_is_asked_for_once_and_only_where_it_decides(
        self, spaceone: SpaceONE, far_side: SpaceOnePlugin
    ) -> None:
        for data in (PHONE, {**PHONE, "retries": 1}, {**PHONE, "retries": 2}):
            await spaceone.dispatch(to(far_side.endpoint(), data))

        assert len(far_side.dispatched) == 3
        assert len(far_side.inits) == 1

    async def test_the_plugin_learns_the_delivery_and_the_domain_but_no_token(
        self, spaceone: SpaceONE, far_side: SpaceOnePlugin
    ) -> None:
        await spaceone.dispatch(to(far_side.endpoint()))

        metadata = far_side.dispatched[0].metadata
        assert metadata["transaction_id"] == "delivery-0123456789ab"
        assert metadata["domain_id"] == "d"
        assert metadata["token"] == "NO_TOKEN"

    @pytest.mark.parametrize(("domain_id", "told"), [("domäne", "dom%C3%A4ne"), ("a b\n", "a%20b%0A"), ("a/b", "a/b")])
    async def test_a_domain_of_any_name_is_told(
        self, spaceone: SpaceONE, far_side: SpaceOnePlugin, domain_id: str, told: str
    ) -> None:
        asked = to(far_side.endpoint())
        result = await spaceone.dispatch(replace(asked, envelope=replace(asked.envelope, domain_id=domain_id)))

        assert result.outcome is AttemptOutcome.OK
        assert far_side.dispatched[0].metadata["domain_id"] == told

    async def test_what_no_struct_can_hold_is_refused(self, spaceone: SpaceONE, far_side: SpaceOnePlugin) -> None:
        for value in ("\ud800", 10**400):
            result = await spaceone.dispatch(to(far_side.endpoint(), message={"other": value}))

            assert result.outcome is AttemptOutcome.REFUSED


@settings(max_examples=100)
@given(messages)
def test_whatever_is_said_goes_into_a_struct(said: JsonObject) -> None:
    sent = MessageToDict(structs.struct(message.as_original(said, topic="monitoring.alert")))

    assert isinstance(sent["title"], str)
    assert [set(tag) - {"options"} for tag in sent["tags"]] == [{"key", "value"}] * len(message.tags(said))
    assert isinstance(sent["callbacks"], list)


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ({"a": 1}, {}, {"a": "1"}),
        ({"a": 1}, None, {"a": "1"}),
        ({"a": 2**60}, None, {"a": str(2**60)}),
        ({"a": 1.5, "b": True, "c": None, "d": "x"}, None, {"a": 1.5, "b": True, "c": None, "d": "x"}),
        ({"a": 1}, {"properties": {"a": {"type": "integer"}}}, {"a": 1}),
        ({"a": 1}, {"properties": {"a": {"type": "number"}}}, {"a": 1}),
        ({"a": 1}, {"properties": {"a": {"type": ["integer", "string"]}}}, {"a": "1"}),
        ({"a": 1}, {"properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}, {"a": 1}),
        ({"a": 1, "b": 2}, {"properties": {"a": {"enum": [1, 2]}}}, {"a": 1, "b": "2"}),
        ({"a": [1, {"b": 2}]}, {"properties": {"a": {"items": {"properties": {"b": {"type": "integer"}}}}}}, None),
        ({"a": {"b": 1}}, {"anyOf": [{"properties": {"a": {"properties": {"b": {"type": "integer"}}}}}]}, None),
        (
            {"a": 1},
            {"$defs": {"n": {"type": "integer"}}, "additionalProperties": {"$ref": "#/$defs/n"}},
            {"a": 1},
        ),
    ],
)
def test_an_integer_is_spelled_unless_the_schema_takes_no_string_there(
    value: JsonObject, schema: JsonObject | None, expected: JsonObject | None
) -> None:
    nested: JsonObject = {"a": ["1", {"b": 2}]} if isinstance(value["a"], list) else value

    assert spelled(value, schema) == (nested if expected is None else expected)


class TestOutcomes:
    """What a worker is told of what went wrong."""

    @pytest.mark.parametrize(
        ("status", "details", "outcome"),
        [
            ("UNAVAILABLE", "", AttemptOutcome.RETRY),
            ("INTERNAL", "ERROR_UNKNOWN: the SMS gateway is down", AttemptOutcome.RETRY),
            ("RESOURCE_EXHAUSTED", "", AttemptOutcome.RETRY),
            ("CANCELLED", "", AttemptOutcome.RETRY),
            ("UNIMPLEMENTED", "", AttemptOutcome.RETRY),
            ("DEADLINE_EXCEEDED", "", AttemptOutcome.TIMEOUT),
            ("UNAUTHENTICATED", "ERROR_AUTHENTICATE_FAILURE", AttemptOutcome.REFUSED),
            ("PERMISSION_DENIED", "", AttemptOutcome.REFUSED),
            ("INVALID_ARGUMENT", "ERROR_REQUIRED_PARAMETER: (key = title)", AttemptOutcome.REFUSED),
            ("INVALID_ARGUMENT", "ERROR_CLIENT_REQUEST_FAILED: 429 Too Many Requests", AttemptOutcome.RETRY),
        ],
    )
    async def test_a_status_says_whether_to_try_again(
        self, spaceone: SpaceONE, far_side: SpaceOnePlugin, status: str, details: str, outcome: AttemptOutcome
    ) -> None:
        code = grpc.StatusCode[status]
        far_side.script.append(Failure(code, details))
        result = await spaceone.dispatch(to(far_side.endpoint()))

        assert result == Result(
            outcome,
            status_code=code.value[0],
            error=f"The call ended with {status}.",
            response_excerpt=details or None,
        )
        assert len(far_side.peers) == 1  # gRPC repeated nothing by itself

    async def test_a_long_text_is_kept_in_part(self, spaceone: SpaceONE, far_side: SpaceOnePlugin) -> None:
        far_side.otherwise = Failure(grpc.StatusCode.UNAUTHENTICATED, "x" * 30_000)
        result = await spaceone.dispatch(to(far_side.endpoint()))

        assert result.outcome is AttemptOutcome.REFUSED
        assert result.response_excerpt == "x" * 20_000

    async def test_a_plugin_that_is_not_there_is_tried_again(self, spaceone: SpaceONE) -> None:
        async with SpaceOnePlugin() as gone:
            endpoint = gone.endpoint()
        result = await spaceone.dispatch(to(endpoint))

        assert (result.outcome, result.status_code) == (AttemptOutcome.RETRY, 14)

    async def test_a_plugin_that_does_not_answer_is_given_up_after_the_deadline(self, far_side: SpaceOnePlugin) -> None:
        far_side.otherwise = Hang()
        network = Network(LOOPBACK, 0.2)
        plugin = SpaceONE(network)
        result = await plugin.dispatch(to(far_side.endpoint()))
        await asyncio.wait_for(far_side.given_up.wait(), PATIENCE)
        await plugin.close()
        await network.close()

        assert result.outcome is AttemptOutcome.TIMEOUT

    async def test_a_server_that_speaks_no_grpc_is_tried_again(self, spaceone: SpaceONE, sink: Sink) -> None:
        result = await spaceone.dispatch(to(f"grpc://127.0.0.1:{sink.port}"))

        assert result.outcome in (AttemptOutcome.RETRY, AttemptOutcome.TIMEOUT)

    async def test_a_name_that_does_not_resolve_is_tried_again(self) -> None:
        async def resolve(host: str, port: int) -> Sequence[Address]:
            raise OSError(-2, "of-the-endpoint")

        network = Network([], 1, resolve=resolve)
        result = await SpaceONE(network).dispatch(to("grpc://plugin.test:1"))
        await network.close()

        assert result == Result(AttemptOutcome.RETRY, error="The request failed: the name cannot be resolved.")

    async def test_a_schema_that_cannot_be_asked_for_is_a_failed_attempt(
        self, spaceone: SpaceONE, far_side: SpaceOnePlugin
    ) -> None:
        data = {**PHONE, "retries": 1}
        far_side.script.append(Failure(grpc.StatusCode.INTERNAL))
        failed = await spaceone.dispatch(to(far_side.endpoint(), data))
        far_side.metadata = {}
        unusable = await spaceone.dispatch(to(far_side.endpoint(), data))

        assert failed.error == "The call ended with INTERNAL."
        assert unusable.error == "The plugin cannot be used: it does not say what a channel's data has to be."


class TestConnections:
    """Where calls go, and over what."""

    async def test_an_address_inside_is_blocked_without_a_connection(self, sink: Sink) -> None:
        network = Network([], PATIENCE)
        plugin = SpaceONE(network)
        for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f000001"):
            result = await plugin.dispatch(to(f"grpc://{host}:{sink.port}"))

            assert result.outcome is AttemptOutcome.BLOCKED, host
        await network.close()

        assert sink.connections == 0

    async def test_a_call_goes_to_the_address_that_was_judged(self, far_side: SpaceOnePlugin) -> None:
        """A second answer, which points elsewhere, is not asked for while the channel is kept."""
        answers = iter([[ip_address("10.9.9.9"), ip_address("127.0.0.1")]])
        asked: list[str] = []

        async def resolve(host: str, port: int) -> Sequence[Address]:
            asked.append(host)
            return next(answers)

        network = Network(LOOPBACK, PATIENCE, resolve=resolve)
        plugin = SpaceONE(network)
        results = [await plugin.dispatch(to(far_side.endpoint("plugin.test"))) for _ in range(2)]
        await plugin.close()
        await network.close()

        assert [result.outcome for result in results] == [AttemptOutcome.OK, AttemptOutcome.OK]
        assert asked == ["plugin.test"]
        assert len(set(far_side.peers)) == 1  # over one connection

    async def test_of_several_addresses_the_one_that_answers_is_used(self, far_side: SpaceOnePlugin) -> None:
        async def resolve(host: str, port: int) -> Sequence[Address]:
            return [ip_address("::1"), ip_address("127.0.0.2"), ip_address("127.0.0.1")]

        network = Network([*LOOPBACK, ip_network("::1/128")], PATIENCE, resolve=resolve)
        plugin = SpaceONE(network)
        result = await plugin.dispatch(to(far_side.endpoint("several.test")))
        await plugin.close()
        await network.close()

        assert result.outcome is AttemptOutcome.OK

    async def test_no_proxy_is_used(
        self, spaceone: SpaceONE, far_side: SpaceOnePlugin, sink: Sink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("no_proxy", raising=False)
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, sink.url(""))
        result = await spaceone.dispatch(to(far_side.endpoint()))

        assert result.outcome is AttemptOutcome.OK
        assert sink.connections == 0

    async def test_after_a_restart_the_plugin_is_reached_at_once(self, spaceone: SpaceONE) -> None:
        """A channel that found nobody there is not waited for, and the name is judged anew."""
        async with SpaceOnePlugin() as former:
            endpoint = former.endpoint()
            await spaceone.dispatch(to(endpoint))
        gone = await spaceone.dispatch(to(endpoint))
        async with SpaceOnePlugin(port=former.port) as present:
            result = await spaceone.dispatch(to(endpoint))

        assert (gone.outcome, result.outcome) == (AttemptOutcome.RETRY, AttemptOutcome.OK)
        assert len(present.dispatched) == 1

    async def test_channels_are_bounded_and_one_in_use_is_not_closed(
        self, network: Network, far_side: SpaceOnePlugin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rpc, "MAX_KEPT", 1)
        plugin = SpaceONE(network)
        far_side.otherwise = Hang()
        hanging = asyncio.create_task(plugin.dispatch(to(far_side.endpoint())))
        await far_side.called(1)
        async with SpaceOnePlugin() as other:
            result = await plugin.dispatch(to(other.endpoint()))

        assert result.outcome is AttemptOutcome.OK
        assert not far_side.given_up.is_set()
        hanging.cancel()
        await asyncio.wait([hanging])
        await asyncio.wait_for(far_side.given_up.wait(), PATIENCE)
        await plugin.close()

    @pytest.mark.parametrize(("trusted", "outcome"), [(True, AttemptOutcome.OK), (False, AttemptOutcome.RETRY)])
    async def test_over_tls_the_plugin_has_to_show_a_certificate_for_the_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool, outcome: AttemptOutcome
    ) -> None:
        async def resolve(host: str, port: int) -> Sequence[Address]:
            return [ip_address("127.0.0.1")]

        certificate = tls.certificate(tmp_path, "plugin.test")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate if trusted else tls.certificate(tmp_path, "other.test")))
        network = Network(LOOPBACK, PATIENCE, resolve=resolve)
        plugin = SpaceONE(network)
        async with SpaceOnePlugin(tls=certificate) as far_side:
            result = await plugin.dispatch(to(far_side.endpoint("plugin.test")))
            misnamed = await plugin.dispatch(to(far_side.endpoint("impostor.test")))
        await plugin.close()
        await network.close()

        assert result.outcome is outcome
        assert misnamed.outcome is AttemptOutcome.RETRY

    async def test_who_leaves_ends_the_call(self, spaceone: SpaceONE, far_side: SpaceOnePlugin) -> None:
        far_side.otherwise = Hang()
        sending = asyncio.create_task(spaceone.dispatch(to(far_side.endpoint())))
        await far_side.called(1)
        sending.cancel()
        await asyncio.wait_for(far_side.given_up.wait(), PATIENCE)

        with pytest.raises(asyncio.CancelledError):
            await sending
