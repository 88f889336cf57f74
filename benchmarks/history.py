"""A history to measure on: any number of notifications as months of creates would have left them, made by SQL in sets.

What it is about is in `benchmarks.shape`; nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from cryptography.fernet import Fernet
from sqlalchemy import Connection, Index, text
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks import stand
from benchmarks.shape import (
    BLOCK,
    COLLECTOR,
    COMMON,
    CREATES,
    PROJECT_USERS,
    RARE,
    RARE_EVERY,
    READER_ROWS,
    READERS,
    SENDER,
    Shape,
)
from benchmarks.spelling import POSTGRES, SQLITE, Spelling
from dispatch.planner import DispatchDecision
from storage import ids, places, protocols
from storage.engine import Database
from storage.models import Change, Channel, Decision, Delivery, Notification
from storage.queries import search_merging, search_texts
from storage.secrets import Vault

STARTED = 1_735_689_600  # 2025-01-01
SECONDS = 20  # from one create to the next
SECOND = 10**9  # nanoseconds
DESCRIPTION = "Nobody has to do anything now: whoever is on call looks at it in the morning."
SCATTER = 339_767_778_641  # odd: by it and a mask, consecutive numbers become different ones all over the range
INTERNAL = ids.internal_protocol(stand.DOMAIN)
ASKED = "notification_by_content"  # what the creates of a chunk have made
ROWS = PROJECT_USERS + 1  # that a create may make


async def make(database: Database, shape: Shape) -> None:
    """Fill a database that has only its tables, and leave it as a server that has run for long does."""
    statements = _Statements(shape, SQLITE if database.is_sqlite else POSTGRES)
    vault = Vault(Fernet.generate_key())
    await stand.add_channel(database, vault, "https://hooks.example.com/on-call", destination="hooks.example.com")
    await database.write(lambda session: protocols.ensure_internal(session, stand.DOMAIN))
    await _run(database, statements.beforehand())
    await database.run_sync(_drop_indexes)
    for blocks in shape.chunks():
        await _run(database, statements.of(blocks))
        if blocks.stop == shape.read_before:
            await _run(database, statements.great_reading())
            await database.run_sync(_create_indexes)  # the rest grows them, so that they are as full as grown ones
    await _run(database, statements.afterwards())
    await _settle(database)


def _drop_indexes(connection: Connection) -> None:
    for index in _dropped():
        index.drop(connection)


def _create_indexes(connection: Connection) -> None:
    for index in _dropped():
        index.create(connection)


def _dropped() -> list[Index]:
    """Those that nothing here asks, and that it costs most to keep while rows are added."""
    tables: list[Any] = [Notification.__table__, Change.__table__, Delivery.__table__]  # type: ignore[attr-defined]
    return [index for table in tables for index in sorted(table.indexes, key=str) if index.name != ASKED]


async def _run(database: Database, statements: Iterable[str]) -> None:
    def work(connection: Connection) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement)

    await database.run_sync(work)


async def _settle(database: Database) -> None:
    """What PostgreSQL does by itself sooner or later, and on SQLite sweeps do: here, before anything is measured."""
    while await search_merging.merge(database):
        pass
    if not database.is_sqlite:
        engine = create_async_engine(database.url, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.execute(text("VACUUM ANALYZE"))
        await engine.dispose()


def _said(creates: range) -> str:
    """Whether a notification comes from one of these creates."""
    return f"content_id BETWEEN {creates.start + 1} AND {creates.stop}"


def _scattered(number: str) -> str:
    return f"((({number}) * {SCATTER}) & {2**47 - 1})"


def _member(project: str, number: str, users: int) -> str:
    """The number of a user of a project."""
    return f"(({project} * {PROJECT_USERS} + {number}) % {users})"


def _title(rare: str) -> str:
    return f"""CASE WHEN {rare} THEN 'Search is {RARE} shard ' || n
                    WHEN n % 4 = 0 THEN 'The {COMMON} of web-' || (n % 97) || ' is nearly full'
                    WHEN n % 4 = 1 THEN 'Invoice ' || n || ' is due'
                    WHEN n % 4 = 2 THEN 'Build ' || n || ' went out'
                    ELSE 'The backup of db-' || (n % 89) || ' took long' END"""


_TOPIC = """CASE n % 4 WHEN 0 THEN 'monitoring.alert' WHEN 1 THEN 'billing.invoice'
                       WHEN 2 THEN 'deploy.finished' ELSE 'backup.report' END"""
_TYPE = "CASE n % 4 WHEN 0 THEN 'ERROR' WHEN 3 THEN 'WARNING' ELSE 'INFO' END"
_MESSAGE = f"""
    '{{"title":"' || title || '","description":"{DESCRIPTION}","tags":[{{"key":"run","value":"' || n || '"}}]}}'
