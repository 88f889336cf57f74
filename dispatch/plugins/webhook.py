"""The plugin `webhook`: a JSON POST to the channel's URL, with the headers that receivers tell repeats by.

`webhook-id` and `webhook-timestamp` are those of the Standard Webhooks specification.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import orjson
from yarl import URL

from dispatch.network import Answer, Blocked, Malformed, Network, NoAnswer, TimedOut
from dispatch.plugins import DispatchRequest, JsonObject, PluginInfo, Result, Verification
from storage.models import AttemptOutcome

# The receiver says that it will never take this. Others, 404 among them, are seen while a receiver is being deployed.
FINAL_STATUSES = frozenset({401, 403, 410})
SUCCESS = range(200, 300)
OUTCOMES = {
    Blocked: AttemptOutcome.BLOCKED,
    TimedOut: AttemptOutcome.TIMEOUT,
    Malformed: AttemptOutcome.REFUSED,
}
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


# `not` a wrong character, rather than right ones from ^ to $: in Python $ also matches before a final line feed.
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
INFO = PluginInfo(name="Webhook", data_schema=DATA_SCHEMA)


class Webhook:
    def __init__(self, network: Network) -> None:
        self._network = network

    async def init(self, options: JsonObject) -> PluginInfo:
        return INFO

    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        return Verification(ok=True)  # the protocol holds nothing: the address is the channel's

    def destination(self, channel_data: JsonObject) -> str:
        """What is limited together: the host and the port, whatever the path."""
        try:
            url = URL(channel_data["url"])
            return f"{url.raw_host}:{url.port}"
        except ValueError:  # refused when it is sent
            return ""

    async def dispatch(self, request: DispatchRequest) -> Result:
        url: str = request.channel_data["url"]
        try:
            answer = await self._network.post(url, headers=_headers(request), content=_body(request))
        except NoAnswer as failure:
            return Result(OUTCOMES.get(type(failure), AttemptOutcome.RETRY), error=str(failure))
        return _judged(answer, request.envelope.attempted_at)


def _headers(request: DispatchRequest) -> dict[str, str]:
    return {
        **request.channel_data.get("headers", {}),
        "content-type": "application/json",
        "webhook-id": request.envelope.delivery_id,
        "webhook-timestamp": str(int(request.envelope.attempted_at.timestamp())),
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
            "createdAt": _instant(envelope.created_at),
        }
    )


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
