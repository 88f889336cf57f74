"""Tocsin's entry: settings from the environment, the parts of one server and their lifespan, the command line.

Only this file reads the environment, and only this file knows all the parts.
"""

from __future__ import annotations

import asyncio
import difflib
import fcntl
import gc
import hashlib
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import structlog
import typer
import uvicorn
import uvloop
from pydantic import Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

import schema
from dispatch import processes
from dispatch.hub import Hub
from dispatch.loop import Loop
from dispatch.network import Network
from dispatch.plugins import registry
from dispatch.settings import DispatchSettings
from dispatch.worker import Worker
from resolvers import access, alerts, checks, fanout, idempotency, retention, revocations, streams
from resolvers.access import Caller, Role
from resolvers.context import Server
from resolvers.errors import InvalidArgument, Unauthenticated
from resolvers.settings import ResolverSettings
from schema import graphiql, serving
from schema.context import Context
from schema.http import GraphQLApp, Via
from schema.settings import SchemaSettings
from schema.sockets import Sockets
from storage import generations, migrations, queue, rotation
from storage.engine import Database
from storage.errors import DatabaseNewer, StorageError, WrongKey
from storage.queries import search_merging
from storage.rotation import Resealed
from storage.settings import StorageSettings

PREFIX = "TOCSIN_"
STARTING_TOKEN_TTL = timedelta(hours=12)
LONGEST_TTL = timedelta(days=36_500)  # dates end at some point
SHUTDOWN_SECONDS = 10  # that requests in flight have to end, and again deliveries
END_SECONDS = 3 * SHUTDOWN_SECONDS  # that one of several server processes has for all of its shutdown
HEADS_EVERY_SECONDS = 2.0  # how late a stream may be whose wake-up was lost
SWEEP_EVERY_SECONDS = 3600.0
SWEEP_PAUSE_SECONDS = 0.1  # between batches, so that others write meanwhile
ROTATION_GRACE_SECONDS = 60.0  # between sealing a secret and committing it: no transaction waits for longer
IDLE_ALERTS_SECONDS = 60.0  # how late an alert may be that another process left
COLLECTED_AFTER = 10_000, 10, 10  # new objects: those of one transaction live until its end (decision 19)
IDLE_FANOUT_SECONDS = 5.0  # how late a chunk may be whose wake-up was lost


