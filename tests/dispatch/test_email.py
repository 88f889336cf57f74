from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from dispatch.addresses import Address
from dispatch.network import Network
from dispatch.plugins import DispatchRequest, Envelope, JsonObject, Unusable, schemas
from dispatch.plugins.email import DATA_SCHEMA, INFO, OPTIONS_SCHEMA, SECRET_SCHEMA, Email
from dispatch.plugins.schemas import SchemaViolation
from storage.models import AttemptOutcome, NotificationLevel, NotificationType
from tests.dispatch import tls
from tests.dispatch.rows import SATURDAY_EVENING
from tests.mailbox import Behaviour, Mailbox
from tests.sink import PATIENCE, Sink

HOST = "mail.test"  # what every certificate here is for, and what leads to the loopback
LOGIN = {"username": "tocsin", "password": "open sesame"}
BOB = "bob@example.org"


def request(port: float, *recipients: str, secret: JsonObject | None = None, **options: Any) -> DispatchRequest:
    envelope = Envelope(
        delivery_id="delivery-0123456789ab",
        notification_id="notification-0123456789ab",
        domain_id="d",
        topic="monitoring.alert",
        notification_level=NotificationLevel.LV2,
        created_at=SATURDAY_EVENING,
        attempted_at=SATURDAY_EVENING,
    )
    return DispatchRequest(
        options={"host": HOST, "port": port, "security": "NONE", "from": "tocsin@example.com", **options},
        message={"title": "Disk full", "description": "2 % left"},
        notification_type=NotificationType.ERROR,
        secret_data=secret or {},
        channel_data={"to": list(recipients or [BOB])},
        envelope=envelope,
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tls.certificate(tmp_path_factory.mktemp("tls"), HOST)


@pytest.fixture
def serving(certificate: Path) -> ssl.SSLContext:
    return tls.serving(certificate)


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with Mailbox() as mailbox:
        yield mailbox


@asynccontextmanager
async def emails(*, trusting: Path | None = None, timeout: float = PATIENCE) -> AsyncIterator[Email]:
    """The plugin, for which every name leads to the loopback."""

    async def resolve(host: str, port: int) -> Sequence[Address]:
        return [ip_address("127.0.0.1")]

    network = Network([ip_network("127.0.0.0/8")], timeout, resolve=resolve)
    yield Email(network, tls=None if trusting is None else ssl.create_default_context(cafile=trusting))
    await network.close()


@pytest.fixture
async def email() -> AsyncIterator[Email]:
    async with emails() as email:
        yield email


@pytest.fixture
async def trusting(certificate: Path) -> AsyncIterator[Email]:
    """The plugin, which believes the test's certificate."""
    async with emails(trusting=certificate) as email:
        yield email


async def test_a_mail_arrives_with_text_and_html(email: Email, mailbox: Mailbox) -> None:
    result = await email.dispatch(request(mailbox.port))

    assert (result.outcome, result.status_code) == (AttemptOutcome.OK, 250)
    [taken] = mailbox.taken
    assert (taken.sender, taken.recipients) == ("tocsin@example.com", [BOB])
    text, html = taken.mail.iter_parts()
    assert text.get_content().splitlines() == ["Disk full", "", "2 % left"]
    assert "<p>2 % left</p>" in html.get_content()


async def test_a_port_may_be_spelled_with_a_fraction_of_zero(email: Email, mailbox: Mailbox) -> None:
    result = await email.dispatch(request(float(mailbox.port)))

    assert result.outcome is AttemptOutcome.OK
    assert len(mailbox.taken) == 1


async def test_a_server_is_told_the_senders_domain_and_not_this_machines_name(email: Email, mailbox: Mailbox) -> None:
    await email.dispatch(request(mailbox.port))

    assert [taken.greeting for taken in mailbox.taken] == ["example.com"]


async def test_a_repeated_attempt_has_the_same_message_id(email: Email, mailbox: Mailbox) -> None:
    for _ in range(2):
        await email.dispatch(request(mailbox.port))

    assert [taken.mail["message-id"] for taken in mailbox.taken] == ["<delivery-0123456789ab@example.com>"] * 2


async def test_starttls_encrypts_before_anything_is_said(trusting: Email, serving: ssl.SSLContext) -> None:
    async with Mailbox(starttls=serving, users={"tocsin": "open sesame"}) as mailbox:
        result = await trusting.dispatch(request(mailbox.port, security="STARTTLS", secret=LOGIN))

    assert result.outcome is AttemptOutcome.OK
    assert [(taken.was_encrypted, taken.user) for taken in mailbox.taken] == [(True, "tocsin")]


async def test_starttls_is_what_is_done_where_nothing_is_said(trusting: Email, serving: ssl.SSLContext) -> None:
    async with Mailbox(starttls=serving) as mailbox:
        asked = request(mailbox.port)
        del asked.options["security"]
        result = await trusting.dispatch(asked)

    assert result.outcome is AttemptOutcome.OK
    assert mailbox.taken[0].was_encrypted


async def test_tls_encrypts_from_the_beginning(trusting: Email, serving: ssl.SSLContext) -> None:
    async with Mailbox(tls=serving) as mailbox:
        result = await trusting.dispatch(request(mailbox.port, security="TLS"))

    assert result.outcome is AttemptOutcome.OK
    assert mailbox.taken[0].was_encrypted


@pytest.mark.parametrize("security", ["TLS", "STARTTLS"])
async def test_a_certificate_that_nobody_vouches_for_is_not_taken(
    email: Email, serving: ssl.SSLContext, security: str
) -> None:
    async with Mailbox(tls=serving) if security == "TLS" else Mailbox(starttls=serving) as mailbox:
        result = await email.dispatch(request(mailbox.port, security=security))

    assert (result.outcome, mailbox.taken) == (AttemptOutcome.RETRY, [])
    assert result.error == "The connection failed: self-signed certificate."


@pytest.mark.parametrize("security", ["TLS", "STARTTLS"])
async def test_a_certificate_for_another_name_is_not_taken(
    trusting: Email, serving: ssl.SSLContext, security: str
) -> None:
    async with Mailbox(tls=serving) if security == "TLS" else Mailbox(starttls=serving) as mailbox:
        result = await trusting.dispatch(request(mailbox.port, security=security, host="other.test"))

    assert (result.outcome, mailbox.taken) == (AttemptOutcome.RETRY, [])
    assert "other.test" in str(result.error)


async def test_a_server_without_starttls_is_told_nothing(email: Email, mailbox: Mailbox) -> None:
    result = await email.dispatch(request(mailbox.port, security="STARTTLS", secret=LOGIN))

    assert (result.outcome, mailbox.taken) == (AttemptOutcome.RETRY, [])
    assert "STARTTLS" in str(result.error)


async def test_a_password_is_not_sent_in_the_open(email: Email, mailbox: Mailbox) -> None:
    asked = request(mailbox.port, secret=LOGIN)
    result = await email.dispatch(asked)
    verification = await email.verify(asked.options, LOGIN)

    assert result.outcome is AttemptOutcome.REFUSED
    assert (verification.ok, verification.detail) == (False, result.error)
    assert mailbox.connections == 0


@pytest.mark.parametrize(
    ("behaviour", "outcome", "status_code"),
    [
        (Behaviour(recipient={BOB: "550 5.1.1 No such mailbox"}), AttemptOutcome.REFUSED, 550),
        (Behaviour(recipient={BOB: "452 4.2.2 Mailbox full"}), AttemptOutcome.RETRY, 452),
        (Behaviour(sender="553 5.1.8 Not from here"), AttemptOutcome.REFUSED, 553),
        (Behaviour(sender="451 4.3.0 Not now"), AttemptOutcome.RETRY, 451),
        (Behaviour(data="554 5.7.1 Spam"), AttemptOutcome.REFUSED, 554),
        (Behaviour(data="421 4.3.2 Going down"), AttemptOutcome.RETRY, 421),
    ],
)
async def test_a_refusal_is_final_and_a_temporary_one_is_not(
    email: Email, mailbox: Mailbox, behaviour: Behaviour, outcome: AttemptOutcome, status_code: int
) -> None:
    mailbox.behaviour = behaviour
    result = await email.dispatch(request(mailbox.port))

    assert (result.outcome, result.status_code) == (outcome, status_code)
    assert result.error == f"The server answered {status_code}."
    assert result.response_excerpt


@pytest.mark.parametrize(
    ("login", "outcome"),
    [("535 5.7.8 Wrong password", AttemptOutcome.REFUSED), ("454 4.7.0 Not now", AttemptOutcome.RETRY)],
)
async def test_a_login_that_is_refused_is_told(
    trusting: Email, serving: ssl.SSLContext, login: str, outcome: AttemptOutcome
) -> None:
    async with Mailbox(starttls=serving, users={}) as mailbox:
        mailbox.behaviour = Behaviour(login=login)
        asked = request(mailbox.port, security="STARTTLS", secret=LOGIN)
        result = await trusting.dispatch(asked)
        verification = await trusting.verify(asked.options, LOGIN)

    assert (result.outcome, result.status_code) == (outcome, int(login[:3]))
    assert (verification.ok, verification.detail) == (False, f"The server answered {login[:3]}.")
    assert "sesame" not in str(result)
    assert mailbox.taken == []


async def test_a_server_that_hangs_is_left_when_the_deadline_comes(email: Email, mailbox: Mailbox) -> None:
    mailbox.behaviour = Behaviour(data=None)
    sending = asyncio.create_task(email.dispatch(request(mailbox.port)))
    await mailbox.until_asked()
    sending.cancel()
    await asyncio.wait([sending])

    assert sending.cancelled()
    await mailbox.until_left()


async def test_a_mail_that_was_taken_is_delivered_though_the_server_says_no_goodbye(
    email: Email, mailbox: Mailbox
) -> None:
    mailbox.behaviour = Behaviour(goodbye=None)
    async with asyncio.timeout(PATIENCE):
        result = await email.dispatch(request(mailbox.port))

    assert result.outcome is AttemptOutcome.OK
    assert len(mailbox.taken) == 1


async def test_a_login_that_the_server_repeats_is_not_kept(trusting: Email, serving: ssl.SSLContext) -> None:
    sent = base64.b64encode(b"\0tocsin\0open sesame").decode()
    async with Mailbox(starttls=serving, users={}) as mailbox:
        mailbox.behaviour = Behaviour(login=f"535 5.7.8 Not {sent}")
        result = await trusting.dispatch(request(mailbox.port, security="STARTTLS", secret=LOGIN))

    assert result.response_excerpt == "5.7.8 Not ********"


async def test_a_server_that_is_not_there_is_tried_again(email: Email) -> None:
    async with Sink() as closed:
        pass
    result = await email.dispatch(request(closed.port))

    assert result.outcome is AttemptOutcome.RETRY
    assert result.error == "The connection failed: Connection refused."


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n", b"220 mail.test\r\n"])
async def test_a_server_that_breaks_off_or_speaks_otherwise_is_tried_again(email: Email, said: bytes) -> None:
    async with Talker(said) as talker:
        result = await email.dispatch(request(talker.port))

    assert result.outcome is AttemptOutcome.RETRY
    assert result.error


async def test_a_connection_that_is_not_made_in_time_is_a_timeout() -> None:
    async def resolve(host: str, port: int) -> Sequence[Address]:
        return await asyncio.Future()

    network = Network([], 0.05, resolve=resolve)
    result = await Email(network).dispatch(request(25))
    await network.close()

    assert result.outcome is AttemptOutcome.TIMEOUT


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "[::ffff:10.0.0.1]"])
async def test_a_server_that_can_be_seen_to_be_refused_makes_no_protocol(email: Email, host: str) -> None:
    confined = Network([], PATIENCE)
    with pytest.raises(Unusable, match="not allowed"):
        await Email(confined).init({"host": host, "from": "tocsin@example.com"})
    await confined.close()

    assert await email.init({}) == await email.init({"host": "127.0.0.1"}) == INFO


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "::1", HOST])
async def test_an_address_inside_is_blocked_before_a_connection(mailbox: Mailbox, host: str) -> None:
    async def inside(host: str, port: int) -> Sequence[Address]:
        return [ip_address("127.0.0.1")]

    network = Network([], PATIENCE, resolve=inside if host == HOST else None)
    asked = request(mailbox.port, host=host)
    result = await Email(network).dispatch(asked)
    verification = await Email(network).verify(asked.options, {})
    await network.close()

    assert result.outcome is AttemptOutcome.BLOCKED
    assert (verification.ok, verification.detail) == (False, result.error)
    assert mailbox.connections == 0


