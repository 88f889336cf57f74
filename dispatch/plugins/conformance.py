"""What every plugin has to do, as tests: for the tests of who writes one. It is never loaded by a server.

    class TestPager(PluginConformance):
        @asynccontextmanager
        async def subject(self) -> AsyncIterator[Subject]:
            async with PagerServer() as far_side:
                yield Subject(Pager(...), channel_data={"number": "1"}, far_side=far_side)

A plugin without a far side leaves that out, and what would need one is skipped. Takes pytest and nothing else; each
test has an event loop of its own, and `subject` is entered in it. Where a conftest.py says
`pytest.register_assert_rewrite("dispatch.plugins.conformance")`, a failure shows what was compared.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import re
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import pytest

from dispatch import redaction
from dispatch.plugins import (
    Addressing,
    Closing,
    DispatchRequest,
    Envelope,
    JsonObject,
    Plugin,
    PluginInfo,
    Result,
    Splitting,
    Verification,
    schemas,
)
from dispatch.redaction import Redactor
from storage.models import AttemptOutcome, NotificationLevel, NotificationType

PATIENCE = 10.0  # seconds for what comes at once
DEADLINE = 0.3  # seconds for a plugin whose far side may hang
PROMPT = 2.0  # seconds for a plugin to end what is cancelled, and to say what it needs
CROWD = 20  # messages sent at once
MOMENT = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)


class Behaviour(StrEnum):
    """What a far side does with messages."""

    WORKING = "WORKING"  # takes them
    REFUSING = "REFUSING"  # says that it will never take this
    FAILING = "FAILING"  # says that it cannot take it now
    HANGING = "HANGING"  # is connected to, and says nothing
    ABSENT = "ABSENT"  # nobody is there


@dataclass(frozen=True)
class Arrival:
    """A message that came, whatever the far side answered."""

    text: str  # all of it, decoded as far as people would read it
    key: str | None = None  # what the far side tells repeats by; None where its protocol has nothing of the kind


class FarSide(Protocol):
    """The external system: a small one of the test's own, on this machine."""

    async def behave(self, behaviour: Behaviour) -> None:
        """From now on. It begins as WORKING."""

    async def until_waited_for(self) -> None:
        """Return once, as HANGING, it has got a message that it does not answer."""

    @property
    def arrivals(self) -> Sequence[Arrival]: ...

    @property
    def contacts(self) -> int:
        """How often anything was asked of it, in whatever way."""


@dataclass(frozen=True)
class Subject:
    """A plugin, and how it is used rightly."""

    plugin: Plugin
    channel_data: JsonObject
    options: JsonObject = field(default_factory=dict)
    secret_data: JsonObject = field(default_factory=dict)
    wrong_secret: JsonObject | None = None  # one that `verify` finds wrong; None where nobody can tell
    far_side: FarSide | None = None
    harmless: Sequence[str] = ()  # parts of secret data that are no secret by themselves, such as a host
    confined: Plugin | None = None  # the same, made with a Network that may not reach the far side


Params = ParamSpec("Params")
Suite = TypeVar("Suite", bound="PluginConformance")
Test = Callable[Concatenate[Suite, Subject, Params], Coroutine[Any, Any, None]]


def _conforms(test: Test[Suite, Params]) -> Callable[Concatenate[Suite, Params], None]:
    """A test that is given the subject, as one that pytest can run by itself."""

    def run(self: Suite, /, *args: Params.args, **kwargs: Params.kwargs) -> None:
        asyncio.run(_run(self, lambda subject: test(self, subject, *args, **kwargs)))

    functools.update_wrapper(run, test)
    # pytest reads the signature, to know which fixtures are asked for: the subject is none.
    signature = inspect.signature(test)
    others = [parameter for name, parameter in signature.parameters.items() if name != "subject"]
    run.__dict__ |= {"__signature__": signature.replace(parameters=others)}
    del run.__dict__["__wrapped__"]
    return run


async def _run(suite: PluginConformance, body: Callable[[Subject], Coroutine[Any, Any, None]]) -> None:
    async with suite.subject() as subject:
        try:
            async with asyncio.timeout(PATIENCE):
                await body(subject)
        finally:
            for plugin in filter(None, (subject.plugin, subject.confined)):
                if isinstance(plugin, Closing):
                    await plugin.close()
    await _require_nothing_left()