class Settings(SchemaSettings, ResolverSettings, DispatchSettings, StorageSettings, BaseSettings):
    """Every setting, read from TOCSIN_<NAME>. The README lists them; a test compares."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="The port to listen on; 0: any free one.")
    workers: int = Field(1, ge=1, le=64, description="Server processes on one port; several need PostgreSQL and Redis.")
    log_level: str = Field("info", description="debug, info, warning or error.")

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.lower() not in ("debug", "info", "warning", "error"):
            raise ValueError("must be debug, info, warning or error")
        return value.lower()


class Parts:
    """One server: made closed, opened in order and closed in reverse by the application's lifespan."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        signing_key = settings.load_signing_key()
        self.tokens = access.Tokens(signing_key)
        self.database = settings.database()
        self.heads = Loop("heads", self._check_heads)
        self.alerts = Loop("alerts", self._tell_owners, poll=IDLE_ALERTS_SECONDS)
        self.revocations = Loop("revocations", self._read_revocations)
        self.hub = Hub(
            settings.broadcast_url,
            channel=_channel(signing_key),
            check_heads=self.heads.wake,
            check_revocations=self.revocations.wake,
        )
        self.network = Network(allow=settings.dispatch_allow_networks, timeout=settings.dispatch_timeout)
        self.plugins = registry.discover(self.network, {"apprise": {"allow": settings.apprise_allow}})
        vault = settings.vault()
        self.worker = Worker(
            self.database,
            vault,
            plugins=self.plugins,
            clock=_now,
            settings=settings.worker,
            announce=self.hub.publish_deliveries,
            alert=self.alerts.wake,
        )
        self.fanout = Loop("fanout", self._fan_out)
        self.keep = settings.keep
        self.sweep = Loop("sweep", self._sweep, poll=SWEEP_EVERY_SECONDS)
        self.server = Server(
            database=self.database,
            vault=vault,
            plugins=self.plugins,
            hub=self.hub,
            wake_worker=self.worker.wake,
            wake_fanout=self.fanout.wake,
            clock=_now,
            mark_read_on_fetch=settings.mark_read_on_fetch,
        )
        self.sockets = Sockets(settings.limits)
        self._revocations_read_at: datetime | None = None

    @property
    def background(self) -> list[Loop | Worker]:
        """What runs beside the answers of a server."""
        sending = [self.worker] if self.settings.dispatch_worker else []
        return [self.fanout, self.heads, self.revocations, self.sweep, self.alerts, *sending]

    @asynccontextmanager
    async def running(self, background: Sequence[Loop | Worker]) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await self.database.open()
            stack.push_async_callback(self.database.close)
            if self.database.is_sqlite and self.worker in background:
                # SQLite has one worker at a time: what is leased was the former process's, which was killed.
                await self.database.write(queue.release_all)
            await self.database.write(generations.go_on)
            if self.revocations in background:
                await self._read_revocations()  # before the first request
            await self.hub.open()
            stack.push_async_callback(self.hub.close)
            stack.push_async_callback(self.server.creates.drain)
            stack.push_async_callback(self.network.close)
            stack.push_async_callback(registry.close, self.plugins.loaded.values())
            for part in background:
                part.start()
                stack.push_async_callback(part.stop, SHUTDOWN_SECONDS)
            yield

    async def health(self) -> dict[str, str]:
        """What each part says of itself: "ok", or what is wrong."""
        return {
            **await self._database_health(),
            "hub": self.hub.health,
            **{part.name: "ok" if part.healthy else "failing" for part in self.background},
        }

    def open_context(self, authorization: str | None, via: Via) -> Context:
        return Context(self.server, self._identity(authorization), via)

    def _identity(self, authorization: str | None) -> Caller | Unauthenticated:
        try:
            return self.tokens.caller(authorization, datetime.now(UTC))
        except Unauthenticated as error:
            return error

    async def _database_health(self) -> dict[str, str]:
        try:
            current = await migrations.is_current(self.database)
        except StorageError:
            return {"database": "does not answer", "migrations": "unknown"}
        return {"database": "ok", "migrations": "ok" if current else "not at the newest revision"}

    async def _tell_owners(self) -> float:
        return 0 if await alerts.tell(self.server, operators=self.settings.alert_resource) else IDLE_ALERTS_SECONDS

    async def _fan_out(self) -> float:
        return 0 if await fanout.reach_next_chunk(self.server) else IDLE_FANOUT_SECONDS

    async def _check_heads(self) -> float:
        await streams.check_heads(self.server)
        return HEADS_EVERY_SECONDS

    async def _read_revocations(self) -> None:
        now = _now()
        self.sockets.check(await revocations.refresh(self.server, self._revocations_read_at))
        self._revocations_read_at = now

    async def _sweep(self) -> float:
        await idempotency.sweep(self.server)
        is_more = await retention.sweep(self.server, self.keep)
        is_more = await search_merging.merge(self.database) or is_more
        return SWEEP_PAUSE_SECONDS if is_more else SWEEP_EVERY_SECONDS


def application(settings: Settings) -> ASGIApp:
    """The ASGI application: /graphql, its explorer, and the probes."""
    parts = Parts(settings)
    graphql = GraphQLApp(
        schema.build(settings.trusted, answers_kept_bytes=settings.answers_kept_bytes),
        open_context=parts.open_context,
        ide=graphiql.page,
        allowed_origins=settings.allowed_origins,
        sockets=parts.sockets,
        ping_interval=settings.socket_timeout,
    )

    async def start(_request: Request) -> Response:
        return RedirectResponse("/graphql")  # GraphiQL, for who opens the bare address in a browser

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_request: Request) -> Response:
        health = await parts.health()
        return JSONResponse(health, status_code=200 if set(health.values()) == {"ok"} else 503)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with parts.running(parts.background):
            gc.collect()
            gc.freeze()  # what is here now stays: the collector need not look through it again and again
            gc.set_threshold(*COLLECTED_AFTER)
            yield

    routes: list[BaseRoute] = [
        *graphiql.routes,
        Route("/graphql", graphql),
        WebSocketRoute("/graphql", graphql),
        Route("/", start),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
    ]
    others = ProxyHeadersMiddleware(
        Starlette(routes=routes, lifespan=lifespan),  # type: ignore[arg-type]
        trusted_hosts=os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1"),  # as uvicorn has it
    )
    return _open_to(settings.allowed_origins, _first(graphql, others))  # type: ignore[arg-type]


def _first(graphql: ASGIApp, others: ASGIApp) -> ASGIApp:
    """The router finds /graphql as well, but what it costs is what a small answer costs."""

    def application(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return (graphql if scope.get("path") == "/graphql" else others)(scope, receive, send)

    return application


def _open_to(origins: Sequence[str], app: ASGIApp) -> ASGIApp:
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "if-none-match"],
        expose_headers=["etag", "retry-after"],
    )


def _channel(key: bytes) -> str:
    """What the processes of one installation have in common, and no other on the same broadcast server has."""
    return f"tocsin-{hashlib.sha256(b'channel:' + key).hexdigest()[:16]}"


