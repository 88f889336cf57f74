"""Protocols as the tests of resolvers make them, and what is kept of them."""

from __future__ import annotations

from typing import Any

from sqlmodel import select

from resolvers import channels, protocols
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.paging import Window
from storage import ids
from storage.channels import Kind
from storage.models import Protocol
from storage.protocols import Filter
from tests.resolvers.callers import ADMIN
from tests.resolvers.courier import GOOD_TOKEN

INTERNAL = ids.internal_protocol("home")


async def create(server: Server, caller: Caller = ADMIN, **changes: Any) -> Protocol:
    wish: dict[str, Any] = {"name": "Vans", "plugin_id": "courier", "secret_data": {"token": GOOD_TOKEN}}
    return await protocols.create(server, caller, **{**wish, **changes})


async def stored(server: Server) -> list[Protocol]:
    async with server.database.read() as session:
        return list(await session.exec(select(Protocol)))


async def names(server: Server, caller: Caller = ADMIN, **wanted: Any) -> list[str]:
    listing = await protocols.page(server, caller, wanted=Filter(**wanted), window=Window())
    return [row.name for row in listing.page.rows]


def secret_of(server: Server, protocol: Protocol) -> Any:
    return None if protocol.secret_data is None else server.vault.unseal(protocol.secret_data)


async def channel_through(server: Server, protocol_id: str) -> str:
    channel = await channels.create(
        server, ADMIN, Kind.PROJECT, protocol_id=protocol_id, owner_id="shop", name="c", data={"door": "blue"}
    )
    return channel.channel_id
