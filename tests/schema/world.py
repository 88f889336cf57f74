"""Things of several owners in two domains, and the API over them as it is served, but for the sockets.

What each owner has goes by the names that `tests.schema.operations` uses: @notification, @userChannel and so on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from cryptography.fernet import Fernet
from graphql import GraphQLError
from sqlmodel import SQLModel, select
from strawberry.types.execution import ExecutionResult, PreExecutionError

from dispatch.hub import Hub
from dispatch.network import Network
from dispatch.plugins import registry
from resolvers import access, channels, cursors, deliveries, inboxes, notifications, protocols, quotas, steering
from resolvers.access import Caller, Role
from resolvers.context import Server
from resolvers.cursors import StreamCursor
from resolvers.errors import Unauthenticated
from resolvers.once import Said
from resolvers.paging import Window
from schema.context import Context
from schema.execution import Schema
from schema.graphiql import page
from schema.http import GraphQLApp, Via
from schema.node import global_id
from storage import inboxes as inbox_rows
from storage import migrations, usages
from storage.channels import Kind
from storage.deliveries import Filter
from storage.engine import Database
from storage.models import Delivery
from storage.secrets import Vault
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE, AWAY_ADMIN, BOB, NEVER, SERVICE, SYSTEM
from tests.resolvers.courier import GOOD_TOKEN, Courier
from tests.resolvers.said import creation
from tests.schema import operations
from tests.schema.asking import API
from tests.schema.operations import Variables

DEADLINE_S = 10
SIGNING_KEY = b"k" * 32
SEALING_KEY = Fernet.generate_key()
BATCH = Caller("home", "batch", Role.SERVICE, NEVER)
CAROL = Caller("away", "carol", Role.USER, NEVER)
AWAY_SERVICE = Caller("away", "backend", Role.SERVICE, NEVER)

Things = dict[str, str]


@dataclass(frozen=True)
class Answer:
    """What one operation was answered with."""

    text: str
    data: Any = None
    error: Mapping[str, Any] | None = None

    @property
    def code(self) -> str | None:
        return None if self.error is None else self.error["extensions"]["code"]

    @property
    def field(self) -> str | None:
        return None if self.error is None else self.error["extensions"].get("field")


def refusal(answer: Answer) -> tuple[str | None, str | None]:
    """The code and the field; of several creates, those of the first."""
    if answer.error is None and "createNotifications" in answer.data:
        first = answer.data["createNotifications"][0]
        return first.get("code"), first.get("field")
    return answer.code, answer.field


@dataclass(frozen=True)
class World:
    server: Server
    http: httpx.AsyncClient
    of: Mapping[str, Things]  # by the owner's user id

    async def post(self, caller: Caller | None, document: str, variables: Variables | None = None) -> Answer:
        """Over HTTP; without a token where there is no caller."""
        content = json.dumps({"query": document, "variables": variables})  # lone surrogates stay escaped
        response = await self.http.post("/graphql", content=content, headers=_headers(caller))
        answer = response.json()
        return Answer(response.text, answer.get("data"), next(iter(answer.get("errors", [])), None))

    async def try_out(self, caller: Caller | None, operation: str, variables: Variables, *, depth: int = 1) -> Answer:
        """The operation's one root field; of a subscription, its first event."""
        document = operations.document(operation, depth=depth)
        if operations.kind(operation) == "subscription":
            return await self._first_event(caller, document, variables)
        return await self.post(caller, document, variables)

    async def _first_event(self, caller: Caller | None, document: str, variables: Variables) -> Answer:
        context = Context(self.server, caller or Unauthenticated("Who?"), Via.WEBSOCKET)
        async with asyncio.timeout(DEADLINE_S):
            stream = await API.subscribe(document, dict(variables), context_value=context)
            if isinstance(stream, PreExecutionError):
                return _event(stream)
            event = asyncio.ensure_future(anext(aiter(stream)))
            while not event.done():
                await self._tell_of_deliveries()
                await asyncio.wait([event], timeout=0.02)
            await stream.aclose()
        return _event(event.result())

    async def _tell_of_deliveries(self) -> None:
        """As a worker does when it changes some: streams of deliveries bring only what changes while they run."""
        async with self.server.database.read() as session:
            changed = list(await session.exec(select(Delivery)))
        await self.server.hub.publish_deliveries(changed)

    async def rows(self) -> dict[str, list[Any]]:
        """Everything that is stored."""
        async with self.server.database.read() as session:
            tables = SQLModel.metadata.sorted_tables
            return {
                table.name: sorted(map(repr, await session.exec(select(table))))  # type: ignore[call-overload]
                for table in tables
            }


def _event(result: ExecutionResult) -> Answer:
    error: GraphQLError | None = next(iter(result.errors or []), None)
    return Answer(str(result), result.data, None if error is None else error.formatted)