def _now() -> datetime:
    """The server's clock, to the millisecond that rows keep."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


# The command line.

cli = typer.Typer(help="Tocsin: a self-hosted notification server.", no_args_is_help=True, add_completion=False)


@cli.command()
def serve(
    with_token: Annotated[bool, typer.Option("--with-token", help="Print a token to start with.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Server processes, in place of TOCSIN_WORKERS.")
    ] = None,
) -> None:
    """Run the server. Migrates the database first."""
    settings = _settings()
    settings.workers = workers or settings.workers
    _check_several(settings)
    _check_trusted(settings)
    _migrate(settings)
    with _alone(settings), _listening(settings) as listener:
        port = listener.getsockname()[1]
        address = f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{port}/graphql"
        token = _token(settings, "default", "admin", Role.DOMAIN_ADMIN, STARTING_TOKEN_TTL) if with_token else None
        typer.echo(f"Tocsin listens. GraphiQL: {address}{f'#token={token}' if token else ''}")
        if token:
            typer.echo(f"A token to start with (administrator of the domain `default`, 12 hours): {token}")
        if settings.workers == 1:
            _serve(settings, listener)
        else:
            _serve_together(settings, listener)


@cli.command()
def worker() -> None:
    """Send deliveries beside servers and other workers, on PostgreSQL. Migrates the database first."""
    settings = _settings()
    if settings.database().is_sqlite:
        _stop("On SQLite the worker runs inside serve. Several processes need PostgreSQL: TOCSIN_DATABASE_URL.")
    _migrate(settings)
    uvloop.run(_work(settings))


@cli.command()
def migrate() -> None:
    """Bring the database to this version's tables, and print the revision."""
    typer.echo(_migrate(_settings()))


@cli.command()
def rotate_keys(
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds within which servers commit what they sealed before.")
    ] = ROTATION_GRACE_SECONDS,
) -> None:
    """Put every stored secret under a new key, while servers run. What was interrupted goes on."""
    settings = _settings()
    if len(settings.given_keys) == 1:
        _stop("TOCSIN_ENCRYPTION_KEY holds one key. Put a new one before it, as new,old, and restart every server.")
    _migrate(settings)
    with _holding(settings.data_dir / "rotate.lock", "Keys are being rotated already."):
        done = _rotate(settings, grace)
    typer.echo(f"Secrets put under the newest key: {done.count}.")
    if done.unreadable:
        _stop(f"Secrets that no known key opens: {done.unreadable}. They are left, and so are the keys.")


@cli.command()
def renew_cursors() -> None:
    """End the cursors of all streams, so that clients read anew: to be run after a backup was restored."""
    settings = _settings()
    _migrate(settings)
    _renew_cursors(settings)
    typer.echo("The cursors of all streams have ended.")


@cli.command()
def token(
    domain: Annotated[str, typer.Option(help="The domain that the token is for.", callback=_valid_id)],
    user: Annotated[str, typer.Option(help="The user, or the name of the service.", callback=_valid_id)],
    role: Annotated[Role, typer.Option(help="What the token may do.", case_sensitive=False)],
    ttl: Annotated[str, typer.Option(help="How long it is valid: 3600 or 3600s, 90m, 12h, 30d.")] = "12h",
) -> None:
    """Print a bearer token, and nothing else."""
    settings = _settings()
    _data_folder(settings)
    typer.echo(_token(settings, domain, user, role, _duration(ttl)))


@cli.command()
def export_schema() -> None:
    """Print the GraphQL schema."""
    typer.echo(schema.build().as_str())


def _settings() -> Settings:
    """The settings of the environment. Every wrong one is named, then the program ends."""
    known = {name.upper() for name in Settings.model_fields}
    given = {name.removeprefix(PREFIX) for name in os.environ if name.startswith(PREFIX)}
    for name in sorted(given - known):
        near = difflib.get_close_matches(name, known, n=1)
        advice = f": did you mean {PREFIX}{near[0]}?" if near else "."
        typer.echo(f"Unknown setting {PREFIX}{name}{advice}", err=True)
    try:
        settings = Settings()
    except ValidationError as error:
        for name, reason in {str(problem["loc"][0]): _reason(problem) for problem in error.errors()}.items():
            typer.echo(f"{PREFIX}{name.upper()}: {reason}.", err=True)
        raise typer.Exit(2) from None
    _configure_logging(settings.log_level)
    return settings


def _reason(problem: ErrorDetails) -> str:
    return problem["msg"].removeprefix("Value error, ").rstrip(".")


