"""Whatever is said, the plugins that render nothing take it, too. Mails, pages, Markdown and Structs have their own."""

from __future__ import annotations

import orjson
import structlog
from hypothesis import HealthCheck, given, settings

from dispatch.network import Network
from dispatch.plugins import JsonObject
from dispatch.plugins.log import Log
from dispatch.plugins.webhook import Webhook
from storage.models import AttemptOutcome
from tests.dispatch.messages import messages
from tests.dispatch.test_plugins import request
from tests.sink import Sink

FIXTURES = [HealthCheck.function_scoped_fixture]


@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURES)
@given(said=messages)
async def test_a_webhook_brings_it_as_it_was_said(network: Network, sink: Sink, said: JsonObject) -> None:
    result = await Webhook(network).dispatch(request({"url": sink.url()}, message=said))

    assert result.outcome is AttemptOutcome.OK
    assert orjson.loads(sink.received[-1].body)["message"] == said


@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURES)
@given(said=messages)
async def test_the_log_has_one_line_of_it(network: Network, said: JsonObject) -> None:
    with structlog.testing.capture_logs() as lines:
        result = await Log(network).dispatch(request({}, message=said))

    assert result.outcome is AttemptOutcome.OK
    [line] = lines
    assert line["title"].strip()
    assert not set(line["title"]) & {chr(code) for code in [*range(32), *range(127, 160), 0x2028, 0x2029]}
