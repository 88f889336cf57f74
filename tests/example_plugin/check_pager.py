"""The pager against Tocsin's conformance suite, with a gateway on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

from aiohttp import web
from tocsin_pager import Pager

from dispatch.network import Network
from dispatch.plugins.conformance import Arrival, Behaviour, PluginConformance, Subject

STATUSES = {Behaviour.WORKING: 200, Behaviour.REFUSING: 403, Behaviour.FAILING: 503}


class Gateway:
    """The far side of the tests: as small as it can be."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.contacts = self.port = 0
        self.behaviour = Behaviour.ABSENT
        self.hanging, self.released = asyncio.Event(), asyncio.Event()

    async def behave(self, behaviour: Behaviour) -> None:
        before, self.behaviour = self.behaviour, behaviour
        self.released.set()
        if before is Behaviour.ABSENT:
            self.web = web.Server(self.take)
            self.server = await asyncio.get_running_loop().create_server(self.web, "127.0.0.1", self.port)
            self.port = self.server.sockets[0].getsockname()[1]
        if behaviour is Behaviour.ABSENT:
            self.server.close()
            await self.web.shutdown()

    async def until_waited_for(self) -> None:
        await self.hanging.wait()

    async def take(self, request: web.BaseRequest) -> web.Response:
        self.contacts += 1
        page = await request.json()
        self.arrivals.append(Arrival(page["text"], page["id"]))
        if self.behaviour is Behaviour.HANGING:
            self.released.clear()
            self.hanging.set()
            await self.released.wait()
        answer = web.Response(status=STATUSES.get(self.behaviour, 503))
        answer.force_close()
        return answer


class TestPager(PluginConformance):
    @asynccontextmanager
    async def subject(self) -> AsyncIterator[Subject]:
        gateway = Gateway()
        await gateway.behave(Behaviour.WORKING)
        reaching, confined = Network([ip_network("127.0.0.1")], timeout=5), Network([], timeout=5)
        try:
            yield Subject(
                Pager(reaching),
                options={"gateway": f"http://127.0.0.1:{gateway.port}/pages"},
                secret_data={"token": "a token that nobody may see"},
                channel_data={"number": "01234567"},
                far_side=gateway,
                confined=Pager(confined),
            )
        finally:
            await gateway.behave(Behaviour.ABSENT)
            await reaching.close()
            await confined.close()
