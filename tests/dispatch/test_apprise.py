from __future__ import annotations

import asyncio
import importlib.util
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import structlog
from apprise import plugins as services
from apprise.manager_plugins import NotificationManager

from dispatch.network import Network
from dispatch.plugins import DispatchRequest, JsonObject, Result, apprise_services, registry, schemas
from dispatch.plugins import apprise as plugin_module
from dispatch.plugins.apprise import DATA_SCHEMA, Apprise
from dispatch.plugins.schemas import SchemaViolation
from storage.models import AttemptOutcome, NotificationType
from tests.dispatch.test_plugins import request
from tests.sink import PATIENCE, Answer, Close, Hang, Sink

TOKEN = "token-of-the-url"
TELEGRAM = "tgram://123456789:abcdefg_hijklmnop/-1001234567/"
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
UNKNOWN_URLS = [
    "nonsense://host/path",
    "json://",
    "slack://too-short",
    "https://hooks.test/of-nobody",
    "file:///etc/passwd",
    "x://",
    "json://[::1",
]
Make = Callable[..., Apprise]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes plugins with these settings; the loopback is allowed unless told otherwise."""
    made: list[tuple[Apprise, Network]] = []

    def make(*allow: str, networks: str = "127.0.0.0/8") -> Apprise:
        network = Network([ip_network(each) for each in networks.split(",") if each], PATIENCE)
        made.append((Apprise(network, allow=allow), network))
        return made[-1][0]

    yield make
    for plugin, network in made:
        await plugin.close()
        await network.close()


async def send(plugin: Apprise, url: str, **fields: Any) -> Result:
    message: DispatchRequest = request({"url": url}, **fields)
    async with asyncio.timeout(PATIENCE):
        return await plugin.dispatch(message)


async def refused(plugin: Apprise, data: JsonObject) -> SchemaViolation:
    with pytest.raises(SchemaViolation) as caught:
        await plugin.inspect(data)
    return caught.value


def here(sink: Sink, more: str = "") -> str:
    return f"json://127.0.0.1:{sink.port}/{TOKEN}{more}"


class TestServices:
    """Which services may be used without the operator's leave."""

    def test_one_that_may_has_no_host_in_its_urls_and_is_not_on_this_machine(self) -> None:
        for schema in apprise_services.fixed():
            service = NotificationManager()[schema]
            details = services.details(service)

            assert not {"host", "hostname", "port", "server", "domain"} & details["tokens"].keys(), schema
            assert not {"host", "server", "domain", "relay", "smtp", "keyfile"} & details["args"].keys(), schema
            assert not any("{host}" in template for template in details["templates"]), schema
            assert all("{schema}://{" in template for template in details["templates"]), schema  # local: nothing
            assert schema in str(service.secure_protocol)
            assert hasattr(sys.modules[service.__module__], "requests"), schema

    @pytest.mark.parametrize(
        "schema",
        [
            *("json", "jsons", "xml", "xmls", "form", "forms", "apprise", "apprises"),  # anybody's HTTP
            *("gotify", "ntfy", "ntfys", "matrix", "mmost", "rocket", "mastodon", "signal", "hassio"),  # self-hosted
            *("mailto", "mailtos", "mqtt", "mqtts", "xmpp", "amqp", "irc", "smpp", "rsyslog", "aprs"),  # not HTTP
            *("syslog", "dbus", "qt", "kde", "glib", "gnome", "macosx", "windows", "blink1"),  # this machine
            *("zulip", "nostr", "bluesky", "bsky", "vapid", "fcm"),  # a host or a file without a name for it
        ],
    )
    def test_one_that_reaches_any_host_or_this_machine_may_not(self, schema: str) -> None:
        assert schema in NotificationManager()
        assert schema not in apprise_services.fixed()

    @pytest.mark.parametrize(
        "schema", ["slack", "discord", "tgram", "pover", "pbul", "gchat", "pagerduty", "opsgenie", "twilio", "sendgrid"]
    )
    def test_the_well_known_ones_may(self, schema: str) -> None:
        assert schema in apprise_services.fixed()

    async def test_the_operator_allows_one_by_its_name_and_no_other(self, make: Make) -> None:
        await make("json").inspect({"url": "json://127.0.0.1/"})

        for plugin, url in [(make(), "json://127.0.0.1/"), (make("json"), "jsons://127.0.0.1/")]:
            assert (await refused(plugin, {"url": url})).message == apprise_services.NOT_ALLOWED

    @pytest.mark.parametrize("url", ["xmpp://user:password@127.0.0.1/", "mqtt://127.0.0.1/topic"])
    async def test_one_that_no_guard_could_hold_is_refused_even_so(self, make: Make, url: str) -> None:
        await refused(make("xmpp", "mqtt"), {"url": url})

        assert (await send(make("xmpp", "mqtt"), url)).outcome is not AttemptOutcome.OK


