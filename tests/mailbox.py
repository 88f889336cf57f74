"""A destination for mails: a real SMTP server on the loopback that keeps what it gets and answers as told."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.sink import PATIENCE

OK = "250 Taken"


@dataclass(frozen=True)
class Taken:
    """One mail, with the addresses that it came for."""

    greeting: str  # what the sender calls itself
    sender: str
    recipients: list[str]
    content: bytes
    was_encrypted: bool
    user: str | None

    @property
    def mail(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=policy.SMTP)


@dataclass
class Behaviour:
    """What it answers where; an answer that is None never comes."""

    recipient: dict[str, str] = field(default_factory=dict)  # by address
    sender: str = OK
    data: str | None = OK
    login: str | None = None  # a refusal of every login
    goodbye: str | None = "221 Bye"


class Mailbox:
    """`async with Mailbox() as mailbox`. With `users` it asks for a login, over TLS only."""

    def __init__(
        self,
        *,
        starttls: ssl.SSLContext | None = None,
        tls: ssl.SSLContext | None = None,
        users: dict[str, str] | None = None,
    ) -> None:
        self.taken: list[Taken] = []
        self.behaviour = Behaviour()
        self.connections = 0
        self.open = 0
        self.port = 0  # any free one, and the same again when it is entered again
        self._starttls = starttls
        self._tls = tls
        self._users = users
        self._changed = asyncio.Condition()
        self._asked = asyncio.Event()

    async def __aenter__(self) -> Mailbox:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self.until_left()

    async def wait_for(self, count: int) -> list[Taken]:
        """The first `count` mails, once they have come."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.taken) >= count)
        return self.taken[:count]

    async def until_left(self) -> None:
        """Return when nobody is connected any more."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self.open == 0)

    async def until_asked(self) -> None:
        """Return when a mail has come that is never answered."""
        async with asyncio.timeout(PATIENCE):
            await self._asked.wait()

    def _protocol(self) -> SMTP:
        return _Connection(
            self,
            hostname="mailbox.test",
            tls_context=self._starttls,
            require_starttls=self._starttls is not None,
            auth_required=self._users is not None and self._tls is None,
            auth_require_tls=self._tls is None,
            authenticator=self._authenticate,
            loop=asyncio.get_running_loop(),
        )

    def _authenticate(self, server: SMTP, session: Session, envelope: Envelope, method: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        if self.behaviour.login is not None:
            return AuthResult(success=False, handled=False, message=self.behaviour.login)
        known = (self._users or {}).get(given.login.decode())
        return AuthResult(success=known == given.password.decode(), handled=False, auth_data=given.login.decode())

    # What aiosmtpd calls by these names.

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.behaviour.sender == OK:
            envelope.mail_from = address
        return self.behaviour.sender

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.behaviour.recipient.get(address, OK)
        if answer == OK:
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.behaviour.data is None:
            self._asked.set()
            await asyncio.Event().wait()
        if self.behaviour.data == OK:
            await self._take(session, envelope)
        return str(self.behaviour.data)

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.behaviour.goodbye is None:
            await asyncio.Event().wait()
        return str(self.behaviour.goodbye)

    async def _take(self, session: Session, envelope: Envelope) -> None:
        assert isinstance(envelope.content, bytes)
        async with self._changed:
            self.taken.append(
                Taken(
                    greeting=str(session.host_name),
                    sender=str(envelope.mail_from),
                    recipients=list(envelope.rcpt_tos),
                    content=envelope.content,
                    was_encrypted=session.ssl is not None or self._tls is not None,
                    user=session.auth_data,
                )
            )
            self._changed.notify_all()

    async def changed(self, connections: int) -> None:
        async with self._changed:
            self.open += connections
            self._changed.notify_all()


class _Connection(SMTP):
    """One client's, counted."""

    def __init__(self, mailbox: Mailbox, **options: Any) -> None:
        super().__init__(mailbox, **options)
        self._mailbox = mailbox
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._is_open:  # not the second time, by STARTTLS
            self._is_open = True
            self._mailbox.connections += 1
            self._mailbox.open += 1

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if self._is_open:
            self._is_open = False
            self._counting = asyncio.ensure_future(self._mailbox.changed(-1))
