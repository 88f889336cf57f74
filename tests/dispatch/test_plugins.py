from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, EntryPoints
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import structlog

from dispatch.addresses import Address
from dispatch.network import Network
from dispatch.plugins import DispatchRequest, Envelope, JsonObject, Plugin, registry, schemas
from dispatch.plugins.log import Log
from dispatch.plugins.schemas import SchemaViolation
from dispatch.plugins.webhook import DATA_SCHEMA, LONGEST_WAIT, RESERVED_HEADERS, Webhook
from storage.models import AttemptOutcome, NotificationLevel, NotificationType
from tests.dispatch import tls
from tests.dispatch.rows import SATURDAY_EVENING
from tests.sink import PATIENCE, Answer, Sink

URL = "https://hooks.test/abc"
LOOPBACK = [ip_network("127.0.0.0/8")]
ELSEWHERE: JsonObject = {"$ref": "http://127.0.0.1:9/schema.json"}  # which nobody fetches


def request(channel_data: JsonObject, **fields: Any) -> DispatchRequest:
    envelope = Envelope(
        delivery_id="delivery-0123456789ab",
        notification_id="notification-0123456789ab",
        domain_id="d",
        topic="monitoring.alert",
        notification_level=NotificationLevel.LV2,
        created_at=SATURDAY_EVENING,
        attempted_at=SATURDAY_EVENING,
    )
    defaults: dict[str, Any] = {
        "options": {},
        "message": {"title": "Disk full", "secret": "of-the-message"},
        "notification_type": NotificationType.ERROR,
        "secret_data": {"key": "of-the-protocol"},
        "channel_data": channel_data,
        "envelope": envelope,
    }
    return DispatchRequest(**{**defaults, **fields})


@pytest.fixture(params=["log", "webhook"])
def built_in(request: pytest.FixtureRequest, network: Network) -> Plugin:
    make: Callable[[Network], Plugin] = registry.BUILT_IN[request.param].load()
    return make(network)


async def test_a_built_in_plugin_asks_for_nothing_but_channel_data(built_in: Plugin) -> None:
    info = await built_in.init({})

    schemas.validate({}, info.options_schema)
    schemas.validate({}, info.secret_schema)
    assert (await built_in.verify({}, {})).ok
    assert info.name


@pytest.mark.parametrize(
    "data",
    [
        {"url": URL},
        {"url": "http://127.0.0.1:8080/hook?a=b#c"},
        {"url": "HTTPS://user:password@hooks.test"},
        {"url": URL, "headers": {}},
        {"url": URL, "headers": {"Authorization": "Bearer x", "X-Any_thing.1": "", "user-agent": "mine"}},
    ],
)
def test_a_webhooks_data_is_a_url_and_headers(data: JsonObject) -> None:
    schemas.validate(data, DATA_SCHEMA)


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({}, ("url",)),
        ({"url": 1}, ("url",)),
        ({"url": ""}, ("url",)),
        ({"url": "ftp://hooks.test"}, ("url",)),
        ({"url": "file:///etc/passwd"}, ("url",)),
        ({"url": "http://"}, ("url",)),
        ({"url": "http:///path"}, ("url",)),
        ({"url": "//hooks.test"}, ("url",)),
        ({"url": f"{URL}\r\nX-Evil: 1"}, ("url",)),
        ({"url": f"{URL}\n"}, ("url",)),
        ({"url": f"{URL} x"}, ("url",)),
        ({"url": f"{URL}{'x' * 2_048}"}, ("url",)),
        ({"url": URL, "method": "GET"}, ()),
        ({"url": URL, "headers": []}, ("headers",)),
        ({"url": URL, "headers": {"x": 1}}, ("headers", "x")),
        ({"url": URL, "headers": {"x": "a\r\nb: c"}}, ("headers", "x")),
        ({"url": URL, "headers": {"x": "a\n"}}, ("headers", "x")),
        ({"url": URL, "headers": {"x": "ä"}}, ("headers", "x")),
        ({"url": URL, "headers": {"x": "a" * 5_000}}, ("headers", "x")),
        ({"url": URL, "headers": {"a b": "c"}}, ("headers",)),
        ({"url": URL, "headers": {"a\n": "c"}}, ("headers",)),
        ({"url": URL, "headers": {"": "c"}}, ("headers",)),
        ({"url": URL, "headers": {f"x{number}": "" for number in range(33)}}, ("headers",)),
        *(({"url": URL, "headers": {name.title(): "x"}}, ("headers",)) for name in RESERVED_HEADERS),
    ],
)
def test_other_webhook_data_is_refused_with_the_place_and_without_the_value(data: JsonObject, path: tuple[str]) -> None:
    with pytest.raises(SchemaViolation) as caught:
        schemas.validate(data, DATA_SCHEMA)

    assert caught.value.path == path
    assert "hooks.test" not in caught.value.message
    assert "Evil" not in caught.value.message


