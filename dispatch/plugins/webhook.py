"""The plugin `webhook`: a JSON POST to the channel's URL, with the headers that receivers tell repeats by.

`webhook-id` and `webhook-timestamp` are those of the Standard Webhooks specification.
"""

from __future__ import annotations

import os
import socket
import ssl
from datetime import UTC, datetime

import httpx
import orjson

from dispatch.network import Answer, Blocked, Network
from dispatch.plugins import DispatchRequest, JsonObject, PluginInfo, Result, Verification
from storage.models import AttemptOutcome

# The receiver says that it will never take this. Others, 404 among them, are seen while a receiver is being deployed.
FINAL_STATUSES = frozenset({401, 403, 410})
SUCCESS = range(200, 300)

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

    async def dispatch(self, request: DispatchRequest) -> Result:
        url: str = request.channel_data["url"]
        try:
            answer = await self._network.post(url, headers=_headers(request), content=_body(request))
        except Blocked as blocked:
            return Result(AttemptOutcome.BLOCKED, error=str(blocked))
        except httpx.TimeoutException:
            return Result(AttemptOutcome.TIMEOUT, error="No answer came in time.")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError):
            return Result(AttemptOutcome.REFUSED, error="The channel's address or one of its headers is not valid.")
        except httpx.HTTPError as error:
            return Result(AttemptOutcome.RETRY, error=f"The request failed: {_reason(error)}.")
        return _judged(answer)


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


def _judged(answer: Answer) -> Result:
    excerpt = answer.body.decode(errors="replace") or None
    status = answer.status_code
    if status in SUCCESS:
        return Result(AttemptOutcome.OK, status_code=status, response_excerpt=excerpt)
    outcome = AttemptOutcome.REFUSED if status in FINAL_STATUSES else AttemptOutcome.RETRY
    return Result(outcome, status_code=status, error=f"The receiver answered {status}.", response_excerpt=excerpt)


def _reason(error: BaseException | None) -> str:
    """What the system or TLS said underneath: the client's own texts may hold the address."""
    cause = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        if isinstance(cause, ssl.SSLError):
            return (cause.reason or "TLS failed").replace("_", " ").lower()
        if isinstance(cause, socket.gaierror):
            return "the name cannot be resolved"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
