"""The conformance suite takes a plugin that does everything right, and notices each that does one thing wrong."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from dispatch.plugins import DispatchRequest, JsonObject, PluginInfo, Result, Verification, conformance, schemas
from dispatch.plugins.conformance import MESSAGES, Arrival, Behaviour, PluginConformance, Subject
from storage.models import AttemptOutcome, NotificationType

CODE = "the-code-of-the-pagers"
INFO = PluginInfo(
    name="Pager",
    data_schema={"type": "object", "properties": {"numbers": {"type": "array", "items": {"type": "string"}}}},
    options_schema={"type": "object", "properties": {"region": {"type": "string"}}},
    secret_schema={"type": "object", "properties": {"code": {"type": "string"}}},
    data_is_secret=True,
)
OUTCOMES = {
    Behaviour.WORKING: AttemptOutcome.OK,
    Behaviour.REFUSING: AttemptOutcome.REFUSED,
    Behaviour.FAILING: AttemptOutcome.RETRY,
}


class Office:
    """Where pagers are called from."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.contacts = 0
        self._behaviour = Behaviour.WORKING
        self._waited_for = asyncio.Event()

    async def behave(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    async def until_waited_for(self) -> None:
        await self._waited_for.wait()

    async def page(self, text: str, key: str) -> Behaviour:
        await self.ring()
        self.arrivals.append(Arrival(text, key))
        if self._behaviour is Behaviour.HANGING:
            self._waited_for.set()
            await asyncio.Event().wait()
        return self._behaviour

    async def ring(self) -> None:
        if self._behaviour is Behaviour.ABSENT:
            raise ConnectionRefusedError
        self.contacts += 1
        await asyncio.sleep(0)


class Pager:
    """Does everything right."""

    def __init__(self, office: Office, *, may_connect: bool = True) -> None:
        self.office = office
        self.may_connect = may_connect

    async def init(self, options: JsonObject) -> PluginInfo:
        return INFO

    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        with suppress(ConnectionError):
            await self.office.ring()
            return Verification(ok=secret_data["code"] == CODE)
        return Verification(ok=False, detail="Nobody is there.")

    async def dispatch(self, request: DispatchRequest) -> Result:
        if not self.may_connect:
            return Result(AttemptOutcome.BLOCKED, error="The address is not allowed.")
        try:
            answer = await self.office.page(str(request.message), request.envelope.delivery_id)
        except ConnectionError:
            return Result(AttemptOutcome.RETRY, error="Nobody is there.")
        return Result(OUTCOMES[answer], error=f"It is {answer}.")

    def destination(self, channel_data: JsonObject) -> str:
        return "the office"

    def parts(self, channel_data: JsonObject) -> Sequence[JsonObject]:
        return [{"numbers": [number]} for number in channel_data["numbers"]]

    async def close(self) -> None: ...


class TestPager(PluginConformance):
    """The whole suite, with nothing to skip."""

    plugin = Pager

    @asynccontextmanager
    async def subject(self) -> AsyncIterator[Subject]:
        office = Office()
        yield Subject(
            self.plugin(office),
            options={"region": "north"},
            secret_data={"code": CODE},
            wrong_secret={"code": f"not-{CODE}"},
            channel_data={"numbers": ["0123456789", "9876543210"]},
            far_side=office,
            confined=self.plugin(office, may_connect=False),
        )


class NeedsNoJsonSchema(Pager):
    async def init(self, options: JsonObject) -> PluginInfo:
        return replace(INFO, data_schema={"type": "no-such-type"})


class NeedsOtherOptions(Pager):
    async def init(self, options: JsonObject) -> PluginInfo:
        return replace(INFO, options_schema={"required": ["endpoint"]})


class AsksToBeListed(Pager):
    async def init(self, options: JsonObject) -> PluginInfo:
        await self.office.ring()
        return INFO


class KeepsOptions(Pager):
    async def init(self, options: JsonObject) -> PluginInfo:
        options["seen"] = True
        return INFO


class TrustsAnyone(Pager):
    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        return Verification(ok=True)


class RepeatsTheWrongSecret(Pager):
    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        return Verification(ok=False, detail=f"{secret_data} is wrong.")


class PagesToVerify(Pager):
    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        await self.office.page("a test", "")
        return Verification(ok=True)


class WantsATitle(Pager):
    async def dispatch(self, request: DispatchRequest) -> Result:
        return await super().dispatch(replace(request, message={"title": request.message["title"].strip()}))


class KeepsTheMessage(Pager):
    async def dispatch(self, request: DispatchRequest) -> Result:
        request.message["title"] = "conformance"
        return await super().dispatch(request)


class KnowsOneType(Pager):
    async def dispatch(self, request: DispatchRequest) -> Result:
        if request.notification_type is not NotificationType.INFO:
            return Result(AttemptOutcome.REFUSED, error="Which type is that?")
        return await super().dispatch(request)


class MixesUp(Pager):
    async def dispatch(self, request: DispatchRequest) -> Result:
        self.request = request
        await asyncio.sleep(0)
        return await super().dispatch(self.request)


class DrawsKeys(Pager):
    async def dispatch(self, request: DispatchRequest) -> Result:
        envelope = replace(request.envelope, delivery_id=str(self.office.contacts))
        return await super().dispatch(replace(request, envelope=envelope))


class Raises(Pager):
    async def dispatch(self, request: DispatchRequest) -> Result:
        await self.office.ring()
        return await super().dispatch(request)


class IsAlwaysContent(Pager):
    async def dispatch(self, request: DispatchRequest) -> Result:
        await super().dispatch(request)
        return Result(AttemptOutcome.OK)


class GivesUp(Pager):
    async def dispatch(self, request: DispatchRequest) -> Result:
        result = await super().dispatch(request)
        return result if result.outcome is AttemptOutcome.OK else Result(AttemptOutcome.REFUSED, error="No.")


class Sulks(Pager):
    failed = False

    async def dispatch(self, request: DispatchRequest) -> Result:
        if self.failed:
            return Result(AttemptOutcome.RETRY, error="It has failed before.")
        result = await super().dispatch(request)
        self.failed = result.outcome is not AttemptOutcome.OK
        return result


class IsNotToBeStopped(Pager):
    async def dispatch(self, request: DispatchRequest) -> Result:
        with suppress(asyncio.CancelledError):
            return await super().dispatch(request)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


class ConnectsAnywhere(Pager):
    def __init__(self, office: Office, *, may_connect: bool = True) -> None:
        super().__init__(office)


class Tells(Pager):
    async def dispatch(self, request: DispatchRequest) -> Result:
        return Result(AttemptOutcome.RETRY, error=f"It failed with {request.secret_data}.")


class Chatters(Pager):
    async def dispatch(self, request: DispatchRequest) -> Result:
        sys.stderr.write(f"{request.channel_data}\n")
        return await super().dispatch(request)


class NamesTheNumber(Pager):
    def destination(self, channel_data: JsonObject) -> str:
        return str(channel_data["numbers"][0])


class SplitsOffNothing(Pager):
    def parts(self, channel_data: JsonObject) -> Sequence[JsonObject]:
        return [{"numbers": number} for number in channel_data["numbers"]]


class LeavesATask(Pager):
    async def dispatch(self, request: DispatchRequest) -> Result:
        self.task = asyncio.create_task(asyncio.Event().wait())
        return await super().dispatch(request)


FAILING = {"behaviour": Behaviour.FAILING}
TITLE = {"message": MESSAGES["title"]}
FAULTS: list[tuple[type[Pager], str, dict[str, Any]]] = [
    (NeedsNoJsonSchema, "init_answers_json_schemas_that_take_what_is_right", {}),
    (NeedsOtherOptions, "init_answers_json_schemas_that_take_what_is_right", {}),
    (AsksToBeListed, "init_without_options_is_quick_and_asks_nobody", {}),
    (KeepsOptions, "init_answers_the_same_again_and_changes_nothing", {}),
    (RepeatsTheWrongSecret, "verify_finds_what_is_right_right", {}),
    (TrustsAnyone, "verify_finds_a_wrong_secret_wrong_without_repeating_it", {}),
    (RepeatsTheWrongSecret, "verify_finds_a_wrong_secret_wrong_without_repeating_it", {}),
    (PagesToVerify, "verify_sends_nothing_to_anybody", {}),
    (PagesToVerify, "verify_raises_nothing_when_nobody_is_there", {}),
    (WantsATitle, "a_message_of_any_kind_is_delivered", {"message": MESSAGES["nothing"]}),
    (KeepsTheMessage, "a_message_of_any_kind_is_delivered", {"message": MESSAGES["nothing"]}),
    (KnowsOneType, "a_message_of_any_type_is_delivered", {"notification_type": NotificationType.ERROR}),
    (MixesUp, "messages_sent_at_once_do_not_mix", {}),
    (DrawsKeys, "a_repeat_carries_the_same_key_and_another_message_another", {}),
    (Raises, "a_failure_is_a_result_that_says_what_went_wrong", {"behaviour": Behaviour.ABSENT}),
    (IsAlwaysContent, "a_failure_is_a_result_that_says_what_went_wrong", FAILING),
    (GivesUp, "what_may_pass_is_not_given_up", FAILING),
    (Sulks, "once_it_works_again_messages_arrive", FAILING),
    (IsNotToBeStopped, "what_hangs_ends_when_it_is_cancelled", {}),
    (ConnectsAnywhere, "a_destination_that_is_not_allowed_is_blocked_without_a_connection", {}),
    (NamesTheNumber, "a_destination_has_one_name_without_secrets", {}),
    (SplitsOffNothing, "every_recipient_has_data_that_meets_the_schema", {}),
    (LeavesATask, "a_message_of_any_kind_is_delivered", TITLE),
]


@pytest.mark.parametrize(("fault", "test", "parameters"), FAULTS, ids=lambda part: getattr(part, "__name__", None))
def test_a_fault_is_noticed(
    fault: type[Pager], test: str, parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conformance, "PROMPT", 0.1)
    suite = TestPager()
    suite.plugin = fault

    with pytest.raises((AssertionError, KeyError, ConnectionError, schemas.SchemaViolation)):
        getattr(suite, f"test_{test}")(**parameters)


@pytest.mark.parametrize("fault", [Tells, Chatters])
def test_a_secret_that_gets_out_is_noticed(
    fault: type[Pager], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    suite = TestPager()
    suite.plugin = fault

    with pytest.raises(AssertionError) as caught:
        suite.test_no_secret_is_told_or_written_anywhere(behaviour=Behaviour.WORKING, caplog=caplog, capfd=capfd)
    assert CODE not in str(caught.value)
    assert "0123456789" not in str(caught.value)
