"""A notification plugin of SpaceONE for tests: a gRPC server as strict as the original ones, that answers as told."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict
from jsonschema import Draft202012Validator
from spaceone.api.notification.plugin.notification_pb2_grpc import add_NotificationServicer_to_server
from spaceone.api.notification.plugin.protocol_pb2 import PluginInfo
from spaceone.api.notification.plugin.protocol_pb2_grpc import add_ProtocolServicer_to_server

from tests.sink import PATIENCE

GOOD_KEY = "the-right-access-key"
FIELDS = ("options", "message", "secret_data", "channel_data")
DATA_SCHEMA = {
    "type": "object",
    "properties": {
        "phone_number": {"type": "string", "minLength": 4},
        "retries": {"type": "integer", "minimum": 0},
        "token": {"type": "string"},
    },
    "required": ["phone_number"],
}


@dataclass(frozen=True)
class Dispatched:
    """A dispatch that met the rules. Numbers are as a Struct has them: doubles."""

    options: dict[str, Any]
    message: dict[str, Any]
    notification_type: int
    secret_data: dict[str, Any]
    channel_data: dict[str, Any]
    metadata: dict[str, str]


@dataclass(frozen=True)
class Failure:
    """A call ends with this."""

    status: grpc.StatusCode
    details: str = ""


@dataclass(frozen=True)
class Hang:
    """A call is not answered."""


@dataclass(frozen=True)
class Ok: ...


Behaviour = Ok | Failure | Hang


class SpaceOnePlugin:
    """`async with SpaceOnePlugin() as plugin`: it takes each of `script` once, and then behaves as `otherwise` says.

    Whatever it is told to do, a call that breaks the rules ends with INVALID_ARGUMENT.
    """

    def __init__(self, *, data_type: str = "PLAIN_TEXT", tls: Path | None = None, port: int = 0) -> None:
        self.metadata: dict[str, Any] = {"data_type": data_type, "data": {"schema": DATA_SCHEMA}}
        self.dispatched: list[Dispatched] = []
        self.inits: list[dict[str, Any]] = []
        self.verified: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.peers: list[str] = []  # one for each call
        self.given_up = asyncio.Event()  # the caller of a hanging call has left
        self.script: deque[Behaviour] = deque()
        self.otherwise: Behaviour = Ok()
        self._tls = tls
        self.port = port  # 0: any free one
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> SpaceOnePlugin:
        self._server = grpc.aio.server()
        add_NotificationServicer_to_server(self, self._server)
        add_ProtocolServicer_to_server(self, self._server)
        self.port = self._listen()
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(None)

    def _listen(self) -> int:
        address = f"127.0.0.1:{self.port}"
        if self._tls is None:
            return self._server.add_insecure_port(address)
        pem = self._tls.read_bytes()
        return self._server.add_secure_port(address, grpc.ssl_server_credentials([(pem, pem)]))

    def endpoint(self, host: str = "127.0.0.1") -> str:
        return f"{'grpc+ssl' if self._tls else 'grpc'}://{host}:{self.port}"

    async def called(self, times: int) -> None:
        """Return once it was called that often."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.peers) >= times)

    async def init(self, request: Any, context: Any) -> Any:
        await self._note(context)
        await _require(request.HasField("options"), context, "ERROR_REQUIRED_PARAMETER: (key = options)")
        self.inits.append(MessageToDict(request.options))
        await self._behave(context)
        return PluginInfo(metadata=self.metadata)

    async def verify(self, request: Any, context: Any) -> Empty:
        await self._note(context)
        for field in ("options", "secret_data"):
            await _require(request.HasField(field), context, f"ERROR_REQUIRED_PARAMETER: (key = {field})")
        options, secret_data = MessageToDict(request.options), MessageToDict(request.secret_data)
        self.verified.append((options, secret_data))
        await self._behave(context)
        if secret_data.get("access_key", GOOD_KEY) != GOOD_KEY:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"ERROR_AUTHENTICATE_FAILURE: not {secret_data}")
        return Empty()

    async def dispatch(self, request: Any, context: Any) -> Empty:
        await self._note(context)
        for field in FIELDS:
            await _require(request.HasField(field), context, f"ERROR_REQUIRED_PARAMETER: (key = {field})")
        await _require(request.notification_type, context, "ERROR_REQUIRED_PARAMETER: (key = notification_type)")
        given = Dispatched(
            options=MessageToDict(request.options),
            message=MessageToDict(request.message),
            notification_type=request.notification_type,
            secret_data=MessageToDict(request.secret_data),
            channel_data=MessageToDict(request.channel_data),
            metadata=dict(context.invocation_metadata()),
        )
        for complaint in _complaints(given):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"ERROR_INVALID_PARAMETER_TYPE: {complaint}")
        await self._behave(context)
        self.dispatched.append(given)
        return Empty()

    async def _note(self, context: Any) -> None:
        async with self._changed:
            self.peers.append(context.peer())
            self._changed.notify_all()

    async def _behave(self, context: Any) -> None:
        match self.script.popleft() if self.script else self.otherwise:
            case Failure(status, details):
                await context.abort(status, details)
            case Hang():
                try:
                    await asyncio.Event().wait()
                finally:
                    self.given_up.set()


async def _require(fulfilled: object, context: Any, details: str) -> None:
    if not fulfilled:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, details)


def _complaints(given: Dispatched) -> list[str]:
    message = given.message
    tags, callbacks = message.get("tags"), message.get("callbacks")
    rules = {
        "title": isinstance(message.get("title"), str) and message["title"],
        "tags": isinstance(tags, list) and all(_is_pair(tag, "key", "value") for tag in tags),
        "callbacks": isinstance(callbacks, list) and all(_is_pair(each, "label", "url") for each in callbacks),
        "message": None not in message.values(),
        "options": not _has_doubles(given.options),
        "secret_data": not _has_doubles(given.secret_data),
        "channel_data": Draft202012Validator(DATA_SCHEMA).is_valid(given.channel_data),
    }
    return [name for name, is_kept in rules.items() if not is_kept]


def _is_pair(value: Any, *names: str) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in names)


def _has_doubles(value: dict[str, Any]) -> bool:
    return any(isinstance(item, float) for item in value.values())
