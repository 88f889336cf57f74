"""Every built-in plugin does what the conformance suite asks for, and the suite notices one that does not."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from email.message import EmailMessage
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import grpc
import pytest

from dispatch.network import Network
from dispatch.plugins.apprise import Apprise
from dispatch.plugins.conformance import Arrival, Behaviour, PluginConformance, Subject
from dispatch.plugins.email import Email
from dispatch.plugins.log import Log
from dispatch.plugins.spaceone import SpaceONE
from dispatch.plugins.webhook import Webhook
from tests import mailbox, sink
from tests.dispatch import spaceone_plugin, tls
from tests.dispatch.spaceone_plugin import GOOD_KEY, Failure, SpaceOnePlugin
from tests.mailbox import Mailbox
from tests.sink import PATIENCE, Answer, Sink

LOOPBACK = [ip_network("127.0.0.0/8")]
SECRET = "a-marker-that-is-secret"


@asynccontextmanager
async def networks() -> AsyncIterator[tuple[Network, Network]]:
    """One that may reach the loopback, and one that may not."""
    reaching, confined = Network(LOOPBACK, PATIENCE), Network([], PATIENCE)
    yield reaching, confined
    await reaching.close()
    await confined.close()


@pytest.fixture(autouse=True, scope="module")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Reading all the authorities of the system for every test would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(tls.certificate(tmp_path_factory.mktemp("tls"), "localhost")))
        yield


class Staged:
    """A far side made of a server of the tests, which is told how to behave, and is left and entered again."""

    def __init__(self, server: Any, answers: Mapping[Behaviour, Any]) -> None:
        self.server = server
        self._answers = answers
        self._is_there = True

    async def behave(self, behaviour: Behaviour) -> None:
        was_there, self._is_there = self._is_there, behaviour is not Behaviour.ABSENT
        if was_there and not self._is_there:
            await self.server.__aexit__(None, None, None)
        if self._is_there and not was_there:
            await self.server.__aenter__()
        if self._is_there:
            self.answer(self._answers[behaviour])

    def answer(self, answer: Any) -> None:
        self.server.otherwise = answer


class HttpFarSide(Staged):
    async def until_waited_for(self) -> None:
        await self.server.wait_for(1)

    @property
    def arrivals(self) -> Sequence[Arrival]:
        return [Arrival(got.body.decode(), got.headers.get("webhook-id")) for got in self.server.received]

    @property
    def contacts(self) -> int:
        return int(self.server.connections) + len(self.server.received)


class SpaceOneFarSide(Staged):
    async def until_waited_for(self) -> None:
        await self.server.called(1)

    @property
    def arrivals(self) -> Sequence[Arrival]:
        return [Arrival(str(got.message), got.metadata["transaction_id"]) for got in self.server.dispatched]

    @property
    def contacts(self) -> int:
        return len(self.server.peers)


class MailFarSide(Staged):
    def answer(self, answer: Any) -> None:
        self.server.behaviour = answer

    async def until_waited_for(self) -> None:
        await self.server.until_asked()

    @property
    def arrivals(self) -> Sequence[Arrival]:
        return [Arrival(_readable(taken.mail), taken.mail["message-id"]) for taken in self.server.taken]

    @property
    def contacts(self) -> int:
        return int(self.server.connections) + len(self.server.taken)


def _readable(mail: EmailMessage) -> str:
    """The subject, and every way to read the rest."""
    return "\n".join([mail["subject"], *(part.get_content() for part in mail.walk() if not part.is_multipart())])


class TestLog(PluginConformance):
    @asynccontextmanager
    async def subject(self) -> AsyncIterator[Subject]:
        async with networks() as (network, _):
            yield Subject(Log(network), channel_data={"anything": 1})


HTTP_ANSWERS: Mapping[Behaviour, Any] = {
    Behaviour.WORKING: Answer(),
    Behaviour.REFUSING: Answer(410, b"gone"),
    Behaviour.FAILING: Answer(503, b"busy"),
    Behaviour.HANGING: sink.Hang(),
}


class TestWebhook(PluginConformance):
    @asynccontextmanager
    async def subject(self) -> AsyncIterator[Subject]:
        async with networks() as (network, confined), Sink() as receiver:
            yield Subject(
                Webhook(network),
                channel_data={"url": receiver.url(), "headers": {"authorization": f"Bearer {SECRET}"}},
                secret_data={"signingSecret": f"whsec_{base64.b64encode(SECRET.encode() * 2).decode()}"},
                far_side=HttpFarSide(receiver, HTTP_ANSWERS),
                confined=Webhook(confined),
            )


class TestSpaceONE(PluginConformance):
    ANSWERS: Mapping[Behaviour, Any] = {
        Behaviour.WORKING: spaceone_plugin.Ok(),
        Behaviour.REFUSING: Failure(grpc.StatusCode.PERMISSION_DENIED, "ERROR_PERMISSION_DENIED: no"),
        Behaviour.FAILING: Failure(grpc.StatusCode.INTERNAL, "ERROR_UNKNOWN: the gateway is down"),
        Behaviour.HANGING: spaceone_plugin.Hang(),
    }

    @asynccontextmanager
    async def subject(self) -> AsyncIterator[Subject]:
        async with networks() as (network, confined), SpaceOnePlugin(data_type="SECRET") as plugin:
            yield Subject(
                SpaceONE(network),
                options={"endpoint": plugin.endpoint(), "title": "Ops"},
                secret_data={"access_key": GOOD_KEY, "pin": 123_456},
                wrong_secret={"access_key": SECRET},
                channel_data={"phone_number": "0123456", "token": SECRET, "retries": 3},
                far_side=SpaceOneFarSide(plugin, self.ANSWERS),
                confined=SpaceONE(confined),
            )


class TestEmail(PluginConformance):
    ANSWERS: Mapping[Behaviour, Any] = {
        Behaviour.WORKING: mailbox.Behaviour(),
        Behaviour.REFUSING: mailbox.Behaviour(data="550 Not taken"),
        Behaviour.FAILING: mailbox.Behaviour(data="451 Not now"),
        Behaviour.HANGING: mailbox.Behaviour(data=None),
    }

    @asynccontextmanager
    async def subject(self) -> AsyncIterator[Subject]:
        certificate = tls.serving(Path(os.environ["SSL_CERT_FILE"]))
        async with networks() as (network, confined), Mailbox(starttls=certificate, users={"me": SECRET}) as server:
            yield Subject(
                Email(network),
                options={"host": "localhost", "port": server.port, "from": "tocsin@example.test"},
                secret_data={"username": "me", "password": SECRET},
                wrong_secret={"username": "me", "password": f"not-{SECRET}"},
                channel_data={"to": ["ops@example.test", "dev@example.test"]},
                far_side=MailFarSide(server, self.ANSWERS),
                confined=Email(confined),
            )


class TestApprise(PluginConformance):
    @asynccontextmanager
    async def subject(self) -> AsyncIterator[Subject]:
        async with networks() as (network, confined), Sink() as receiver:
            yield Subject(
                Apprise(network, allow=["json"]),
                channel_data={"url": f"json://me:{SECRET}@127.0.0.1:{receiver.port}/hook"},
                harmless=("127.0.0.1",),
                far_side=HttpFarSide(receiver, HTTP_ANSWERS),
                confined=Apprise(confined, allow=["json"]),
            )