def _headers(caller: Caller | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept": "application/graphql-response+json"}
    return headers | ({"Authorization": f"Bearer {access.issue(SIGNING_KEY, caller)}"} if caller else {})


@asynccontextmanager
async def serving(url: str, clock: Clock) -> AsyncIterator[Server]:
    """A server over this database; only its worker is not running."""
    database, hub, network = Database(url), Hub("memory://"), Network([], timeout=1)
    await database.open()
    await hub.open()
    yield Server(
        database=database,
        vault=Vault(SEALING_KEY),
        plugins={**registry.discover(network), "courier": Courier()},
        hub=hub,
        wake_worker=lambda: None,
        wake_fanout=lambda: None,
        clock=clock,
    )
    await hub.close()
    await network.close()
    await database.close()


@asynccontextmanager
async def opened(server: Server, of: Mapping[str, Things], *, api: Schema = API) -> AsyncIterator[World]:
    def open_context(authorization: str | None, via: Via) -> Context:
        try:
            return Context(server, access.authenticate(authorization, SIGNING_KEY, server.clock()), via)
        except Unauthenticated as error:
            return Context(server, error, via)

    app = GraphQLApp(api, open_context=open_context, ide=page)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tocsin") as client:
        yield World(server, client, of)


async def populate(server: Server) -> dict[str, Things]:
    """Fill an empty database: things in the domains `home`, `away` and `root`, by the user id of whose they are."""
    await migrations.upgrade(server.database)
    home, away = await _domain(server, ADMIN), await _domain(server, AWAY_ADMIN)
    await _say(server, AWAY_SERVICE, "identity.Project", "p1")
    return {
        "alice": home | await _user(server, ALICE, home, said_by=SERVICE),
        "bob": home | await _user(server, BOB, home, said_by=BATCH),
        "carol": away | await _user(server, CAROL, away, said_by=AWAY_SERVICE),
        "backend": home | await _service(server, SERVICE),
        "batch": home | await _service(server, BATCH),
        "admin": await _own_inbox(server, ADMIN),
        "operator": await _own_inbox(server, SYSTEM),
    }


async def _domain(server: Server, admin: Caller) -> Things:
    secret = {"token": GOOD_TOKEN}
    vans = await protocols.create(server, admin, name="Vans", plugin_id="courier", secret_data=secret)
    unused = await protocols.create(server, admin, name="Unused", plugin_id="log")
    channel = await channels.create(
        server,
        admin,
        Kind.PROJECT,
        protocol_id=vans.protocol_id,
        owner_id="p1",
        name="Front",
        data={"door": "front"},
    )
    quota = await quotas.create(server, admin, protocol_id=vans.protocol_id, day=1_000)
    today = usages.day(server.clock())
    await server.database.write(lambda session: usages.reserve(session, vans.protocol_id, admin.domain_id, today, 1))
    return {
        "@quota": quota.quota_id,
        "@protocol": vans.protocol_id,
        "@unusedProtocol": unused.protocol_id,
        "@projectChannel": channel.channel_id,
    }


async def _user(server: Server, user: Caller, domain: Things, *, said_by: Caller) -> Things:
    channel = await channels.create(
        server,
        user,
        Kind.USER,
        protocol_id=domain["@protocol"],
        owner_id=None,
        name="Mine",
        data={"door": "back"},
    )
    return {
        "@user": user.user_id,
        "@userChannel": channel.channel_id,
        **await _own_inbox(server, user),
        **await _hold_what_waits(server, user),
        **await _things(server, said_by, "identity.User", user.user_id),
    }


async def _service(server: Server, service: Caller) -> Things:
    return {
        "@user": "alice",
        "@userChannel": "user-ch-000000000000",
        "@heldDelivery": "delivery-000000000000",
        "@heldNotification": "notification-000000000000",
        "@start": cursors.for_stream(cursors.BEGINNING),
        "@head": cursors.for_stream(cursors.BEGINNING),
        **await _things(server, service, "identity.Project", "p1"),
    }


async def _things(server: Server, caller: Caller, resource_type: str, resource_id: str) -> Things:
    said = await _say(server, caller, resource_type, resource_id)
    [delivery] = await notifications.deliveries_of(server, said.notification_id, first=1)
    return {
        "@notification": said.notification_id,
        "@delivery": delivery.delivery_id,
        "@node": global_id("Notification", said.notification_id),
    }


async def _hold_what_waits(server: Server, user: Caller) -> Things:
    listing = await deliveries.page(server, user, Filter(), domain_id=None, window=Window())
    [waiting] = listing.page.rows
    held = await steering.cancel(server, user, delivery_id=waiting.delivery_id)
    return {"@heldDelivery": held.delivery_id, "@heldNotification": held.notification_id}


async def _own_inbox(server: Server, user: Caller) -> Things:
    """The cursors of the beginning and the end of a user's inbox, in which there is one notification."""
    sender = user if user.role in access.SENDERS else Caller(user.domain_id, "backend", Role.SERVICE, NEVER)
    await _say(server, sender, "identity.User", user.user_id)
    async with server.database.read() as session:
        inbox = await inbox_rows.find(session, inboxes.own(user))
    assert inbox is not None
    start = StreamCursor(inbox.inbox_id, inbox.generation, 0)
    return {"@start": cursors.for_stream(start), "@head": inboxes.state(inbox).cursor}


async def _say(server: Server, caller: Caller, resource_type: str, resource_id: str) -> Said:
    return await notifications.create(server, caller, creation(resource_id, resource_type=resource_type))
