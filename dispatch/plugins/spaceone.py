"""The plugin `spaceone`: any notification plugin of SpaceONE or Cloudforet, over gRPC.

A protocol's options hold the plugin's `endpoint` and, beside it, the plugin's own options, which alone are sent. What a
channel needs, and whether it is secret, is what the plugin at the endpoint says. Needs the extra `spaceone`.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from string import punctuation
from typing import Any
from urllib.parse import quote

import grpc
import grpc.aio
import orjson
from google.protobuf.struct_pb2 import Struct
from spaceone.api.notification.plugin.notification_pb2 import PluginDispatchRequest
from spaceone.api.notification.plugin.notification_pb2_grpc import NotificationStub
from spaceone.api.notification.plugin.protocol_pb2 import InitRequest, PluginVerifyRequest
from spaceone.api.notification.plugin.protocol_pb2_grpc import ProtocolStub

from dispatch import message, redaction, rpc
from dispatch.network import Network, NoAnswer
from dispatch.plugins import (
    DispatchRequest,
    Envelope,
    JsonObject,
    PluginInfo,
    Result,
    Unusable,
    Verification,
    schemas,
    structs,
)
from storage.models import AttemptOutcome

NAME = "SpaceONE plugin"
MAX_DETAILS = 20_000  # characters of what a plugin says went wrong
MAX_KEPT = 256  # channel data schemas: one for each protocol's options
MAX_ENDPOINT_LENGTH = 512

OPTIONS_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "endpoint": {
            "type": "string",
            "title": "Endpoint",
            "description": "Where the plugin listens: grpc://host:port, or grpc+ssl://host:port for TLS.",
            "pattern": "^grpc([+]ssl)?://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$",
            "not": {"pattern": "\\s"},
            "maxLength": MAX_ENDPOINT_LENGTH,
        },
    },
    "required": ["endpoint"],
}
# Before an endpoint is known. Nothing says yet that channel data may be shown.
GENERAL = PluginInfo(name=NAME, data_schema={"type": "object"}, options_schema=OPTIONS_SCHEMA, data_is_secret=True)

# Everything else may pass: most plugins say INTERNAL of all that goes wrong behind them.
OUTCOMES = {
    grpc.StatusCode.DEADLINE_EXCEEDED: AttemptOutcome.TIMEOUT,
    grpc.StatusCode.INVALID_ARGUMENT: AttemptOutcome.REFUSED,
    grpc.StatusCode.PERMISSION_DENIED: AttemptOutcome.REFUSED,
    grpc.StatusCode.UNAUTHENTICATED: AttemptOutcome.REFUSED,
}
# INVALID_ARGUMENT with this code is any 4xx of the service behind the plugin: too many requests, too.
PASSING = "ERROR_CLIENT_REQUEST_FAILED"

Metadata = tuple[tuple[str, str], ...]
NOBODY: Metadata = (("token", "NO_TOKEN"),)  # what plugins expect, and nobody's token


class SpaceONE:
    def __init__(self, network: Network) -> None:
        self._channels = rpc.Channels(network)
        self._timeout = network.timeout
        self._schemas: dict[bytes, JsonObject] = {}  # of channel data, by options

    async def close(self) -> None:
        await self._channels.close()

    async def init(self, options: JsonObject) -> PluginInfo:
        """Asks the plugin at the endpoint. Without options: what every such protocol needs."""
        if not options:
            return GENERAL
        try:
            return await self._ask(options)
        except grpc.aio.AioRpcError as error:
            raise Unusable(f"the call ended with {error.code().name}") from error
        except NoAnswer as error:
            raise Unusable(str(error).rstrip(".")) from error

    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        request = PluginVerifyRequest(options=_own(options), secret_data=structs.struct(structs.spelled(secret_data)))
        try:
            async with self._channel(options) as channel:
                await ProtocolStub(channel).verify(request, timeout=self._timeout, metadata=NOBODY)
        except NoAnswer as error:
            return Verification(False, str(error))
        except grpc.aio.AioRpcError as error:
            return Verification(False, _complaint(error, secret_data))
        return Verification(True)

    async def dispatch(self, request: DispatchRequest) -> Result:
        try:
            built = _request(request, await self._schema_for(request))
            async with self._channel(request.options) as channel:
                metadata = _metadata(request.envelope)
                await NotificationStub(channel).dispatch(built, timeout=self._timeout, metadata=metadata)
        except NoAnswer as error:
            return Result.unanswered(error)
        except Unusable as error:
            return Result(AttemptOutcome.RETRY, error=f"The plugin cannot be used: {error}.")
        except grpc.aio.AioRpcError as error:
            return _judged(error)
        except (ValueError, OverflowError):
            return Result(AttemptOutcome.REFUSED, error="There is something in the message that gRPC cannot carry.")
        return Result(AttemptOutcome.OK, status_code=0)

    async def _schema_for(self, request: DispatchRequest) -> JsonObject | None:
        """Where integers of the channel's data depend on it. A worker may run where `init` was never asked."""
        if not structs.has_integers(request.channel_data):
            return None
        key = _key(request.options)
        if key not in self._schemas:
            await self._ask(request.options)
        return self._schemas[key]

    async def _ask(self, options: JsonObject) -> PluginInfo:
        request = InitRequest(options=_own(options))
        async with self._channel(options) as channel:
            answer = await ProtocolStub(channel).init(request, timeout=self._timeout, metadata=NOBODY)
        info = _info(structs.json(answer.metadata))
        if len(self._schemas) >= MAX_KEPT:
            self._schemas.clear()
        self._schemas[_key(options)] = info.data_schema
        return info

    def _channel(self, options: JsonObject) -> AbstractAsyncContextManager[grpc.aio.Channel]:
        return self._channels.use(rpc.endpoint(options["endpoint"]))


