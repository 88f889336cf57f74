"""The plugin `email`: one mail for each recipient, handed to the protocol's SMTP server.

A refusal (5xx) is final, a temporary one (4xx) and every trouble of the connection is not. Each mail has a connection
of its own, made to an address that was judged; the name is what the server's certificate has to show.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from enum import StrEnum

from aiosmtplib import SMTP, SMTPException, SMTPResponseException, SMTPServerDisconnected, SMTPTimeoutError

from dispatch.network import Blocked, Network, NoAnswer, reason
from dispatch.plugins import DispatchRequest, JsonObject, PluginInfo, Result, Unusable, Verification, mail
from dispatch.redaction import Redactor
from storage.models import AttemptOutcome

STEP_SECONDS = 60.0  # for each answer of the server: the whole is for the caller to bound
QUIT_SECONDS = 1.0  # for the last answer, when the mail is the server's already: nobody waits for it any longer
MAX_RECIPIENTS = 50
MAX_ADDRESS = 254  # characters, as SMTP has it
REFUSALS = range(500, 600)

ADDRESS: JsonObject = {
    "type": "string",
    "pattern": f"^{mail.ADDRESS}$",
    "not": {"pattern": "\\s"},
    "maxLength": MAX_ADDRESS,
}


class Security(StrEnum):
    STARTTLS = "STARTTLS"
    TLS = "TLS"
    NONE = "NONE"  # what is sent can be read on its way; a password is not sent so


PORTS = {Security.STARTTLS: 587, Security.TLS: 465, Security.NONE: 25}  # where none is given

OPTIONS_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "host": {
            "type": "string",
            "title": "Host",
            "description": "The SMTP server.",
            "minLength": 1,
            "maxLength": 253,
            "not": {"pattern": "[^A-Za-z0-9._:-]"},
        },
        "port": {
            "type": "integer",
            "title": "Port",
            "description": "The server's port. Without it: 587 for STARTTLS, 465 for TLS, 25 for NONE.",
            "minimum": 1,
            "maximum": 65_535,
        },
        "security": {
            "enum": [security.value for security in Security],
            "title": "Security",
            "description": "How the connection is encrypted. Nothing is sent where the certificate is not right.",
            "default": Security.STARTTLS.value,
        },
        "from": {**ADDRESS, "title": "From", "description": "The sender's address."},
        "fromName": {
            "type": "string",
            "title": "Sender's name",
            "description": "Shown with the sender's address.",
            "maxLength": 64,
            "not": {"pattern": "[\\x00-\\x1f\\x7f-\\x9f\u2028\u2029]"},
        },
        "replyTo": {**ADDRESS, "title": "Reply to", "description": "Where answers go, if not to the sender."},
        "listUnsubscribe": {
            "type": "string",
            "title": "Unsubscribe",
            "description": "Where readers unsubscribe: an https address, which must take the POST of one click, or a "
            f"mailto one. {mail.RECIPIENT} in it stands for who received the mail.",
            "pattern": "^(https://|mailto:)[!-;=?-~]+$",
            "not": {"pattern": "\\s"},
            "maxLength": 500,
        },
    },
    "required": ["host", "from"],
    "additionalProperties": False,
}
SECRET_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "username": {"type": "string", "title": "User name", "minLength": 1, "maxLength": 255},
        "password": {"type": "string", "title": "Password", "minLength": 1, "maxLength": 4_096},
    },
    "dependentRequired": {"username": ["password"], "password": ["username"]},
    "additionalProperties": False,
}
DATA_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "to": {
            "type": "array",
            "title": "To",
            "description": "The addresses that mails go to, each a mail of its own.",
            "items": ADDRESS,
            "minItems": 1,
            "maxItems": MAX_RECIPIENTS,
            "uniqueItems": True,
        },
        "email": {
            "type": "string",
            "title": "Addresses",
            "description": "The same as text, separated by commas, instead of `to`.",
            "pattern": f"^ *{mail.ADDRESS}( *, *{mail.ADDRESS})* *$",
            "not": {"pattern": f"[^\\x20-\\x7e]|[^,]{{{MAX_ADDRESS + 1},}}|(,[^,]*){{{MAX_RECIPIENTS}}}"},
            "maxLength": MAX_RECIPIENTS * (MAX_ADDRESS + 2),
        },
    },
    "oneOf": [{"required": ["to"]}, {"required": ["email"]}],
    "additionalProperties": False,
}
INFO = PluginInfo(name="E-mail", data_schema=DATA_SCHEMA, options_schema=OPTIONS_SCHEMA, secret_schema=SECRET_SCHEMA)


class _InTheOpen(Exception):
    """A password would be sent over a connection that is not encrypted."""


class Email:
    def __init__(self, network: Network, *, tls: ssl.SSLContext | None = None) -> None:
        """`tls` says whose certificates are believed: without it the system's authorities, or SSL_CERT_FILE's."""
        self._network = network
        self._tls = tls or ssl.create_default_context()

    async def init(self, options: JsonObject) -> PluginInfo:
        if self._network.refuses(options.get("host", "")):
            raise Unusable(str(Blocked()).rstrip("."))
        return INFO

    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        """Connects and authenticates as for a mail, and leaves again."""
        try:
            async with self._connected(options, secret_data):
                return Verification(ok=True)
        except (NoAnswer, SMTPException, OSError, ValueError, _InTheOpen) as failure:
            return Verification(ok=False, detail=_judged(failure, secret_data).error)

    def parts(self, channel_data: JsonObject) -> Sequence[JsonObject]:
        return [{"to": [address]} for address in _addresses(channel_data)]

    async def dispatch(self, request: DispatchRequest) -> Result:
        recipients = _addresses(request.channel_data)
        try:
            written = mail.write(request, recipients)
            async with self._connected(request.options, request.secret_data) as smtp:
                await smtp.mail(request.options["from"])
                for recipient in recipients:
                    await smtp.rcpt(recipient)
                answer = await smtp.data(written)
        except (NoAnswer, SMTPException, OSError, ValueError, _InTheOpen) as failure:
            return _judged(failure, request.secret_data)
        return Result(AttemptOutcome.OK, status_code=answer.code, response_excerpt=answer.message)

    @asynccontextmanager
    async def _connected(self, options: JsonObject, secret_data: JsonObject) -> AsyncIterator[SMTP]:
        """Raises NoAnswer, SMTPException, OSError, ValueError, _InTheOpen."""
        security = Security(options.get("security", Security.STARTTLS))
        if secret_data and security is Security.NONE:
            raise _InTheOpen
        smtp = SMTP(
            hostname=options["host"],
            username=secret_data.get("username"),
            password=secret_data.get("password"),
            local_hostname=mail.domain(options),  # the machine's own name is nobody's business
            timeout=STEP_SECONDS,
            use_tls=security is Security.TLS,
            start_tls=security is Security.STARTTLS,
            tls_context=self._tls,
        )
        port = int(options.get("port", PORTS[security]))  # to JSON Schema 587.0 is an integer too
        sock = await self._network.open(options["host"], port)
        try:
            await smtp.connect(sock=sock)
            yield smtp
            with suppress(SMTPException, OSError):
                await smtp.quit(timeout=QUIT_SECONDS)
        finally:
            _abort(smtp)


def _abort(smtp: SMTP) -> None:
    # Not closed: that would wait for a server which does not read any more.
    if isinstance(smtp.transport, asyncio.WriteTransport):
        smtp.transport.abort()
    smtp.close()


def _addresses(channel_data: JsonObject) -> list[str]:
    if "to" in channel_data:
        return list(channel_data["to"])
    return list(dict.fromkeys(address.strip() for address in channel_data["email"].split(",")))


def _as_sent(secret_data: JsonObject) -> list[str]:
    """The forms in which a login travels, which a server may repeat."""
    user, password = secret_data.get("username", ""), secret_data.get("password", "")
    return [base64.b64encode(each.encode()).decode() for each in (f"\0{user}\0{password}", user, password)]


def _judged(failure: Exception, secret_data: JsonObject) -> Result:
    match failure:
        case NoAnswer():
            return Result.unanswered(failure)
        case SMTPResponseException(code=code, message=answer):
            outcome = AttemptOutcome.REFUSED if code in REFUSALS else AttemptOutcome.RETRY
            excerpt = Redactor(_as_sent(secret_data)).redact(answer)
            return Result(outcome, status_code=code, error=f"The server answered {code}.", response_excerpt=excerpt)
        case SMTPTimeoutError():
            return Result(AttemptOutcome.TIMEOUT, error="The server did not answer in time.")
        case SMTPServerDisconnected():
            return Result(AttemptOutcome.RETRY, error="The connection was lost.")
        case OSError():
            return Result(AttemptOutcome.RETRY, error=f"The connection failed: {reason(failure)}.")
        case SMTPException():
            return Result(AttemptOutcome.RETRY, error="The server does not offer STARTTLS, or no way to log in.")
        case _InTheOpen():
            return Result(AttemptOutcome.REFUSED, error="A password is sent over STARTTLS or TLS only.")
        case _:
            return Result(AttemptOutcome.REFUSED, error="An address or an option is not valid.")
