"""Whether what callers and workers do costs the same however many notifications there are.

    .venv/bin/python -m benchmarks.growth

Histories of several lengths stand beside each other, and rounds of all alternate, so that what else the machine does
meanwhile falls on all alike. Operations are those of the resolvers, in this process; every commit is on disk.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from cryptography.fernet import Fernet

from benchmarks import driver, history, shape, stand
from benchmarks.driver import Contents
from benchmarks.shape import Shape
from dispatch.hub import Hub
from resolvers import cursors, inbox_log, inboxes, notifications, streams
from resolvers.access import Caller, Role
from resolvers.asking import Asking
from resolvers.context import Server
from resolvers.notifications import Creation
from resolvers.paging import Window
from storage import queue, verdicts
from storage.engine import Database
from storage.inboxes import of_user
from storage.models import AttemptOutcome, DeliveryState, NotificationType
from storage.notification_filters import Filter
from storage.queries.operators import Question
from storage.queue import Claimed, Room
from storage.secrets import Vault
from storage.verdicts import Outcome, Tried, Verdict

SIZES = (10_000, 1_000_000, 5_000_000)
ROUNDS = 20
PAGE = 20
BEHIND = 50  # changes that whoever resumes has missed
CLAIMED = 10  # deliveries of one claim
LEASE = 60.0  # seconds
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
# Of what is created, a quarter has the frequent word, as in the history.
TITLES = (
    f"The {shape.COMMON} of web-1 is nearly full",
    "A certificate ends soon",
    "Build 7 went out",
    "Invoice 3 is due",
)
DESCRIPTION = "Whoever is on call looks at it in the morning."


def caller(user_id: str, role: Role = Role.USER) -> Caller:
    return Caller(stand.DOMAIN, user_id, role, NEVER)


ADMIN, BACKEND = caller("admin", Role.DOMAIN_ADMIN), caller(shape.SENDER, Role.SERVICE)
COLLECTOR = caller(shape.COLLECTOR)


@dataclass
class Place:
    """A server on one history, and what its operations leave to each other."""

    server: Server
    shape: Shape
    behind: dict[str, str]  # by user: the cursor from which BEHIND changes were missed
    contents: Contents
    turns: itertools.count[int] = field(default_factory=itertools.count)
    titles: Iterator[str] = field(default_factory=partial(itertools.cycle, TITLES))
    claimed: list[Sequence[Claimed]] = field(default_factory=list)

    def somewhere(self, numbers: int) -> int:
        """A number below this one, far from the last."""
        return next(self.turns) * 7_919 % numbers

    @property
    def reader(self) -> Caller:
        """The readers in turn."""
        return caller(shape.reader(next(self.turns)))


@dataclass(frozen=True)
class Operation:
    name: str
    run: Callable[[Place], Awaitable[None]]
    calls: int = 10  # in one round


@asynccontextmanager
async def standing(database: Database, shape: Shape) -> AsyncIterator[Place]:
    """A server on a database with this history."""
    hub = Hub("memory://")
    await hub.open()
    server = Server(
        database=database,
        vault=Vault(Fernet.generate_key()),
        plugins={},
        hub=hub,
        wake_worker=lambda: None,
        wake_fanout=lambda: None,
        clock=lambda: datetime.now(UTC),
    )
    async with driver.contents(database) as contents:
        yield Place(server, shape, await _positions(server), contents)
    await hub.close()


async def _positions(server: Server) -> dict[str, str]:
    """From where whoever resumes here does so: their inboxes stay as they are."""
    users = [shape.reader(number) for number in range(shape.READERS)] + [shape.COLLECTOR]
    heads = {user: await inbox_log.start(server, of_user(stand.DOMAIN, user), None) for user in users}
    return {user: cursors.for_stream(head._replace(seq=head.seq - BEHIND)) for user, head in heads.items()}


async def _list(place: Place, caller: Caller, *, keyword: str | None = None, found: int = PAGE) -> None:
    listing = await notifications.page(
        place.server,
        caller,
        Filter(),
        domain_id=None,
        order_by=(),
        window=Window(first=PAGE),
        asking=Asking(Question(keyword=keyword)),
    )
    assert len(listing.page.rows) == found


async def _read_contents(place: Place) -> None:
    """As many as a reader has rows, and as far from each other."""
    turn, apart = next(place.turns) % shape.READERS, place.shape.blocks * shape.CREATES // shape.READER_ROWS
    content_ids = [1 + number * apart + turn * apart // shape.READERS for number in range(shape.READER_ROWS)]
    assert len(await place.contents(content_ids)) == shape.READER_ROWS


async def _count_unread(place: Place, caller: Caller) -> None:
    inbox = await inboxes.mine(place.server, caller)
    assert inbox is not None
    assert inbox.unread_count > 0


async def _create(place: Place, resource_type: str, resource_id: str, *, recipients: int) -> None:
    message = {"title": next(place.titles), "description": DESCRIPTION}
    creation = Creation(resource_type, resource_id, "monitoring.alert", message, NotificationType.WARNING)
    said = await notifications.create(place.server, BACKEND, creation)
    assert said.recipient_count == recipients


async def _create_for_user(place: Place) -> None:
    await _create(place, "identity.User", f"user-{place.somewhere(place.shape.users)}", recipients=1)


async def _create_for_project(place: Place) -> None:
    project_id = f"project-{place.somewhere(place.shape.projects)}"
    await _create(place, "identity.Project", project_id, recipients=shape.PROJECT_USERS)


async def _claim(place: Place) -> None:
    """Of what the creates for projects have left."""
    claim = partial(queue.claim, room=Room(CLAIMED), lease=LEASE, now=datetime.now(UTC))
    claims = await place.server.database.write(claim)
    assert len(claims.claimed) == CLAIMED
    place.claimed.append(claims.claimed)


async def _record(place: Place) -> None:
    """What the claims took, as delivered."""
    now, verdict = datetime.now(UTC), Verdict(DeliveryState.DELIVERED)
    tried = Tried(now, 5, AttemptOutcome.OK, 200, response_excerpt="ok")
    outcomes = [Outcome(claimed.delivery, verdict, tried) for claimed in place.claimed.pop()]
    record = partial(verdicts.record, outcomes=outcomes, now=now, patience=timedelta(days=5))
    assert len((await place.server.database.write(record)).outcomes) == CLAIMED


async def _resume(place: Place, caller: Caller) -> None:
    events, _, has_more = await streams.page(place.server, caller, after=place.behind[caller.user_id], first=BEHIND)
    assert len(events) == BEHIND
    assert not has_more


OWN, HUNDREDTH = "own inbox", "an inbox with 1% of all"
OPERATIONS = (
    Operation(f"the driver alone: {shape.READER_ROWS} contents by their ids", _read_contents),
    Operation(f"list 20: {OWN}", lambda place: _list(place, place.reader)),
    Operation(f"list 20: {HUNDREDTH}", lambda place: _list(place, COLLECTOR)),
    Operation("list 20: the domain", lambda place: _list(place, ADMIN)),
    Operation(
        f"search: {OWN}",
        lambda place: _list(place, place.reader, keyword=shape.RARE, found=shape.READER_ROWS // shape.RARE_EVERY),
    ),
    Operation(f"search: {HUNDREDTH}", lambda place: _list(place, COLLECTOR, keyword=shape.RARE, found=0)),
    Operation("search: the domain, a rare word", lambda place: _list(place, ADMIN, keyword=shape.RARE), calls=5),
    Operation("search: the domain, a frequent word", lambda place: _list(place, ADMIN, keyword=shape.COMMON), calls=5),
    Operation(f"unread count: {OWN}", lambda place: _count_unread(place, place.reader)),
    Operation(f"unread count: {HUNDREDTH}", lambda place: _count_unread(place, COLLECTOR)),
    Operation("create: for a user", _create_for_user),
    Operation("create: for a project of 7 users and a webhook", _create_for_project, calls=2 * CLAIMED),
    Operation(f"claim {CLAIMED} deliveries", _claim, calls=2),
    Operation(f"record {CLAIMED} deliveries", _record, calls=2),
    Operation(f"resume {BEHIND} changes: {OWN}", lambda place: _resume(place, place.reader)),
    Operation(f"resume {BEHIND} changes: {HUNDREDTH}", lambda place: _resume(place, COLLECTOR)),
)


async def measure(places: Sequence[Place], operations: Sequence[Operation], rounds: int) -> Iterator[list[float]]:
    """Of each operation the median in milliseconds, place by place."""
    taken: list[list[list[float]]] = [[[] for _ in places] for _ in operations]
    for number in range(rounds + 1):
        for operation, of_places in zip(operations, taken, strict=True):
            for _ in range(operation.calls):
                for place, times in zip(places, of_places, strict=True):
                    milliseconds = await _timed(operation, place)
                    if number:  # the first round only warms
                        times.append(milliseconds)
    return ([statistics.median(times) for times in of_places] for of_places in taken)


async def _timed(operation: Operation, place: Place) -> float:
    started = time.perf_counter()
    await operation.run(place)
    return (time.perf_counter() - started) * 1_000


async def compare(engine: str, shapes: Sequence[Shape], operations: Sequence[Operation], rounds: int) -> None:
    """A row of the table for each operation."""
    async with AsyncExitStack() as stack:
        places = [await stack.enter_async_context(_made(engine, shape)) for shape in shapes]
        found = await measure(places, operations, rounds)
        for operation, medians in zip(operations, found, strict=True):
            figures = " | ".join(f"{median:.2f}" for median in medians)
            say(f"| {engine} | {operation.name} | {figures} | {medians[-1] / medians[0]:.2f} |")


@asynccontextmanager
async def _made(engine: str, shape: Shape) -> AsyncIterator[Place]:
    async with stand.database(engine) as database:
        started = time.perf_counter()
        await history.make(database, shape)
        note(f"{engine}: {shape.notifications:,} notifications made in {time.perf_counter() - started:.0f} s")
        async with standing(database, shape) as place:
            yield place


async def main(options: argparse.Namespace) -> None:
    shapes = [Shape(size) for size in sorted(options.sizes)]
    operations = [operation for operation in OPERATIONS if operation.name.startswith(tuple(options.only))]
    say(f"| database | operation, ms | {' | '.join(f'{shape.notifications:,}' for shape in shapes)} | times as long |")
    say("|---" * (len(shapes) + 3) + "|")
    for engine in options.engines:
        await compare(engine, shapes, operations, options.rounds)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def note(line: str) -> None:
    """What is no part of the table."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What operations cost among more and more notifications.")
    parser.add_argument("--engines", nargs="+", default=["sqlite", "postgres"], choices=["sqlite", "postgres"])
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help=f"multiples of {shape.UNIT:,}")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="+", default=[""], help="how operations begin; claims take what creates leave")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    asyncio.run(main(options()))