def _info(metadata: Any) -> PluginInfo:
    """Raises Unusable."""
    match metadata:
        case {"data_type": "PLAIN_TEXT" | "SECRET" as data_type, "data": {"schema": dict(schema)}}:
            pass
        case _:
            raise Unusable("it does not say what a channel's data has to be")
    try:
        schemas.require_valid(schema)
    except schemas.SchemaViolation as violation:
        raise Unusable("its schema of a channel's data is no JSON Schema, or refers to others") from violation
    return replace(GENERAL, data_schema=schema, data_is_secret=data_type == "SECRET")


def _request(request: DispatchRequest, schema: JsonObject | None) -> Any:
    """All five fields, also those that hold nothing: plugins take one that is absent for a mistake.

    Raises ValueError, OverflowError.
    """
    return PluginDispatchRequest(
        options=_own(request.options),
        message=structs.struct(message.as_original(request.message, topic=request.envelope.topic)),
        notification_type=request.notification_type.value,
        secret_data=structs.struct(structs.spelled(request.secret_data)),
        channel_data=structs.struct(structs.spelled(request.channel_data, schema)),
    )


def _own(options: JsonObject) -> Struct:
    """The plugin's own options."""
    return structs.struct(structs.spelled({name: value for name, value in options.items() if name != "endpoint"}))


def _metadata(envelope: Envelope) -> Metadata:
    domain_id = quote(envelope.domain_id, safe=punctuation)  # metadata are ASCII
    return (*NOBODY, ("domain_id", domain_id), ("transaction_id", envelope.delivery_id))


def _judged(error: grpc.aio.AioRpcError) -> Result:
    status, details = error.code(), (error.details() or "")[:MAX_DETAILS]
    outcome = OUTCOMES.get(status, AttemptOutcome.RETRY)
    return Result(
        AttemptOutcome.RETRY if details.startswith(PASSING) else outcome,
        status_code=status.value[0],
        error=f"The call ended with {status.name}.",
        response_excerpt=details or None,
    )


def _complaint(error: grpc.aio.AioRpcError, secret_data: JsonObject) -> str:
    """What the plugin says against a secret, without repeating it."""
    redactor = redaction.Redactor(redaction.strings(secret_data))
    return redactor.redact(f"{error.code().name}: {error.details() or 'no reason is given'}")


def _key(options: JsonObject) -> bytes:
    return orjson.dumps(options, option=orjson.OPT_SORT_KEYS)