"""
# As `storage.queries.search_texts` puts it together: of ASCII, the databases' own `lower` makes the same.
_SEARCHED = f"""'{search_texts.mark(stand.DOMAIN)}\n' || lower(topic || '\n' || title || '\n{DESCRIPTION}')"""

_SEQ = "inbox.last_seq + row_number() OVER (PARTITION BY inbox.inbox_id ORDER BY n)"

# All that a chunk has changed in an inbox were additions: the counts after one are those before the chunk, and so many.
_CHANGES = """
    INSERT INTO change (inbox_id, seq, kind, notification_id, unread_count, unseen_count, changed_at)
    SELECT inbox_id, seq, 'ADDED', notification_id,
           CASE kind WHEN 'USER' THEN unread_count + seq - last_seq ELSE 0 END,
           CASE kind WHEN 'USER' THEN unseen_count + seq - last_seq ELSE 0 END, created_at
    FROM notification JOIN inbox USING (inbox_id) WHERE {said}
"""
_COUNTS = """
    UPDATE inbox
    SET last_seq = last_seq + added, total_count = total_count + added,
        unread_count = unread_count + CASE kind WHEN 'USER' THEN added ELSE 0 END,
        unseen_count = unseen_count + CASE kind WHEN 'USER' THEN added ELSE 0 END
    FROM (SELECT inbox_id AS changed_id, count(*) AS added FROM notification WHERE {said} GROUP BY inbox_id) AS changed
    WHERE inbox_id = changed_id
"""
_ATTEMPTS = """
    INSERT INTO attempt (delivery_id, attempt_no, started_at, duration_ms, outcome, status_code, response_excerpt)
    SELECT 'delivery-' || substr(notification_id, 14), 1, created_at, 5, 'OK', 200, 'ok'
    FROM notification WHERE {said} AND user_id IS NULL
"""
_ALL_READ = """
    INSERT INTO change (inbox_id, seq, kind, up_to, unread_count, unseen_count, changed_at)
    SELECT inbox_id, last_seq + 1, 'ALL_READ', last_seq, 0, unseen_count, {moment} FROM inbox WHERE unread_count > 0
"""
_NONE_UNREAD = "UPDATE inbox SET last_seq = last_seq + 1, unread_count = 0 WHERE unread_count > 0"
_USAGES = """
    INSERT INTO notification_usage (protocol_id, date, domain_id, count, fail_count)
    SELECT protocol_id, counted_on, domain_id, count(*), 0 FROM delivery GROUP BY protocol_id, counted_on, domain_id