class TestSchemas:
    """What is told of a mismatch."""

    @pytest.mark.parametrize(
        ("value", "schema", "path", "message"),
        [
            ({}, {"required": ["a"]}, ("a",), "This is required."),
            ({"a": {}}, {"properties": {"a": {"required": ["b"]}}}, ("a", "b"), "This is required."),
            ([1, "x"], {"items": {"type": "integer"}}, ("1",), "This must be of the type integer."),
            (
                {"a": 1},
                {"properties": {"a": {"type": ["string", "null"]}}},
                ("a",),
                "This must be of the type string or null.",
            ),
            ({"a": "secret"}, {"properties": {"a": {"enum": ["x", "y"]}}}, ("a",), "This must be one of x, y."),
            (
                {"secret": 1},
                {"additionalProperties": False},
                (),
                "There is something here that the schema does not know.",
            ),
            ("secret", {"minLength": 10}, (), "This must have 10 characters at least."),
            ("secret", {"const": "x"}, (), "This does not meet the schema (const)."),
        ],
    )
    def test_it_is_where_and_what_was_asked(
        self, value: Any, schema: JsonObject, path: tuple[str], message: str
    ) -> None:
        with pytest.raises(SchemaViolation) as caught:
            schemas.validate(value, schema)

        assert (caught.value.path, caught.value.message) == (path, message)

    def test_a_key_of_any_length_is_repeated_in_part(self) -> None:
        with pytest.raises(SchemaViolation) as caught:
            schemas.validate({"k" * 1_000: 1}, {"additionalProperties": {"type": "string"}})

        assert caught.value.path == ("k" * 64,)

    @pytest.mark.parametrize("schema", [ELSEWHERE, {"$ref": "#"}], ids=["elsewhere", "a circle"])
    def test_nothing_meets_a_schema_that_leads_nowhere(self, schema: JsonObject) -> None:
        with pytest.raises(SchemaViolation, match="leads nowhere"):
            schemas.validate({}, schema)

    @pytest.mark.parametrize(
        "schema",
        [
            ELSEWHERE,
            {"properties": {"a": {"items": ELSEWHERE}}},
            {"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"c": {}}},
            {"$schema": "http://json-schema.org/draft-04/schema#", "$ref": 5},
            {"type": "no-such-type"},
        ],
    )
    def test_a_schema_that_leads_nowhere_is_noticed_before_it_is_used(self, schema: JsonObject) -> None:
        with pytest.raises(SchemaViolation):
            schemas.require_valid(schema)

    @pytest.mark.parametrize(
        "schema",
        [
            {"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "string"}}},
            {"$id": "https://example.com/a", "$ref": "b", "$defs": {"b": {"$id": "b"}}},
            {"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/b", "definitions": {"b": {}}},
            {"properties": {"$ref": {"type": "string"}}, "enum": [ELSEWHERE]},
        ],
    )
    def test_a_schema_may_refer_to_what_is_in_it(self, schema: JsonObject) -> None:
        schemas.require_valid(schema)


async def test_the_log_plugin_logs_one_line_without_data_or_secrets(network: Network) -> None:
    with structlog.testing.capture_logs() as lines:
        result = await Log(network).dispatch(request({"email": "of-the-channel"}))

    assert result.outcome is AttemptOutcome.OK
    (line,) = lines
    assert line["event"] == "notification"
    assert (line["title"], line["topic"], line["notification_level"]) == ("Disk full", "monitoring.alert", "LV2")
    assert not any(secret in str(line) for secret in ("of-the-channel", "of-the-protocol", "of-the-message"))


class TestWebhook:
    """What a worker is told of what went wrong."""

    async def test_a_url_that_is_none_is_refused(self, network: Network) -> None:
        for url in ("http://[::1", "http://hooks.test:99999/", "gopher://hooks.test/"):
            result = await Webhook(network).dispatch(request({"url": url}))

            assert result.outcome is AttemptOutcome.REFUSED, url
            assert result.error == "The address or one of the headers is not valid."

    async def test_a_header_that_http_does_not_allow_is_refused(self, network: Network, sink: Sink) -> None:
        result = await Webhook(network).dispatch(request({"url": sink.url(), "headers": {"x": "a\r\nhost: evil"}}))

        assert result.outcome is AttemptOutcome.REFUSED
        assert sink.received == []

    async def test_a_name_that_does_not_resolve_is_tried_again(self) -> None:
        async def resolve(host: str, port: int) -> Sequence[Address]:
            raise OSError(-2, "of-the-url")

        network = Network([], 1, resolve=resolve)
        result = await Webhook(network).dispatch(request({"url": URL}))
        await network.close()

        assert result.outcome is AttemptOutcome.RETRY
        assert "of-the-url" not in str(result)

    async def test_what_tls_says_is_told(self, tmp_path: Path) -> None:
        async def resolve(host: str, port: int) -> Sequence[Address]:
            return [ip_address("127.0.0.1")]

        async with Sink(tls=tls.serving(tls.certificate(tmp_path, "hooks.test"))) as sink:
            network = Network(LOOPBACK, PATIENCE, resolve=resolve)
            result = await Webhook(network).dispatch(request({"url": sink.url(host="hooks.test")}))
            await network.close()

        assert result.outcome is AttemptOutcome.RETRY
        assert result.error == "The request failed: self-signed certificate."

    async def test_a_silent_receiver_is_a_timeout(self) -> None:
        async def resolve(host: str, port: int) -> Sequence[Address]:
            return await asyncio.Future()

        network = Network([], 0.05, resolve=resolve)
        result = await Webhook(network).dispatch(request({"url": URL}))
        await network.close()

        assert result.outcome is AttemptOutcome.TIMEOUT

    @pytest.mark.parametrize(
        ("said", "seconds"),
        [
            ("120", 120.0),
            ("0", 0.0),
            ("Sat, 31 Jan 2026 17:13:40 GMT", 59.01),
            ("Sat, 31 Jan 2026 17:12:00 GMT", 0.0),
            ("9" * 400, LONGEST_WAIT),
            ("-5", None),
            ("soon", None),
            ("Sat, 99 Jan 2026 17:13:40 GMT", None),
            ("", None),
        ],
    )
    async def test_when_a_receiver_wants_to_be_asked_again_is_told(
        self, network: Network, sink: Sink, said: str, seconds: float | None
    ) -> None:
        sink.otherwise = Answer(429, headers={"retry-after": said})
        result = await Webhook(network).dispatch(request({"url": sink.url()}))

        assert result.outcome is AttemptOutcome.RETRY
        assert result.retry_after == pytest.approx(seconds)

    @pytest.mark.parametrize(
        ("url", "destination"),
        [
            ("https://hooks.test/a?b=c", "hooks.test:443"),
            ("http://Hooks.Test:8080/other", "hooks.test:8080"),
            ("https://user:secret@hooks.test", "hooks.test:443"),
            ("http://[::1]:99999/", ""),
        ],
    )
    def test_what_goes_to_one_host_and_port_is_limited_together(
        self, network: Network, url: str, destination: str
    ) -> None:
        assert Webhook(network).destination({"url": url}) == destination


class Holding(Log):
    """A plugin that has something to let go of."""

    is_closed = False

    async def close(self) -> None:
        self.is_closed = True


class TestDiscovery:
    """Packages bring plugins of their own."""

    @staticmethod
    def offer(monkeypatch: pytest.MonkeyPatch, **plugins: str) -> None:
        """As if a package that declares these entry points were installed."""
        offered = EntryPoints(EntryPoint(name, value, registry.GROUP) for name, value in plugins.items())
        monkeypatch.setattr(registry, "entry_points", lambda *, group: offered.select(group=group))

    def test_the_built_in_ones_are_there(self, network: Network) -> None:
        assert set(registry.discover(network)) >= registry.BUILT_IN.names

    def test_one_is_loaded_when_it_is_asked_for_and_then_kept(self, network: Network) -> None:
        plugins = registry.discover(network)
        built_in = registry.BUILT_IN.names
        assert plugins.loaded.keys().isdisjoint(built_in)

        log = plugins["log"]

        assert isinstance(log, Log)
        assert plugins["log"] is log
        assert built_in & plugins.loaded.keys() == {"log"}
        assert set(plugins) == plugins.loaded.keys()

    def test_a_package_offers_another_one(self, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offer(monkeypatch, pager="dispatch.plugins.log:Log")

        assert isinstance(registry.discover(network)["pager"], Log)

    @pytest.mark.parametrize(
        "value", ["no.such.module:Plugin", "dispatch.plugins.log:Missing", "dispatch.plugins.log:INFO", "builtins:str"]
    )
    def test_a_broken_one_is_logged_and_left_out(
        self, network: Network, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        self.offer(monkeypatch, broken=value, pager="dispatch.plugins.log:Log")
        with structlog.testing.capture_logs() as lines:
            plugins = registry.discover(network)

        assert set(plugins) == registry.BUILT_IN.names | {"pager"}
        assert [line["plugin_id"] for line in lines] == ["broken"]

    def test_a_built_in_one_whose_packages_are_not_installed_is_left_out(
        self, network: Network, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("dispatch.plugins.spaceone", "dispatch.rpc"):
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.setitem(sys.modules, "grpc", None)
        with structlog.testing.capture_logs() as lines:
            plugins = registry.discover(network)
            assert set(plugins) == registry.BUILT_IN.names - {"spaceone"}

        assert plugins.get("spaceone") is None
        assert len(plugins) == len(registry.BUILT_IN) - 1
        assert [(line["event"], line["plugin_id"], line["extra"]) for line in lines] == [
            ("plugin_not_installed", "spaceone", "tocsin[spaceone]")
        ]

    async def test_those_that_hold_something_are_told_when_the_server_ends(self, network: Network) -> None:
        holding = Holding(network)
        await registry.close([Log(network), holding])

        assert holding.is_closed

    def test_none_takes_the_place_of_a_built_in_one(self, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offer(monkeypatch, webhook="dispatch.plugins.log:Log")

        assert isinstance(registry.discover(network)["webhook"], Webhook)