async def test_verifying_logs_in_and_sends_nothing(trusting: Email, serving: ssl.SSLContext) -> None:
    async with Mailbox(starttls=serving, users={"tocsin": "open sesame"}) as mailbox:
        options = request(mailbox.port, security="STARTTLS").options
        right = await trusting.verify(options, LOGIN)
        wrong = await trusting.verify(options, {**LOGIN, "password": "close sesame"})

    assert (right.ok, right.detail) == (True, None)
    assert (wrong.ok, wrong.detail) == (False, "The server answered 535.")
    assert (mailbox.connections, mailbox.taken) == (2, [])


@pytest.mark.parametrize(
    "options",
    [
        {"from": "tocsin@example.com\r\nBcc: eve@example.com"},
        {"from": "nobody"},
        {"fromName": "Tocsin\r\nBcc: eve@example.com"},
        {"replyTo": "x@example.com\nBcc: eve@example.com"},
        {"listUnsubscribe": "https://example.com/\r\nBcc: eve@example.com"},
    ],
)
async def test_no_option_becomes_a_header_of_its_own(email: Email, mailbox: Mailbox, options: JsonObject) -> None:
    result = await email.dispatch(request(mailbox.port, **options))

    assert result.outcome is AttemptOutcome.REFUSED
    assert mailbox.taken == []
    with pytest.raises(SchemaViolation):
        schemas.validate({"host": HOST, "from": "tocsin@example.com", **options}, OPTIONS_SCHEMA)


