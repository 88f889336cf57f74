"""The plugin `webhook`: a JSON POST to the channel's URL, in the way of the Standard Webhooks specification.

`webhook-id` is the same for every attempt, `webhook-timestamp` the attempt's own; with a signing secret there is a
`webhook-signature`. The message is posted as it was said: a receiver of JSON needs no other form of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import orjson
from yarl import URL

import dispatch.http_client  # noqa: F401 - which the network would load in the first attempt's time
from dispatch.network import Answer, Blocked, Network, NoAnswer
from dispatch.plugins import DispatchRequest, JsonObject, PluginInfo, Result, Verification, signatures
from dispatch.plugins.schemas import SchemaViolation
from storage import columns
from storage.models import AttemptOutcome

# The receiver says that it will never take this. Others, 404 among them, are seen while a receiver is being deployed.
FINAL_STATUSES = frozenset({401, 403, 410})
SUCCESS = range(200, 300)
LONGEST_WAIT = 1e9  # seconds: what a receiver asks for is a wish, and a number of any length

MAX_URL_LENGTH = 2_048
MAX_HEADERS = 32
MAX_HEADER_LENGTH = 4_096
# Set by HTTP itself, or by this plugin.
RESERVED_HEADERS = (
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
)


def _in_any_case(word: str) -> str:
    return "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in word)


# `not` a wrong character, rather than right ones from ^ to $: to some engines $ also matches before a final line feed.
DATA_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "url": {
            "type": "string",
            "title": "URL",
            "description": "Where messages are posted to, over http or https.",
            "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#]",
            "not": {"pattern": "[\\s\\x00-\\x1f\\x7f]"},
            "maxLength": MAX_URL_LENGTH,
        },
        "headers": {
            "type": "object",
            "title": "Headers",
            "description": "Sent along, for example to authenticate. Those that HTTP or this plugin sets are refused.",
            "maxProperties": MAX_HEADERS,
            "propertyNames": {
                "minLength": 1,
                "maxLength": 256,
                "not": {
                    "anyOf": [
                        {"pattern": "[^!#$%&'*+.^_`|~0-9A-Za-z-]"},
                        {"pattern": f"^({'|'.join(_in_any_case(name) for name in RESERVED_HEADERS)})$"},
                    ]
                },
            },
            "additionalProperties": {
                "type": "string",
                "writeOnly": True,  # a header is there to authenticate
                "maxLength": MAX_HEADER_LENGTH,
                "not": {"pattern": "[^\\t\\x20-\\x7e]"},
            },
        },
    },
    "required": ["url"],
    "additionalProperties": False,
}
SIGNING_SECRET: JsonObject = {
    "type": "string",
    "pattern": signatures.PATTERN,
    "not": {"pattern": "\\s"},
    "maxLength": signatures.MAX_LENGTH,
}
SECRET_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "signingSecret": {
            **SIGNING_SECRET,
            "title": "Signing secret",
            "description": "Signs each message: whsec_ and 24 to 64 bytes in base64, or an ed25519 key, whsk_...",
        },
        "previousSigningSecret": {
            **SIGNING_SECRET,
            "title": "Previous signing secret",
            "description": "Signs each message too, while receivers change over to the new secret.",
        },
    },
    "dependentRequired": {"previousSigningSecret": ["signingSecret"]},
    "additionalProperties": False,
}
SECRETS = ("signingSecret", "previousSigningSecret")  # in the order in which they sign
INFO = PluginInfo(name="Webhook", data_schema=DATA_SCHEMA, secret_schema=SECRET_SCHEMA)


class Webhook:
    def __init__(self, network: Network) -> None:
        self._network = network

    async def init(self, options: JsonObject) -> PluginInfo:
        return INFO

    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        return Verification(ok=True)  # the address is the channel's, and nobody is asked about a signature

    async def inspect(self, channel_data: JsonObject) -> None:
        """An address that can be seen to be refused; that of an ordinary name shows when it is sent to."""
        url = _read(channel_data["url"])
        if url is None or not url.port:
            raise SchemaViolation(("url",), "The host or the port of this address cannot be read.")
        if self._network.refuses(url.host or ""):
            raise SchemaViolation(("url",), str(Blocked()))
        if url.raw_user is not None or url.raw_password is not None:  # which would be shown, as the address is
            raise SchemaViolation(("url",), "A name and a password go into the header Authorization, which is hidden.")

    def destination(self, channel_data: JsonObject) -> str:
        """What is limited together: the host and the port, whatever the path."""
        url = _read(channel_data["url"])
        return "" if url is None else f"{url.raw_host}:{url.port}"  # what cannot be read is refused when it is sent

    async def dispatch(self, request: DispatchRequest) -> Result:
        url: str = request.channel_data["url"]
        body = _body(request)
        try:
            answer = await self._network.post(url, headers=_headers(request, body), content=body)
        except NoAnswer as failure:
            return Result.unanswered(failure)
        return _judged(answer, request.envelope.attempted_at)


def _read(address: str) -> URL | None:
    try:
        return URL(address)
    except ValueError:
        return None


def _headers(request: DispatchRequest, body: bytes) -> dict[str, str]:
    message_id, timestamp = request.envelope.delivery_id, int(request.envelope.attempted_at.timestamp())
    secrets = [request.secret_data[name] for name in SECRETS if name in request.secret_data]
    signed = {"webhook-signature": signatures.header(secrets, message_id, timestamp, body)} if secrets else {}
    return {
        **request.channel_data.get("headers", {}),
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        **signed,
    }


def _body(request: DispatchRequest) -> bytes:
    envelope = request.envelope
    return orjson.dumps(
        {
            "deliveryId": envelope.delivery_id,
            "notificationId": envelope.notification_id,
            "domainId": envelope.domain_id,
            "topic": envelope.topic,
            "notificationType": request.notification_type.value,
            "notificationLevel": envelope.notification_level.value,
            "message": request.message,
            "createdAt": columns.spelled(envelope.created_at),
        }
    )


def _judged(answer: Answer, now: datetime) -> Result:
    excerpt = answer.body.decode(errors="replace") or None
    status = answer.status_code
    if status in SUCCESS:
        return Result(AttemptOutcome.OK, status_code=status, response_excerpt=excerpt)
    return Result(
        AttemptOutcome.REFUSED if status in FINAL_STATUSES else AttemptOutcome.RETRY,
        status_code=status,
        error=f"The receiver answered {status}.",
        response_excerpt=excerpt,
        retry_after=_seconds(answer.retry_after, now),
    )


def _seconds(retry_after: str | None, now: datetime) -> float | None:
    """How long the receiver asks to be left alone: seconds, or until a date. None where it says neither."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdecimal():
        return min(float(retry_after), LONGEST_WAIT)
    try:
        then = parsedate_to_datetime(retry_after)
        return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds())
    except (ValueError, OverflowError):
        return None