"""


class _Statements:
    """In their order. `n` is the number of a create, whose content has the next one as its id.

    Inboxes have the ids from 1 on: those of the projects, of the users, of the readers, and of the collector.
    """

    def __init__(self, shape: Shape, spelling: Spelling) -> None:
        self._shape = shape
        self._spell = spelling
        self._read_before = shape.read_before * CREATES
        self._readers_from = shape.projects + shape.users + 1

    def beforehand(self) -> Iterator[str]:
        shape = self._shape
        yield from self._spell.beforehand
        yield self._inboxes("PROJECT", "'project-' || n", first=1, count=shape.projects)
        yield self._inboxes("USER", "'user-' || n", first=shape.projects + 1, count=shape.users)
        yield self._inboxes("USER", "'reader-' || n", first=self._readers_from, count=READERS)
        yield self._inboxes("USER", f"'{COLLECTOR}'", first=self._readers_from + READERS, count=1)
        through = {"protocol_id": f"'{INTERNAL}'", "name": "'inside'", "data": self._spell.json(self._project_users())}
        nothing = {"secret_data": "NULL", "destination": "NULL"}
        yield self._channels(self._internal("n"), 0, **through, **nothing)
        yield self._channels(self._webhook("n"), 1)

    def of(self, blocks: range) -> Iterator[str]:
        """What the creates of these blocks have left."""
        creates = range(blocks.start * CREATES, blocks.stop * CREATES)
        yield self._contents(creates)
        yield self._notifications(creates)
        yield _CHANGES.format(said=_said(creates))
        yield _COUNTS.format(said=_said(creates))
        yield self._deliveries(creates)
        yield _ATTEMPTS.format(said=_said(creates))

    def great_reading(self) -> Iterator[str]:
        """Everybody reads all there is: what the rows that were there say already."""
        yield _ALL_READ.format(moment=self._moment(str(self._read_before)))
        yield _NONE_UNREAD

    def afterwards(self) -> Iterator[str]:
        yield _USAGES
        yield from self._spell.afterwards

    def _inboxes(self, kind: str, owner: str, *, first: int, count: int) -> str:
        return f"""
            INSERT INTO inbox (inbox_id, domain_id, kind, owner_id, generation,
                               last_seq, unread_count, unseen_count, seen_seq, total_count)
            SELECT {first} + n, '{stand.DOMAIN}', '{kind}', {owner}, {_scattered(f"{first} + n")}, 0, 0, 0, 0, 0
            FROM {self._spell.numbers(range(count))}
        """

    def _channels(self, channel_id: str, number: int, **changes: str) -> str:
        """One for each project, like the channel that there is, but for changes."""
        changes |= {"channel_id": channel_id, "project_id": "'project-' || n"}
        changes |= {"created_at": self._spell.moment(str(STARTED + number))}
        names = list(Channel.model_fields)
        values = ", ".join(changes.get(name, f"channel.{name}") for name in names)
        return f"""
            INSERT INTO channel ({", ".join(names)})
            SELECT {values} FROM channel CROSS JOIN {self._spell.numbers(range(self._shape.projects))}
            WHERE channel_id = '{stand.CHANNEL}'
        """

    def _contents(self, creates: range) -> str:
        rare = f"n % {CREATES} = 2 AND {self._is_readers()} AND {self._reading()} / {READERS} % {RARE_EVERY} = 0"
        return f"""
            INSERT INTO content (content_id, domain_id, topic, message, notification_type, notification_level,
                                 resource_type, resource_id, searched)
            SELECT n + 1, '{stand.DOMAIN}', topic, {self._spell.json(_MESSAGE)}, type, 'LV' || (n % 5 + 1),
                   CASE inbox.kind WHEN 'PROJECT' THEN 'identity.Project' ELSE 'identity.User' END, inbox.owner_id,
                   {_SEARCHED}
            FROM (
                SELECT n, 0 AS slot, {_TOPIC} AS topic, {_TYPE} AS type, {_title(rare)} AS title
                FROM {self._spell.numbers(creates)}
            ) AS said JOIN inbox ON inbox.inbox_id = {self._inbox_id()}
        """

    def _notifications(self, creates: range) -> str:
        """Each inbox counts on from where it stands, which `_COUNTS` then moves.

        They lie in the order of creates: those of an inbox far from each other.
        """
        slots = " UNION ALL ".join(f"SELECT {slot} AS slot" for slot in range(ROWS))
        project, is_record = f"n / {CREATES} % {self._shape.projects}", "inbox.kind = 'PROJECT'"
        is_read = f"NOT {is_record} AND n < {self._read_before}"
        return f"""
            INSERT INTO notification (place, notification_id, domain_id, content_id, inbox_id, seq, feed_at, user_id,
                                      project_id, parent_notification_id, is_read, read_at, decisions,
                                      created_by, created_at)
            SELECT inbox.inbox_id * {places.APART} + {_SEQ},
                   {self._notification_id("slot")}, '{stand.DOMAIN}', n + 1, inbox.inbox_id, {_SEQ},
                   CASE WHEN {is_record} THEN {self._spell.feed_number} END,
                   CASE WHEN NOT {is_record} THEN inbox.owner_id END,
                   CASE WHEN n % {CREATES} = 0 THEN 'project-' || ({project}) END,
                   CASE WHEN slot > 0 THEN {self._notification_id("0")} END,
                   {is_read}, CASE WHEN {is_read} THEN {self._moment(str(self._read_before))} END,
                   {self._spell.json(f"CASE WHEN {is_record} THEN {self._decisions(project)} ELSE '[]' END")},
                   '{SENDER}', {self._moment("n")}
            FROM {self._spell.numbers(creates)} CROSS JOIN ({slots}) AS slots
            JOIN inbox ON inbox.inbox_id = {self._inbox_id()}
            WHERE slot = 0 OR n % {CREATES} = 0
            ORDER BY n, slot
        """

    def _deliveries(self, creates: range) -> str:
        channel_id = self._webhook(f"(content_id - 1) / {CREATES} % {self._shape.projects}")
        return f"""
            INSERT INTO delivery (delivery_id, domain_id, notification_id, content_id, protocol_id, plugin_id,
                                  channel_id, part, destination, state, attempt_no, attempt_count, retries_from,
                                  counted_on, created_by, created_at, finished_at)
            SELECT 'delivery-' || substr(notification_id, 14), said.domain_id, notification_id, content_id,
                   channel.protocol_id, 'webhook', channel_id, 0, channel.destination, 'DELIVERED', 1, 1, 0,
                   {self._spell.day("said.created_at")}, created_by, said.created_at, said.created_at
            FROM notification AS said JOIN channel ON channel_id = {channel_id}
            WHERE {_said(creates)} AND said.user_id IS NULL
        """

    def _inbox_id(self) -> str:
        """In whose inbox, or feed, the row lies that a create makes in this slot."""
        projects, users = self._shape.projects, self._shape.users
        block = f"(n / {CREATES})"
        return f"""CASE
            WHEN n % {CREATES} = 0 AND slot = 0 THEN 1 + {block} % {projects}
            WHEN n % {CREATES} = 0 THEN {projects} + 1 + {_member(f"{block} % {projects}", "slot - 1", users)}
            WHEN n % {CREATES} = 1 AND {block} % {BLOCK} = 0 THEN {self._readers_from + READERS}
            WHEN n % {CREATES} = 2 AND {self._is_readers()} THEN {self._readers_from} + {self._reading()} % {READERS}
            ELSE {projects} + 1 + n % {users}
        END"""

    def _is_readers(self) -> str:
        """Whether a block has something for a reader: as many of them as the readers have rows, evenly spread."""
        return f"n / {CREATES} % {self._shape.blocks // (READERS * READER_ROWS)} = 0"

    def _reading(self) -> str:
        """How many blocks before it had something for a reader."""
        return f"(n / {CREATES} / {self._shape.blocks // (READERS * READER_ROWS)})"

    def _notification_id(self, slot: str) -> str:
        """As `storage.ids` makes it: what a create makes begins with its moment, and then counts."""
        nanoseconds = f"({STARTED * SECOND} + {SECONDS * SECOND} * n)"
        tick = f"({nanoseconds} >> {ids.TICK_BITS} << {ids.DRAWN_BITS})"
        drawn = f"({_scattered('n')} & {2**ids.DRAWN_BITS - 1})"
        return f"'notification-' || {self._spell.hex(f'(({tick} + {drawn} + {slot}) & {2**ids.BITS - 1})')}"

    def _internal(self, project: str) -> str:
        return f"'project-ch-' || {self._spell.hex(_scattered(f'{project} * 2'))}"

    def _webhook(self, project: str) -> str:
        return f"'project-ch-' || {self._spell.hex(_scattered(f'{project} * 2 + 1'))}"

    def _project_users(self) -> str:
        users = (
            f"""'"user-' || {_member("n", str(each), self._shape.users)} || '"'""" for each in range(PROJECT_USERS)
        )
        return f"""'{{"users":[' || {" || ',' || ".join(users)} || ']}}'"""

    def _decisions(self, project: str) -> str:
        """What was decided on the two channels of a project, as the server spells it."""
        through = {"<inside>": (INTERNAL, self._internal), "<webhook>": (stand.PROTOCOL, self._webhook)}
        sent = [DispatchDecision(name, protocol_id, Decision.SEND) for name, (protocol_id, _) in through.items()]
        spelled = orjson.dumps([decision.to_json() for decision in sent]).decode()
        for name, (_, channel_id) in through.items():
            spelled = spelled.replace(name, f"' || {channel_id(f'({project})')} || '")
        return f"'{spelled}'"

    def _moment(self, create: str) -> str:
        return self._spell.moment(f"{STARTED} + {SECONDS} * {create}")
