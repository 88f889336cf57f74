"""A caller of a real server over HTTP and websockets, and what callers say to it again and again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

T = TypeVar("T")

DEADLINE_S = 30  # for what should come in moments
POLL_S = 0.02  # between two looks at what nothing announces
GRAPHQL_TRANSPORT_WS = Subprotocol("graphql-transport-ws")

FIELDS = """
    notificationId parentNotificationId topic message notificationType notificationLevel isRead readAt
    userId projectId domainId createdAt cursor
"""
INTERNAL = "{ protocols(filter: {protocolType: INTERNAL}) { nodes { protocolId } } }"
PROTOCOL = """
    mutation ($input: CreateProtocolInput!) { createProtocol(input: $input) { protocol { protocolId } } }
"""
CHANNEL = """
    mutation ($input: CreateProjectChannelInput!) {
      createProjectChannel(input: $input) { projectChannel { projectChannelId } }
    }
"""
CREATE = f"""
    mutation ($input: CreateNotificationInput!) {{
      createNotification(input: $input) {{
        recipientCount deliveryCount replayed
        notification {{ {FIELDS} decisions {{ channelId decision reason }} }}
        notifications {{ {FIELDS} }}
        deliveries {{ deliveryId }}
      }}
    }}
"""
PUSH = f"""
    mutation ($input: PushNotificationInput!) {{
      pushNotification(input: $input) {{ notification {{ {FIELDS} }} delivery {{ deliveryId }} }}
    }}
"""
DELIVERY = """
    query ($id: ID!) {
      delivery(deliveryId: $id) {
        deliveryId notificationId channelId protocolId pluginId state reason detail attemptCount nextAttemptAt
        finishedAt attempts { startedAt outcome statusCode error responseExcerpt }
      }
    }
"""
CHILDREN = """
    query ($parent: ID!, $after: Cursor) {
      notifications(filter: {parentNotificationId: $parent}, first: 100, after: $after) {
        nodes { userId }
        pageInfo { hasNextPage endCursor }
      }
    }
"""
OPEN = "{ deliveries(filter: {states: [PENDING, SENDING, RETRYING]}) { totalCount } }"


@dataclass(frozen=True)
class Client:
    """Somebody with a token."""

    url: str  # of the server, without a path
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def ask(self, query: str, **variables: object) -> Any:
        """The `data` of a POST that must not bring errors."""
        return await self._data("POST", json={"query": query, "variables": variables})

    async def get(self, query: str) -> Any:
        """The `data` of a GET that must not bring errors."""
        return await self._data("GET", params={"query": query})

    async def internal_protocol(self) -> str:
        [protocol] = (await self.ask(INTERNAL))["protocols"]["nodes"]
        return str(protocol["protocolId"])

    async def protocol(self, plugin: str) -> str:
        """The id of a new protocol of this plugin."""
        asked = {"name": plugin, "plugin": {"pluginId": plugin}}
        return str((await self.ask(PROTOCOL, input=asked))["createProtocol"]["protocol"]["protocolId"])

    async def channel(self, project: str, protocol: str, data: object, level: str = "LV1") -> str:
        """The id of a new channel of the project."""
        asked = {"projectId": project, "protocolId": protocol, "name": "a channel", "data": data}
        made = await self.ask(CHANNEL, input={**asked, "notificationLevel": level})
        return str(made["createProjectChannel"]["projectChannel"]["projectChannelId"])

    async def create(self, resource_type: str, resource_id: str, **more: object) -> Any:
        asked = {
            "resourceType": resource_type,
            "resourceId": resource_id,
            "topic": "a.topic",
            "message": {"title": "A"},
        }
        return (await self.ask(CREATE, input={**asked, **more}))["createNotification"]

    async def push(self, protocol: str, data: object, message: object, **more: object) -> Any:
        asked = {"protocolId": protocol, "data": data, "message": message, **more}
        return (await self.ask(PUSH, input=asked))["pushNotification"]

    async def settled(self, delivery_id: str) -> Any:
        """The delivery, once it is at its end."""

        async def read() -> Any:
            return (await self.ask(DELIVERY, id=delivery_id))["delivery"]

        return await eventually(read, lambda delivery: delivery["finishedAt"])

    async def recipients(self, record_id: str) -> list[str]:
        """The users whom a create has reached so far, one for each inbox row."""
        users: list[str] = []
        page: Any = {"hasNextPage": True, "endCursor": None}
        while page["hasNextPage"]:
            asked = await self.ask(CHILDREN, parent=record_id, after=page["endCursor"])
            users += [row["userId"] for row in asked["notifications"]["nodes"]]
            page = asked["notifications"]["pageInfo"]
        return users

    async def open_deliveries(self) -> int:
        """How many may still be sent."""
        return int((await self.ask(OPEN))["deliveries"]["totalCount"])

    @asynccontextmanager
    async def subscription(self, query: str, **variables: object) -> AsyncIterator[Subscription]:
        """A socket of its own with this one operation."""
        address = f"{self.url.replace('http', 'ws', 1)}/graphql"
        async with connect(address, subprotocols=[GRAPHQL_TRANSPORT_WS], proxy=None) as socket:
            subscription = Subscription(socket)
            await subscription.send(type="connection_init", payload=self.headers)
            assert await subscription.receive() == {"type": "connection_ack"}
            await subscription.send(type="subscribe", id="1", payload={"query": query, "variables": variables})
            yield subscription

    async def _data(self, method: str, **request: Any) -> Any:
        # On the loopback there is no proxy, and no certificate: they would be read anew for every request.
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=DEADLINE_S) as client:
            answer = await client.request(method, f"{self.url}/graphql", headers=self.headers, **request)
        body = answer.json()
        assert "errors" not in body, body["errors"]
        return body["data"]


@dataclass(frozen=True)
class Subscription:
    socket: ClientConnection

    async def event(self) -> Any:
        """The `data` of the next event."""
        message = await self.receive()
        assert message["type"] == "next", message
        assert "errors" not in message["payload"], message
        return message["payload"]["data"]

    async def closed(self) -> tuple[int, str]:
        """The code and the reason that the server closes with, whatever it says before."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    await self.socket.recv()
        except ConnectionClosed as closed:
            frame = closed.rcvd
        assert frame, "the connection was lost without a close frame"
        return frame.code, frame.reason

    async def send(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def receive(self) -> Any:
        async with asyncio.timeout(DEADLINE_S):
            return json.loads(await self.socket.recv())


async def eventually(read: Callable[[], Awaitable[T]], expected: Callable[[T], object]) -> T:
    """What `read` brings, once it is as expected: for what nothing announces to those outside."""
    deadline = time.monotonic() + DEADLINE_S
    while not expected(seen := await read()):
        assert time.monotonic() < deadline, f"still {seen!r} after {DEADLINE_S} s"
        await asyncio.sleep(POLL_S)
    return seen