def _configure_logging(level: str) -> None:
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=max(number, logging.WARNING), format="%(levelname)s %(name)s: %(message)s")
    # No tracebacks with local variables: there are secrets in them.
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    rendered = console if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            rendered,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _data_folder(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # messages in it are not encrypted
        settings.load_signing_key()
        settings.vault()
    except OSError as error:
        _stop(f"The data folder {settings.data_dir} cannot be used: {error.strerror}. TOCSIN_DATA_DIR names another.")
    except WrongKey as error:
        _stop(f"{error} Restore it from a backup: what was encrypted with it cannot be read without it.")


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Database]:
    database = settings.database()
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def _migrate(settings: Settings) -> str:
    _data_folder(settings)

    async def upgrade() -> str:
        async with _opened(settings) as database:
            return await migrations.upgrade(database)

    try:
        return asyncio.run(upgrade())
    except DatabaseNewer as error:
        _stop(f"{error} Start the version that wrote it, or restore a backup.")
    except StorageError as error:
        _stop(f"{error} TOCSIN_DATABASE_URL says where it is.")


def _rotate(settings: Settings, grace: float) -> Resealed:
    async def reseal() -> Resealed:
        async with _opened(settings) as database:
            if not settings.given_keys:
                return await rotation.rotate(database, settings.key_file, grace=grace)
            return await rotation.reseal(database, settings.vault())

    try:
        return asyncio.run(reseal())
    except StorageError as error:
        _stop(f"{error} Run this again: it goes on.")


def _renew_cursors(settings: Settings) -> None:
    async def renew() -> None:
        async with _opened(settings) as database:
            await database.write(generations.renew)

    try:
        asyncio.run(renew())
    except StorageError as error:
        _stop(f"{error} Run this again.")


def _token(settings: Settings, domain: str, user: str, role: Role, ttl: timedelta) -> str:
    now = _now()
    return access.issue(
        settings.load_signing_key(), Caller(domain, user, role, access.lifetime(now, ttl), issued_at=now)
    )


def _duration(text: str) -> timedelta:
    units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", text)
    if not found:
        raise typer.BadParameter("write it like 3600, 90m, 12h or 30d", param_hint="--ttl")
    duration = timedelta(seconds=int(found[1]) * units[found[2]])
    if duration > LONGEST_TTL:
        raise typer.BadParameter(f"{LONGEST_TTL.days}d at most", param_hint="--ttl")
    return duration


def _valid_id(value: str) -> str:
    try:
        return checks.identifier(value, "token")
    except InvalidArgument as error:
        raise typer.BadParameter(error.message) from None


def _alone(settings: Settings) -> AbstractContextManager[None]:
    """Keeps a second server off an embedded database, whose leases it would take for a dead process's."""
    taken = f"A server runs on {settings.data_dir} already. Several need PostgreSQL: TOCSIN_DATABASE_URL."
    is_sqlite = settings.database().is_sqlite
    return _holding(settings.data_dir / "serve.lock", taken) if is_sqlite else nullcontext()


@contextmanager
def _holding(path: Path, taken: str) -> Iterator[None]:
    """Holds a lock until the process ends; where another one has it, this one ends and says so."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _stop(taken)
        yield


def _listening(settings: Settings) -> socket.socket:
    """The socket to serve on, bound before anything is promised."""
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        _stop(f"Cannot listen on {where}: {error.strerror}. TOCSIN_HOST and TOCSIN_PORT name another address.")


def _server(settings: Settings) -> uvicorn.Server:
    return serving.server(
        application(settings), socket_timeout=settings.socket_timeout, shutdown_timeout=SHUTDOWN_SECONDS
    )


def _serve(settings: Settings, listener: socket.socket) -> None:
    # uvicorn shuts down, then raises the signal that stopped it once more: by then that is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _server(settings).run(sockets=[listener])


def _serve_together(settings: Settings, listener: socket.socket) -> None:
    """Several processes accept from one socket."""
    work = partial(_serve_beside_others, settings, listener)
    asyncio.run(processes.keep(settings.workers, work, imported="main", grace=END_SECONDS, closing=listener.close))


def _serve_beside_others(settings: Settings, listener: socket.socket) -> None:
    _configure_logging(settings.log_level)
    processes.end_with_parent()
    _serve(settings, listener)


def _check_several(settings: Settings) -> None:
    lacking = []
    if settings.database().is_sqlite:
        lacking.append("PostgreSQL (TOCSIN_DATABASE_URL=postgresql://...)")
    if Hub(settings.broadcast_url).is_alone:
        lacking.append("Redis or Valkey (TOCSIN_BROADCAST_URL=redis://...)")
    if settings.workers > 1 and lacking:
        _stop(f"Several workers need {' and '.join(lacking)}.")


def _check_trusted(settings: Settings) -> None:
    if settings.trusted_documents_file is None:
        return
    try:
        schema.build(settings.trusted)
    except ValueError as error:
        _stop(f"TOCSIN_TRUSTED_DOCUMENTS_FILE: {error}")


async def _work(settings: Settings) -> None:
    parts, told_to_end = Parts(settings), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
    async with parts.running([parts.alerts, parts.worker]):
        typer.echo("Tocsin sends deliveries.")
        await told_to_end.wait()


def _stop(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    cli()
