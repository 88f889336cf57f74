"""The floor: what uvicorn takes to send a prebuilt text to each of its sockets when it is told to by a POST.

It answers as graphql-transport-ws has it, so that the same clients count what comes. It must not know GraphQL.
"""

from __future__ import annotations

import os
from typing import Any

import orjson
import uvicorn

from benchmarks.http import sample

ACK = {"type": "websocket.send", "text": '{"type":"connection_ack"}'}


class Floor:
    """The ASGI application."""

    def __init__(self) -> None:
        self._open: dict[Any, dict[str, str]] = {}  # how to send, and what

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self._listen(receive, send)
            return
        assert scope["type"] == "http"
        while (await receive()).get("more_body"):
            pass
        for send_to, message in list(self._open.items()):
            await send_to(message)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    async def _listen(self, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", "subprotocol": "graphql-transport-ws"})
        assert "connection_init" in (await receive())["text"]
        await send(ACK)
        assert "subscribe" in (await receive())["text"]
        self._open[send] = {"type": "websocket.send", "text": _event(len(self._open))}
        while (await receive())["type"] != "websocket.disconnect":
            pass
        del self._open[send]


def _event(number: int) -> str:
    """About as long as the other servers', and another one for each socket."""
    said = next(sample.said(sample.EACH))
    notification = {
        "notificationId": f"notification-{number:012x}",
        "topic": said.topic,
        "message": said.message,
        "notificationType": said.type,
        "notificationLevel": said.level,
        "isRead": False,
        "createdAt": said.created_at,
    }
    payload = {"data": {"notificationCreated": notification}}
    return orjson.dumps({"id": "1", "type": "next", "payload": payload}).decode()


if __name__ == "__main__":
    uvicorn.run(
        Floor(),
        port=int(os.environ["PORT"]),
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="websockets-sansio",  # the cheapest of uvicorn's (decision 8)
        ws_per_message_deflate=False,
    )