class TestChannelData:
    """What is seen of channel data before anything is sent."""

    @pytest.mark.parametrize("data", [{"url": SLACK}, {"urls": [SLACK, TELEGRAM]}])
    async def test_it_is_one_url_or_several(self, make: Make, data: JsonObject) -> None:
        schemas.validate(data, DATA_SCHEMA)
        await make().inspect(data)

    @pytest.mark.parametrize(
        "data",
        [
            {},
            {"url": SLACK, "urls": [SLACK]},
            {"url": "slack"},
            {"url": f"{SLACK}\n"},
            {"url": "slack:/x"},
            {"url": f"slack://{'x' * 5_000}"},
            {"urls": []},
            {"urls": [SLACK, SLACK]},
            {"url": SLACK, "tag": "x"},
        ],
    )
    def test_other_data_does_not_meet_the_schema(self, data: JsonObject) -> None:
        with pytest.raises(SchemaViolation) as caught:
            schemas.validate(data, DATA_SCHEMA)

        assert "T1JJ3T3L2" not in caught.value.message

    @pytest.mark.parametrize("url", UNKNOWN_URLS)
    async def test_a_url_of_no_service_is_refused(self, make: Make, url: str) -> None:
        violation = await refused(make("json"), {"url": url})

        assert (violation.path, violation.message) == (("url",), apprise_services.UNKNOWN)

    async def test_of_several_urls_the_wrong_one_is_named(self, make: Make) -> None:
        assert (await refused(make(), {"urls": [SLACK, "syslog://local0"]})).path == ("urls", "1")

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "a.localhost"])
    async def test_a_host_that_can_be_seen_to_be_refused_is(self, make: Make, host: str) -> None:
        violation = await refused(make("json", networks=""), {"url": f"json://{host}/{TOKEN}"})

        assert violation.message == "The destination's address is not allowed."

    @pytest.mark.parametrize("file", ["/etc/passwd", "file:///etc/passwd", "http://127.0.0.1/", "https://hooks.test/"])
    @pytest.mark.parametrize("url", ["discord://123/abc", SLACK, TELEGRAM])
    async def test_no_url_makes_this_machine_read_a_file_or_fetch_one(self, make: Make, url: str, file: str) -> None:
        await make().inspect({"url": url})
        await refused(make(), {"url": f"{url}?template={file}"})

    def test_each_url_is_a_part(self, make: Make) -> None:
        assert make().parts({"urls": [SLACK, TELEGRAM]}) == [{"url": SLACK}, {"url": TELEGRAM}]
        assert make().parts({"url": SLACK}) == [{"url": SLACK}]

    def test_what_goes_to_one_service_is_limited_together_and_named_without_a_token(self, make: Make) -> None:
        assert make().destination({"url": SLACK}) == "slack"
        assert make().destination({"urls": [TELEGRAM, SLACK, TELEGRAM]}) == "slack,tgram"


