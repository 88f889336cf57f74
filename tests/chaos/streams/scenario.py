"""Writers, clients and upkeep at once, on a few inboxes; then every client is compared with its inbox's log."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from time import monotonic

from resolvers.context import Server
from resolvers.events import EventKind
from resolvers.streams import StreamFilter
from storage.models import NotificationLevel, NotificationType
from tests.chaos.streams import comparison, upkeep
from tests.chaos.streams.door import Door, News
from tests.chaos.streams.history import Chronicle, Difference, History
from tests.chaos.streams.readers import Reader, Way
from tests.chaos.streams.told import Expired, Row, Told
from tests.chaos.streams.writers import LEVELS, TOPICS, TYPES, Writer

USERS = ["ada", "ben", "cleo", "dan", "eve", "fay", "gil"]
MEMBERS = {
    "p1": ["ada", "ben", "cleo", "dan", "fay"],
    "p2": ["ada", "ben", "dan", "gil"],
}  # nobody knows eve before she is spoken to
WRITERS = 8
END = News("the.end", NotificationType.INFO, NotificationLevel.ALL)  # every filter takes it
DEADLINE_S = 60  # for the clients to come to the end once all is written
POLL_S = 0.02


@dataclass(frozen=True)
class Report:
    changes: int
    clients: int
    visits: int
    events: Counter[EventKind]
    expired: int  # streams that ended with CURSOR_EXPIRED
    seconds: float

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(self.events.items()))
        return (
            f"{self.changes} changes, {self.clients} clients, {self.visits} visits, {self.events.total()} events "
            f"({kinds}), {self.expired} streams expired, {self.seconds:.1f} s"
        )


@dataclass(frozen=True)
class Played:
    """What every client had, and what there was to have."""

    readers: Sequence[Reader]
    histories: Mapping[str, History]
    seed: int

    def compare(self) -> None:
        """Raises Difference, with the seed and the smallest one that there is."""
        rows = {id: row for reader in self.readers for id, row in reader.rows.items()}
        differences = [each for reader in self.readers if (each := self._difference(reader, rows))]
        if differences:
            name, smallest = min(differences, key=lambda each: each[1].size)
            raise Difference(f"seed {self.seed}: {len(differences)} clients differ, the least {name}:\n  {smallest}")

    def _difference(self, reader: Reader, rows: Mapping[str, Row]) -> tuple[str, Difference] | None:
        try:
            comparison.compare(
                reader.entries,
                self.histories[reader.user],
                rows,
                wanted=reader.wanted,
                only_added=reader.way is Way.CREATED,
                to=_end(reader, self.histories),
            )
        except Difference as difference:
            return f"{reader.name} {reader.wanted}", difference
        return None


async def run(doors: Sequence[Door], keeper: Server, *, domain: str, changes: int, seed: int) -> Report:
    """What comes through the doors of one installation, which `keeper` keeps up. Raises Difference."""
    began = monotonic()
    played = await play(doors, keeper, domain=domain, changes=changes, seed=seed)
    played.compare()
    return _report(played, monotonic() - began)


async def play(doors: Sequence[Door], keeper: Server, *, domain: str, changes: int, seed: int) -> Played:
    """Raises Difference where a log does not add up, or a client does not come to its end."""
    chronicle = Chronicle(domain)
    readers = list(_readers(doors, seed))
    for project, members in MEMBERS.items():
        await doors[0].add_channel(project, members)
    async with asyncio.TaskGroup() as reading:
        tasks = [reading.create_task(reader.run(), name=reader.name) for reader in readers]
        await _write(doors, keeper, chronicle, readers, domain=domain, changes=changes, seed=seed)
        async with keeper.database.read() as session:
            histories = await chronicle.histories(session)
        await _until_all_are_there(readers, histories, seed)
        for task in tasks:
            task.cancel()
    return Played(readers, histories, seed)


def _readers(doors: Sequence[Door], seed: int) -> Iterator[Reader]:
    for user in USERS:
        for way, is_filtered, from_now in (
            (Way.CHANGED, False, False),
            (Way.CHANGED, True, True),
            (Way.CREATED, user in MEMBERS["p1"], False),
            (Way.POLLS, False, False),
        ):
            name = f"{user}'s {way}{', filtered' if is_filtered else ''}"
            chance = Random(f"{seed} {name}")
            wanted = _filter(chance, user) if is_filtered else StreamFilter()
            yield Reader(name, user, way, wanted, doors, chance, from_now)


def _filter(chance: Random, user: str) -> StreamFilter:
    """By one of its parts. Takes something, and END."""
    projects = [project for project, members in MEMBERS.items() if user in members]
    which = chance.randrange(4 if projects else 3)
    return StreamFilter(
        topics=[chance.choice(TOPICS), END.topic] if which == 0 else None,
        notification_types=[END.notification_type, chance.choice(TYPES)] if which == 1 else None,
        notification_levels=[END.notification_level, chance.choice(LEVELS)] if which == 2 else None,
        project_id=chance.choice(projects) if which == 3 else None,
    )


async def _write(
    doors: Sequence[Door],
    keeper: Server,
    chronicle: Chronicle,
    readers: Sequence[Reader],
    *,
    domain: str,
    changes: int,
    seed: int,
) -> None:
    """All at once, until there are so many changes; then END, once for each project and each user."""

    def is_enough() -> bool:
        return chronicle.length >= changes

    async with asyncio.TaskGroup() as writing:
        for number in range(WRITERS):
            chance = Random(f"{seed} writer {number}")
            writer = Writer(str(number), domain, USERS, list(MEMBERS), doors, readers, chance, began=chronicle.began)
            writing.create_task(writer.run(is_enough))
        writing.create_task(upkeep.keep_up(keeper, chronicle, Random(f"{seed} upkeep"), is_enough))
    for user in USERS:
        await doors[0].create("identity.User", user, END)
    for project in MEMBERS:
        await doors[0].create("identity.Project", project, END)


async def _until_all_are_there(readers: Sequence[Reader], histories: Mapping[str, History], seed: int) -> None:
    end = monotonic() + DEADLINE_S
    for reader in readers:
        reader.is_in_a_hurry = True
    while late := [reader for reader in readers if reader.seq < _end(reader, histories)]:
        if monotonic() > end:
            raise Difference(f"seed {seed}: after {DEADLINE_S} s {late[0].name} is still at {late[0].cursor}")
        await asyncio.sleep(POLL_S)


def _end(reader: Reader, histories: Mapping[str, History]) -> int:
    """Where the last is that the client has to hear of."""
    history = histories[reader.user]
    if reader.way is not Way.CREATED or reader.wanted.project_id is None:
        return history.head
    return history.last_of(reader.wanted.project_id)


def _report(played: Played, seconds: float) -> Report:
    had = [entry.what for reader in played.readers for entry in reader.entries]
    return Report(
        changes=sum(history.head for history in played.histories.values()),
        clients=len(played.readers),
        visits=sum(reader.visits for reader in played.readers),
        events=Counter(what.kind for what in had if isinstance(what, Told)),
        expired=sum(isinstance(what, Expired) for what in had),
        seconds=seconds,
    )
