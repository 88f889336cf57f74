"""Channels as the tests of resolvers make them, and what is kept of them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import select

from resolvers import channels
from resolvers.access import Caller
from resolvers.context import Server
from storage import ids, inboxes
from storage.channels import Kind
from storage.models import Channel
from tests.resolvers.callers import ADMIN

INTERNAL = ids.internal_protocol("home")
ID_FIELDS = {Kind.PROJECT: "projectChannelId", Kind.USER: "userChannelId"}
KINDS = pytest.mark.parametrize("kind", Kind)


async def create(server: Server, protocol_id: str, kind: Kind, caller: Caller = ADMIN, **changes: Any) -> Channel:
    owner = "shop" if kind is Kind.PROJECT else "alice"
    wish = {"protocol_id": protocol_id, "owner_id": owner, "name": "Front door", "data": {"to": "all"}}
    return await channels.create(server, caller, kind, **{**wish, **changes})


async def stored(server: Server) -> list[Channel]:
    async with server.database.read() as session:
        return list(await session.exec(select(Channel)))


async def known_users(server: Server, domain_id: str = "home") -> list[str]:
    async with server.database.read() as session:
        return await inboxes.known_users(session, domain_id, limit=20_000)