class TestDispatch:
    """What becomes of a message."""

    @pytest.mark.parametrize(
        ("said", "sent"),
        [
            (NotificationType.INFO, "info"),
            (NotificationType.SUCCESS, "success"),
            (NotificationType.WARNING, "warning"),
            (NotificationType.ERROR, "failure"),
        ],
    )
    async def test_it_is_sent_with_its_type(self, make: Make, sink: Sink, said: NotificationType, sent: str) -> None:
        result = await send(make("json"), here(sink), notification_type=said)

        assert result == Result(AttemptOutcome.OK)
        assert sink.received[0].json["type"] == sent

    @pytest.mark.parametrize(
        ("taken", "body"),
        [
            ("text", "3 * 2 GiB left\n\nhost: web_1"),
            ("markdown", "3 \\* 2 GiB left\n\n- **host**: web\\_1"),
            ("html", "<p>3 * 2 GiB left</p>\n<ul>\n<li><strong>host</strong>: web_1</li>\n</ul>"),
        ],
    )
    async def test_it_has_the_form_that_the_service_takes(self, make: Make, sink: Sink, taken: str, body: str) -> None:
        message = {"title": "Disk full", "description": "3 * 2 GiB left", "tags": {"host": "web_1"}}
        await send(make("json"), here(sink, f"?format={taken}"), message=message)

        received = sink.received[0].json
        assert (received["title"], received["message"].strip()) == ("Disk full", body)

    async def test_a_message_of_a_title_alone_is_sent(self, make: Make, sink: Sink) -> None:
        assert (await send(make("json"), here(sink), message={"title": "Disk full"})).outcome is AttemptOutcome.OK
        assert sink.received[0].json["message"] == "Disk full"

    async def test_of_a_text_of_any_length_no_more_is_converted_than_the_service_may_take(
        self, make: Make, sink: Sink
    ) -> None:
        began = time.process_time()
        result = await send(make("json"), here(sink, "?format=html"), message={"description": "[" * 200_000})

        assert result.outcome is AttemptOutcome.OK
        assert len(sink.received[0].json["message"]) > 30_000
        assert time.process_time() - began < PATIENCE

    async def test_a_refusal_is_tried_again_and_its_reason_told(self, make: Make, sink: Sink) -> None:
        sink.otherwise = Answer(503, b"of-the-answer")
        result = await send(make("json"), here(sink))

        assert result.outcome is AttemptOutcome.RETRY
        assert "503" in str(result.error)

    async def test_of_a_reason_no_part_of_the_url_is_told(self, make: Make, sink: Sink) -> None:
        sink.otherwise = Close()
        result = await send(make("json"), here(sink))

        assert result.error == "A Connection error occurred sending JSON notification to ********."

    @pytest.mark.parametrize("far_side", [Close(), Close(b"HTTP/1.1 what\r\n\r\n"), Close(b"\x00\xff")])
    async def test_a_far_side_that_is_none_is_tried_again(self, make: Make, sink: Sink, far_side: Close) -> None:
        sink.otherwise = far_side

        assert (await send(make("json"), here(sink))).outcome is AttemptOutcome.RETRY

    @pytest.mark.parametrize("url", UNKNOWN_URLS)
    async def test_a_url_of_no_service_is_refused(self, make: Make, url: str) -> None:
        assert (await send(make("json"), url)).outcome is AttemptOutcome.REFUSED

    async def test_a_service_that_is_not_allowed_any_more_is_blocked(self, make: Make, sink: Sink) -> None:
        result = await send(make(), here(sink))

        assert result == Result(AttemptOutcome.BLOCKED, error=apprise_services.NOT_ALLOWED)

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]"])
    async def test_an_inside_address_is_not_connected_to(self, make: Make, sink: Sink, host: str) -> None:
        result = await send(make("json", networks=""), f"json://{host}:{sink.port}/{TOKEN}")

        assert result.outcome in (AttemptOutcome.BLOCKED, AttemptOutcome.REFUSED)
        assert sink.connections == 0

    async def test_one_that_was_judged_is_blocked_at_once(self, make: Make, sink: Sink) -> None:
        result = await send(make("json", networks="10.0.0.0/8"), here(sink))

        assert result == Result(AttemptOutcome.BLOCKED, error="The destination's address is not allowed.")

    async def test_a_proxy_of_the_environment_connects_to_no_host_of_a_caller(
        self, make: Make, sink: Sink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with Sink() as proxy:
            monkeypatch.setenv("http_proxy", proxy.url(""))
            result = await send(make("json"), "json://10.0.0.1/hook")
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            direct = await send(make("json"), here(sink))

        assert (result, proxy.connections) == (Result(AttemptOutcome.BLOCKED, error=apprise_services.PROXIED), 0)
        assert (direct.outcome, len(sink.received)) == (AttemptOutcome.OK, 1)

    @pytest.mark.parametrize("said", ["", "?redirect=yes"])
    async def test_a_redirect_is_not_followed_whatever_the_url_says(self, make: Make, sink: Sink, said: str) -> None:
        sink.otherwise = Answer(302, headers={"location": sink.url("/elsewhere")})

        assert (await send(make("json"), here(sink, said))).outcome is AttemptOutcome.RETRY
        assert len(sink.received) == 1

    @pytest.mark.parametrize("said", ["optional=yes", "retry=3", "retry=3&wait=60", "optional=yes&retry=1"])
    async def test_a_failure_is_one_failure_whatever_the_url_says(self, make: Make, sink: Sink, said: str) -> None:
        sink.otherwise = Answer(500)

        assert (await send(make("json"), here(sink, f"?{said}"))).outcome is AttemptOutcome.RETRY
        assert len(sink.received) == 1

    async def test_a_far_side_that_hangs_keeps_no_thread(
        self, make: Make, sink: Sink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There is one thread, and the URL asks for all the time in the world."""
        monkeypatch.setattr(plugin_module, "THREADS", 1)
        plugin = make("json")
        sink.script.append(Hang())
        hanging = asyncio.create_task(send(plugin, here(sink, "?rto=9999&cto=9999")))
        await sink.wait_for(1)
        hanging.cancel()

        assert (await send(plugin, here(sink))).outcome is AttemptOutcome.OK

    async def test_messages_at_once_do_not_mix(self, make: Make, sink: Sink) -> None:
        plugin = make("json")
        messages = [{"title": f"Number {number}", "description": str(number)} for number in range(40)]
        sink.script.extend([Answer(500 + number % 2) for number in range(40)])
        results = await asyncio.gather(*(send(plugin, here(sink), message=message) for message in messages))

        assert sorted(received.json["message"] for received in sink.received) == sorted(
            message["description"] for message in messages
        )
        assert sum("501" in str(result.error) for result in results) == 20

    async def test_urls_are_not_logged(
        self, make: Make, sink: Sink, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        sink.script.extend([Answer(500), Close()])
        with caplog.at_level(logging.INFO):
            for url in (here(sink), here(sink), "json://[::1", f"nonsense://{TOKEN}"):
                await send(make("json"), url)

        assert len(sink.received) == 2
        printed = capfd.readouterr()
        assert TOKEN not in caplog.text + printed.out + printed.err


def test_the_library_is_loaded_when_it_is_needed_and_not_before() -> None:
    told = "import sys, dispatch.plugins.apprise; print('apprise' in sys.modules, 'requests' in sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", told], cwd=root, capture_output=True, text=True, timeout=60)

    assert done.stdout == "False False\n", done.stderr


async def test_without_the_library_the_plugin_is_not_offered(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.delitem(sys.modules, "dispatch.plugins.apprise")
    with structlog.testing.capture_logs() as lines:
        plugins = registry.discover(network)
        assert "apprise" not in plugins
    await registry.close(plugins.values())

    assert [line["extra"] for line in lines] == ["tocsin[apprise]"]


async def test_the_operators_settings_reach_it(network: Network) -> None:
    plugins = registry.discover(network, {"apprise": {"allow": ["json"]}})
    inspecting = plugins["apprise"]
    assert isinstance(inspecting, Apprise)
    await inspecting.inspect({"url": "json://127.0.0.1/"})
    await registry.close(plugins.values())