async def _require_nothing_left() -> None:
    """What is just ending may end: a far side's own tasks, for example."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=PROMPT)
    assert not left, "something runs on after everything was closed"


MESSAGES: dict[str, JsonObject] = {
    "title": {"title": "conformance"},
    "nothing": {},
    "nulls": {"title": "conformance", "description": None, "link": None, "tags": None, "callbacks": None},
    "no-title": {"description": "conformance"},
    "empty-title": {"title": "", "description": "conformance"},
    "title-of-another-type": {"title": ["conformance", 1, None]},
    "tags-as-object": {"title": "conformance", "tags": {"State": "TRIGGERED", "Number": 3, "None": None, "": ""}},
    "tags-as-list": {
        "title": "conformance",
        "tags": [{"key": "State", "value": "TRIGGERED", "options": {"short": True}}, {"key": "Number", "value": 3}],
    },
    "odd-tags": {"title": "conformance", "tags": [None, 7, "x", [], {}, {"key": None}, {"value": {"a": [1]}}]},
    "everything": {
        "title": "conformance",
        "description": "SSH access\nfrom admin",
        "short_description": "SSH",
        "contents": "# Heading",
        "content_type": "MARKDOWN",
        "link": "https://console.example.test/alert/1?a=b&c=d",
        "image_url": "https://console.example.test/graph.png",
        "tags": [{"key": "State", "value": "TRIGGERED"}],
        "callbacks": [{"label": "Acknowledge", "url": "https://console.example.test/ack"}],
        "occurred_at": "2026-01-31T17:12:40.990Z",
        "domain_name": "Operations",
    },
    "odd-callbacks": {"title": "conformance", "callbacks": [{"label": "x"}, {"url": 1}, None, "y"], "link": 5},
    "unicode": {
        "title": "conformance \u00e4 \u6f22\u5b57 \U0001f514 \u202eevitacol",
        "description": "\u0000\u0007\ufffe\u2028",
    },
    "huge": {"title": "conformance", "description": "word " * 60_000},
    "long-title": {"title": "conformance" + " and so on" * 1_000},
    "many-tags": {"title": "conformance", "tags": {f"tag {number}": number for number in range(500)}},
    "hostile": {
        "title": "conformance\r\nBcc: all@example.test\r\n\r\n<script>alert(1)</script>",
        "description": "{{7*7}} ${x} %s %n '\"; -- ../../etc/passwd <!everyone> [a](javascript:alert(1))",
        "link": "javascript:alert(1)",
        "image_url": "file:///etc/passwd",
        "tags": {"<b>\r\nX: y": "</td></table><img src=x onerror=alert(1)>"},
        "callbacks": [{"label": "<i>", "url": "javascript:alert(1)"}],
    },
    "numbers": {"title": 12.5, "description": 10**15, "level": -1, "ratio": 1e300, "is": True},
    "deep": functools.reduce(lambda inner, _: {"a": inner}, range(30), {"title": "conformance"}),
}


class PluginConformance:
    """To be derived from: a class whose name begins with Test, with `subject` of its own."""

    def subject(self) -> AbstractAsyncContextManager[Subject]:
        """The plugin and its far side, made anew for each test. The suite closes the plugin."""
        raise NotImplementedError

    # What it needs.

    @_conforms
    async def test_init_answers_json_schemas_that_take_what_is_right(self, subject: Subject) -> None:
        general = await subject.plugin.init({})
        info = await subject.plugin.init(copy.deepcopy(subject.options))

        assert isinstance(general, PluginInfo)
        assert general.name
        for schema in (general.options_schema, general.secret_schema, general.data_schema, info.data_schema):
            schemas.require_valid(schema)
            assert schemas.unread_patterns(schema) == []
        schemas.validate(subject.options, general.options_schema)
        schemas.validate(subject.secret_data, general.secret_schema)
        schemas.validate(subject.channel_data, info.data_schema)

    @_conforms
    async def test_init_without_options_is_quick_and_asks_nobody(self, subject: Subject) -> None:
        """The server asks so at any time, to list its plugins."""
        async with asyncio.timeout(PROMPT):
            await subject.plugin.init({})

        assert subject.far_side is None or subject.far_side.contacts == 0

    @_conforms
    async def test_init_answers_the_same_again_and_changes_nothing(self, subject: Subject) -> None:
        options = copy.deepcopy(subject.options)
        first = await subject.plugin.init(options)
        again = await asyncio.gather(*(subject.plugin.init(options) for _ in range(3)))

        assert again == [first] * 3
        assert options == subject.options

    # Whether it works.

    @_conforms
    async def test_verify_finds_what_is_right_right(self, subject: Subject) -> None:
        verification = await subject.plugin.verify(subject.options, subject.secret_data)

        assert isinstance(verification, Verification)
        assert verification.ok, verification.detail

    @_conforms
    async def test_verify_sends_nothing_to_anybody(self, subject: Subject) -> None:
        far_side = _far_side(subject)
        await subject.plugin.verify(subject.options, subject.secret_data)

        assert far_side.arrivals == []

    @_conforms
    async def test_verify_finds_a_wrong_secret_wrong_without_repeating_it(self, subject: Subject) -> None:
        if subject.wrong_secret is None:
            pytest.skip("nobody can tell a wrong secret")
        verification = await subject.plugin.verify(subject.options, subject.wrong_secret)

        assert isinstance(verification, Verification)
        assert not verification.ok
        assert _with(Redactor(redaction.strings(subject.wrong_secret)), verification.detail) == []

    @_conforms
    async def test_verify_raises_nothing_when_nobody_is_there(self, subject: Subject) -> None:
        await _far_side(subject).behave(Behaviour.ABSENT)
        verification = await subject.plugin.verify(subject.options, subject.secret_data)

        assert isinstance(verification, Verification)
        assert _with(Redactor(redaction.strings(subject.secret_data)), verification.detail) == []

    # Messages.

    @pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
    @_conforms
    async def test_a_message_of_any_kind_is_delivered(self, subject: Subject, message: JsonObject) -> None:
        request = _request(subject, message=copy.deepcopy(message))
        result = await subject.plugin.dispatch(request)

        assert isinstance(result, Result)
        assert result.outcome is AttemptOutcome.OK, result
        assert request == _request(subject, message=message), "what the plugin was given is not its to change"
        if subject.far_side is not None:
            [arrival] = subject.far_side.arrivals
            said = f"{message.get('title')} {message.get('description')}"
            assert "conformance" in arrival.text or "conformance" not in said

    @pytest.mark.parametrize("notification_type", NotificationType)
    @_conforms
    async def test_a_message_of_any_type_is_delivered(
        self, subject: Subject, notification_type: NotificationType
    ) -> None:
        result = await subject.plugin.dispatch(_request(subject, notification_type=notification_type))

        assert result.outcome is AttemptOutcome.OK, result

    @_conforms
    async def test_messages_sent_at_once_do_not_mix(self, subject: Subject) -> None:
        requests = [_request(subject, number=number) for number in range(CROWD)]
        results = await asyncio.gather(*map(subject.plugin.dispatch, requests))

        assert [result.outcome for result in results] == [AttemptOutcome.OK] * CROWD
        if subject.far_side is not None:
            said = [_titles(arrival.text) for arrival in subject.far_side.arrivals]
            assert sorted(said) == [[_title(number)] for number in range(CROWD)]

    @_conforms
    async def test_a_repeat_carries_the_same_key_and_another_message_another(self, subject: Subject) -> None:
        far_side = _far_side(subject)
        for number in (1, 1, 2):
            await subject.plugin.dispatch(_request(subject, number=number))
        first, repeat, other = (arrival.key for arrival in far_side.arrivals)
        if first is None:
            pytest.skip("this far side tells repeats by nothing")

        assert repeat == first
        assert other not in (None, first)

    # Failures.

    @pytest.mark.parametrize("behaviour", [Behaviour.REFUSING, Behaviour.FAILING, Behaviour.ABSENT])
    @_conforms
    async def test_a_failure_is_a_result_that_says_what_went_wrong(
        self, subject: Subject, behaviour: Behaviour
    ) -> None:
        await _far_side(subject).behave(behaviour)
        result = await subject.plugin.dispatch(_request(subject))

        assert isinstance(result, Result)
        assert result.outcome is not AttemptOutcome.OK
        assert result.error

    @pytest.mark.parametrize("behaviour", [Behaviour.FAILING, Behaviour.ABSENT])
    @_conforms
    async def test_what_may_pass_is_not_given_up(self, subject: Subject, behaviour: Behaviour) -> None:
        await _far_side(subject).behave(behaviour)
        result = await subject.plugin.dispatch(_request(subject))

        assert result.outcome in (AttemptOutcome.RETRY, AttemptOutcome.TIMEOUT)

    @pytest.mark.parametrize("behaviour", [Behaviour.REFUSING, Behaviour.FAILING, Behaviour.ABSENT])
    @_conforms
    async def test_once_it_works_again_messages_arrive(self, subject: Subject, behaviour: Behaviour) -> None:
        far_side = _far_side(subject)
        await far_side.behave(behaviour)
        await subject.plugin.dispatch(_request(subject))
        before = len(far_side.arrivals)
        await far_side.behave(Behaviour.WORKING)
        result = await subject.plugin.dispatch(_request(subject))

        assert result.outcome is AttemptOutcome.OK, result
        assert len(far_side.arrivals) == before + 1

    @_conforms
    async def test_what_hangs_ends_when_it_is_cancelled(self, subject: Subject) -> None:
        """The worker sets the deadline so: it cancels."""
        far_side = _far_side(subject)
        await far_side.behave(Behaviour.HANGING)
        sending = asyncio.create_task(subject.plugin.dispatch(_request(subject)))
        await far_side.until_waited_for()
        sending.cancel()
        await asyncio.wait([sending], timeout=PROMPT)

        assert sending.done()
        assert sending.cancelled() or sending.result().outcome is not AttemptOutcome.OK
        await far_side.behave(Behaviour.WORKING)
        assert (await subject.plugin.dispatch(_request(subject))).outcome is AttemptOutcome.OK

    @_conforms
    async def test_a_destination_that_is_not_allowed_is_blocked_without_a_connection(self, subject: Subject) -> None:
        if subject.confined is None:
            pytest.skip("nothing that it is given says where it connects to")
        result = await subject.confined.dispatch(_request(subject))

        assert result.outcome is AttemptOutcome.BLOCKED
        assert _far_side(subject).contacts == 0

    # Secrets.

    @pytest.mark.parametrize("behaviour", Behaviour)
    @_conforms
    async def test_no_secret_is_told_or_written_anywhere(
        self,
        subject: Subject,
        behaviour: Behaviour,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        caplog.set_level("DEBUG")
        secrets = await _secrets(subject)
        if subject.far_side is not None:
            await subject.far_side.behave(behaviour)
        told = await _said(subject.plugin.dispatch(_request(subject)))
        verified = await _said(subject.plugin.verify(subject.options, subject.secret_data))
        written = capfd.readouterr()

        assert _with(secrets, told, verified, caplog.text, written.out, written.err) == []

    @_conforms
    async def test_a_destination_has_one_name_without_secrets(self, subject: Subject) -> None:
        if not isinstance(subject.plugin, Addressing):
            pytest.skip("it does not say where its channels lead")
        data = _channel_data(subject)
        name = subject.plugin.destination(data)

        assert name == subject.plugin.destination(copy.deepcopy(data))
        assert _with(await _secrets(subject), name) == []

    @_conforms
    async def test_every_recipient_has_data_that_meets_the_schema(self, subject: Subject) -> None:
        if not isinstance(subject.plugin, Splitting):
            pytest.skip("it has one recipient")
        parts = subject.plugin.parts(subject.channel_data)
        info = await subject.plugin.init(subject.options)

        assert parts
        assert parts == subject.plugin.parts(copy.deepcopy(subject.channel_data))
        for part in parts:
            schemas.validate(part, info.data_schema)


def _far_side(subject: Subject) -> FarSide:
    if subject.far_side is None:
        pytest.skip("it has no far side")
    return subject.far_side


def _channel_data(subject: Subject) -> JsonObject:
    """As `dispatch` is given it: of one recipient."""
    if isinstance(subject.plugin, Splitting):
        return subject.plugin.parts(subject.channel_data)[0]
    return subject.channel_data


def _request(
    subject: Subject,
    *,
    number: int = 0,
    message: JsonObject | None = None,
    notification_type: NotificationType = NotificationType.INFO,
) -> DispatchRequest:
    """A request of which none of the subject's own objects is a part."""
    return DispatchRequest(
        options=copy.deepcopy(subject.options),
        message={"title": _title(number)} if message is None else message,
        notification_type=notification_type,
        secret_data=copy.deepcopy(subject.secret_data),
        channel_data=copy.deepcopy(_channel_data(subject)),
        envelope=Envelope(
            delivery_id=f"delivery-{number:012x}",
            notification_id=f"notification-{number:012x}",
            domain_id="a-domain",
            topic="a.topic",
            notification_level=NotificationLevel.LV1,
            created_at=MOMENT,
            attempted_at=MOMENT,
        ),
    )


def _title(number: int) -> str:
    return f"conformance-{number:02}"


def _titles(text: str) -> list[str]:
    return sorted(set(re.findall(r"conformance-\d\d", text)))


async def _said(answer: Coroutine[Any, Any, Result | Verification]) -> str:
    """All that is told within the time that there is."""
    try:
        async with asyncio.timeout(DEADLINE):
            return str(await answer)
    except TimeoutError:
        return ""


async def _secrets(subject: Subject) -> Redactor:
    """Knows what is hidden from everybody, by all the forms that it takes."""
    info = await subject.plugin.init(subject.options)
    shown = {} if info.data_is_secret else schemas.concealed(subject.channel_data, info.data_schema)
    hidden = set(redaction.strings(subject.channel_data)) - set(redaction.strings(shown))
    secrets = "\n".join([*redaction.strings(subject.secret_data), *hidden])
    for part in subject.harmless:
        secrets = secrets.replace(part, "\n")
    return Redactor(secrets.split("\n"))


def _with(secrets: Redactor, *texts: str | None) -> list[str]:
    """The texts that a secret is in, with a mask in its place: a failing test does not tell it either."""
    redacted = {text: secrets.redact(text) for text in texts if text}
    return [shown for text, shown in redacted.items() if shown != text]
