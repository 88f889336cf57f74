"""uvicorn as this server runs it: what speaks HTTP and websockets with bounds, and nothing said of itself.

It must not know what is answered.
"""

from __future__ import annotations

import uvicorn
from starlette.types import ASGIApp

from schema import websocket
from schema.bounded_http import BoundedHTTP
from schema.bounded_socket import BoundedSocket


def server(application: ASGIApp, *, socket_timeout: float, shutdown_timeout: int) -> uvicorn.Server:
    """In seconds: within which far sides take what is sent and answer pings, and within which requests end at last."""
    config = uvicorn.Config(
        application,
        interface="asgi3",
        proxy_headers=False,  # /graphql does not ask who stands behind a proxy, and others see to it themselves
        log_config=None,
        access_log=False,
        server_header=False,
        http=BoundedHTTP,
        ws=BoundedSocket,
        ws_ping_interval=socket_timeout,
        ws_ping_timeout=socket_timeout,
        ws_max_size=websocket.MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # costs memory and time per socket; messages are small
        timeout_graceful_shutdown=shutdown_timeout,
    )
    return uvicorn.Server(config)