@pytest.mark.parametrize("recipient", ["bob@example.org>\r\nRCPT TO:<eve@example.org", "bob", "bob@example.org\n"])
async def test_no_recipient_becomes_a_command(email: Email, mailbox: Mailbox, recipient: str) -> None:
    result = await email.dispatch(request(mailbox.port, recipient))

    assert result.outcome is AttemptOutcome.REFUSED
    assert mailbox.taken == []


@pytest.mark.parametrize(
    ("data", "addresses"),
    [
        ({"to": [BOB]}, [BOB]),
        ({"to": [BOB, "o'neil+x@sub.example.org"]}, [BOB, "o'neil+x@sub.example.org"]),
        ({"email": BOB}, [BOB]),
        ({"email": f" {BOB} , alice@example.cloud,{BOB} "}, [BOB, "alice@example.cloud"]),
        ({"to": ["root@localhost"]}, ["root@localhost"]),
    ],
)
def test_each_recipient_is_a_part(email: Email, data: JsonObject, addresses: list[str]) -> None:
    schemas.validate(data, DATA_SCHEMA)

    assert [part["to"] for part in email.parts(data)] == [[address] for address in addresses]


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({}, ()),
        ({"to": []}, ("to",)),
        ({"to": BOB}, ("to",)),
        ({"to": [BOB, BOB]}, ("to",)),
        ({"to": [BOB, "bob"]}, ("to", "1")),
        ({"to": ["a..b@example.org"]}, ("to", "0")),
        ({"to": [".a@example.org"]}, ("to", "0")),
        ({"to": ["bob@-example.org"]}, ("to", "0")),
        ({"to": [f"{BOB}\n"]}, ("to", "0")),
        ({"to": ["bøb@example.org"]}, ("to", "0")),
        ({"to": [f"{'b' * 250}@example.org"]}, ("to", "0")),
        ({"to": [f"b{number}@example.org" for number in range(51)]}, ("to",)),
        ({"email": ""}, ("email",)),
        ({"email": "bob"}, ("email",)),
        ({"email": f"{BOB}; {BOB}"}, ("email",)),
        ({"email": ",".join([BOB] * 51)}, ("email",)),
        ({"email": "a" * 200_000}, ("email",)),
        ({"to": [BOB], "email": BOB}, ()),
        ({"to": [BOB], "cc": [BOB]}, ()),
    ],
)
def test_other_channel_data_is_refused_with_the_place(data: JsonObject, path: tuple[str, ...]) -> None:
    with pytest.raises(SchemaViolation) as caught:
        schemas.validate(data, DATA_SCHEMA)

    assert caught.value.path == path
    assert "bob" not in caught.value.message


@pytest.mark.parametrize(
    ("secret", "path"),
    [({"username": "x"}, ()), ({"password": "x"}, ()), ({**LOGIN, "password": ""}, ("password",)), ({"user": 1}, ())],
)
def test_a_user_name_comes_with_a_password(secret: JsonObject, path: tuple[str, ...]) -> None:
    with pytest.raises(SchemaViolation) as caught:
        schemas.validate(secret, SECRET_SCHEMA)

    assert caught.value.path == path
    schemas.validate(LOGIN, SECRET_SCHEMA)
    schemas.validate({}, SECRET_SCHEMA)


class Talker:
    """A server that says one thing to each that connects, and hangs up."""

    def __init__(self, said: bytes) -> None:
        self._said = said

    async def __aenter__(self) -> Talker:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._said)
        await writer.drain()
        writer.close()
