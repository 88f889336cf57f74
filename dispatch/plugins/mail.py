"""One mail, from the message and the protocol's options to its bytes. Pure: each attempt sends the same.

No value of a caller becomes a header of its own: each is one line, in a header that is set here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from typing import Any
from urllib.parse import quote

from dispatch import message
from dispatch.plugins import DispatchRequest, JsonObject
from storage.models import NotificationType

MAX_SUBJECT = 200  # characters: the whole title stands in the mail
MAX_WORD = 45  # bytes of text in one encoded word, which may have 75 characters
RECIPIENT = "{recipient}"  # in an address for unsubscribing: who received the mail

_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
ADDRESS = f"{_ATOM}(\\.{_ATOM})*@{_LABEL}(\\.{_LABEL})*"  # the whole of one: a pattern also for JSON Schema


class _AsWritten:
    """A header as it is set, in ASCII. The standard library's own would take encoded words of callers for ours.

    Nothing but encoded words is folded: broken up, an address would be none any more.
    """

    max_count = 1
    name: str

    @staticmethod
    def parse(value: str, kwds: dict[str, Any]) -> None:
        value.encode("ascii")
        kwds.update(decoded=value, parse_tree=None)

    def fold(self, *, policy: EmailPolicy) -> str:
        return f"{self.name}: {self}{policy.linesep}".replace("?= =?", f"?={policy.linesep} =?")


_HEADERS = HeaderRegistry()
for _name in ("from", "to", "reply-to", "subject", "message-id", "list-unsubscribe"):
    _HEADERS.map_to_type(_name, _AsWritten)  # type: ignore[arg-type]  # as the registry takes them, not as it is typed
_POLICY = SMTP.clone(header_factory=_HEADERS)


def write(request: DispatchRequest, recipients: Sequence[str]) -> bytes:
    """The mail as it is sent. Raises ValueError where an option is not what its schema asks for."""
    said = message.read(request.message, topic=request.envelope.topic)
    mail = EmailMessage(_POLICY)
    mail["From"] = _sender(request.options)
    mail["To"] = ", ".join(map(_address, recipients))
    mail["Subject"] = _header_text(_shortened(said.title))
    mail["Date"] = request.envelope.created_at
    mail["Message-ID"] = f"<{request.envelope.delivery_id}@{domain(request.options)}>"
    mail["Auto-Submitted"] = "auto-generated"  # nobody's absence is answered to it
    if request.notification_type is NotificationType.ERROR:
        mail["Importance"] = "high"
    if "replyTo" in request.options:
        mail["Reply-To"] = _address(request.options["replyTo"])
    _let_unsubscribe(mail, request.options, recipients)
    mail.set_content(f"{said.title}\n\n{message.as_text(said)}\n", cte="quoted-printable")
    html = message.as_html(said, notification_type=request.notification_type)
    mail.add_alternative(html, subtype="html", cte="quoted-printable")
    return mail.as_bytes()


def domain(options: JsonObject) -> str:
    """The sender's."""
    return str(options["from"]).rpartition("@")[2]


def _sender(options: JsonObject) -> str:
    address, name = _address(options["from"]), options.get("fromName", "")
    if not name:
        return address
    if _needs_encoding(name):
        return f"{_encoded(name)} <{address}>"
    quoted = re.sub(r'["\\]', r"\\\g<0>", name)
    return f'"{quoted}" <{address}>'


def _address(text: str) -> str:
    if not re.fullmatch(ADDRESS, text):
        raise ValueError("This is no address.")
    return text


def _header_text(text: str) -> str:
    return _encoded(text) if _needs_encoding(text) else text


def _needs_encoding(text: str) -> bool:
    return "=?" in text or not re.fullmatch("[ -~]*", text)


def _encoded(text: str) -> str:
    """As RFC 2047 has it. Raises ValueError for more than a line."""
    if len(text.splitlines()) > 1:
        raise ValueError("A header is one line.")
    return " ".join(f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in _words(text))


def _words(text: str) -> Iterator[bytes]:
    """The text in pieces that an encoded word has room for, none of which ends within a character."""
    word = b""
    for encoded in map(str.encode, text):
        if len(word) + len(encoded) > MAX_WORD:
            yield word
            word = b""
        word += encoded
    yield word


def _shortened(title: str) -> str:
    return title if len(title) <= MAX_SUBJECT else f"{title[: MAX_SUBJECT - 1].rstrip()}…"


def _let_unsubscribe(mail: EmailMessage, options: JsonObject, recipients: Sequence[str]) -> None:
    """RFC 2369, and of the web in one click RFC 8058. With several recipients nobody is told another's address."""
    if "listUnsubscribe" not in options:
        return
    recipient = recipients[0] if len(recipients) == 1 else ""
    address = options["listUnsubscribe"].replace(RECIPIENT, quote(recipient, safe=""))
    mail["List-Unsubscribe"] = f"<{address}>"
    if address.startswith("https:"):
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
