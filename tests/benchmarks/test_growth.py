"""The history that growth is measured on is one that the server could have written, and the benchmark runs on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from benchmarks import growth, history, shape
from benchmarks.growth import OPERATIONS, Place
from benchmarks.shape import Shape
from resolvers import cursors, inboxes, streams
from storage import ids
from storage.engine import Database
from storage.queries import search_texts

LARGE, SMALL = Shape(100_000), Shape(shape.UNIT)

# Each finds what no server would have left behind.
CONTRADICTIONS = {
    "an inbox that counts other rows than there are": """
        SELECT inbox_id FROM inbox JOIN (
            SELECT inbox_id, count(*) AS total, count(*) FILTER (WHERE user_id IS NOT NULL) AS unseen,
                   count(*) FILTER (WHERE user_id IS NOT NULL AND NOT is_read) AS unread
            FROM notification GROUP BY inbox_id
        ) AS counted USING (inbox_id)
        WHERE (total_count, unseen_count, unread_count) <> (total, unseen, unread)
    """,
    "an inbox without rows": "SELECT inbox_id FROM inbox WHERE inbox_id NOT IN (SELECT inbox_id FROM notification)",
    "a log with a gap, or another head than its inbox": """
        SELECT inbox_id FROM inbox JOIN change USING (inbox_id) GROUP BY inbox_id, last_seq
        HAVING min(seq) <> 1 OR max(seq) <> last_seq OR count(*) <> last_seq
    """,
    "a log whose last counts are not its inbox's": """
        SELECT inbox_id FROM inbox JOIN change USING (inbox_id)
        WHERE seq = last_seq
          AND (change.unread_count, change.unseen_count) <> (inbox.unread_count, inbox.unseen_count)
    """,
    "a notification whose addition is not logged where it says": """
        SELECT notification.notification_id FROM notification LEFT JOIN change USING (inbox_id, seq)
        WHERE change.notification_id IS NULL OR change.notification_id <> notification.notification_id
           OR kind <> 'ADDED' OR changed_at <> created_at
    """,
    "a change after which other counts hold than it led to": """
        SELECT inbox_id FROM (
            SELECT change.*, inbox.kind AS whose,
                   lag(change.unread_count, 1, 0) OVER log AS unread_before,
                   lag(change.unseen_count, 1, 0) OVER log AS unseen_before
            FROM change JOIN inbox USING (inbox_id) WINDOW log AS (PARTITION BY inbox_id ORDER BY seq)
        ) AS following
        WHERE (unread_count, unseen_count) <> (
            CASE WHEN whose = 'PROJECT' OR kind = 'ALL_READ' THEN 0 ELSE unread_before + 1 END,
            CASE WHEN whose = 'PROJECT' THEN 0 WHEN kind = 'ALL_READ' THEN unseen_before ELSE unseen_before + 1 END
        )
    """,
    "a row that is read, or not, against what its inbox's log says": """
        SELECT notification.notification_id FROM notification LEFT JOIN change
            ON change.inbox_id = notification.inbox_id AND kind = 'ALL_READ' AND notification.seq <= up_to
        WHERE notification.is_read <> (kind IS NOT NULL) OR notification.is_read <> (read_at IS NOT NULL)
           OR read_at <> changed_at
    """,
    "a row in somebody else's inbox": """
        SELECT notification_id FROM notification JOIN inbox USING (inbox_id)
        WHERE owner_id <> CASE kind WHEN 'USER' THEN user_id ELSE project_id END
    """,
    "a child that is not its record's": """
        SELECT child.notification_id
        FROM notification AS child LEFT JOIN notification AS record
            ON record.notification_id = child.parent_notification_id
            AND record.content_id = child.content_id AND record.project_id = child.project_id
            AND record.user_id IS NULL AND record.created_at = child.created_at
        WHERE (child.parent_notification_id IS NOT NULL OR child.project_id IS NOT NULL AND child.user_id IS NOT NULL)
          AND record.notification_id IS NULL
    """,
    "a content that nothing needs, or that was said to others": """
        SELECT content_id FROM content LEFT JOIN notification USING (content_id)
        WHERE notification_id IS NULL OR (
            parent_notification_id IS NULL AND resource_id <> coalesce(user_id, project_id)
        )
    """,
    "a record that was not delivered through its project's webhook, by an attempt": """
        SELECT record.notification_id
        FROM notification AS record
            LEFT JOIN delivery USING (notification_id) LEFT JOIN attempt USING (delivery_id)
            LEFT JOIN channel ON channel.channel_id = delivery.channel_id AND channel.project_id = record.project_id
        WHERE record.user_id IS NULL AND (attempt.outcome IS NULL OR channel.channel_id IS NULL)
    """,
    "a day's usage that is not its deliveries": """
        SELECT date FROM notification_usage
        WHERE count <> (SELECT count(*) FROM delivery WHERE counted_on = date AND delivery.protocol_id =
                        notification_usage.protocol_id)
    """,
}

MADE, ADDED = "< '2026-01-01'", "> '2026-01-01'"  # when: in the past, and by the server today
ROWS = {
    "content": "SELECT content.* FROM content JOIN notification USING (content_id) WHERE created_at {}",
    "notification": "SELECT * FROM notification WHERE created_at {}",
    "change": "SELECT * FROM change WHERE changed_at {}",
    "delivery": "SELECT * FROM delivery WHERE created_at {}",
    "attempt": "SELECT * FROM attempt WHERE started_at {}",
}
# Columns that say the same in all rows, or the same for each project.
CONSTANT = {"kind", "created_by", "resource_type", "plugin_id", "protocol_id", "destination", "part", "state"} | {
    "attempt_no",
    "attempt_count",
    "retries_from",
    "outcome",
    "status_code",
    "duration_ms",
    "response_excerpt",
}


AROUND = 1 << ids.BITS - ids.DRAWN_BITS  # ticks, until they come round
NEAR = 2_000  # ticks: a second or two


async def _all(database: Database, statement: str) -> list[dict[str, Any]]:
    return await database.run_sync(
        lambda connection: [dict(row) for row in connection.execute(text(statement)).mappings()]
    )


async def _forms(database: Database, when: str) -> dict[str, set[frozenset[tuple[str, object]]]]:
    """By table, what its rows of this time look like: which columns hold something, and the constant ones what."""
    return {
        table: {
            frozenset((name, row[name] if name in CONSTANT else row[name] is not None) for name in row)
            for row in await _all(database, statement.format(when))
        }
        for table, statement in ROWS.items()
    }


async def _decisions(database: Database, when: str) -> dict[str, object]:
    """Of each project, what was decided on its channels."""
    records = f"SELECT project_id, decisions FROM notification WHERE user_id IS NULL AND created_at {when}"
    return {row["project_id"]: row["decisions"] for row in await _all(database, records)}


async def _distances(database: Database, when: str) -> set[int]:
    """How many ticks lie between the moments of notifications and those that their ids begin with."""
    rows = await _all(database, ROWS["notification"].format(when))
    return {_distance(row["notification_id"], row["created_at"]) for row in rows}


def _distance(notification_id: str, created_at: datetime | str) -> int:
    moment = datetime.fromisoformat(created_at) if isinstance(created_at, str) else created_at
    tick = int(moment.timestamp() * history.SECOND) >> ids.TICK_BITS
    number = int(notification_id[-ids.DIGITS :], 16)
    return ((number >> ids.DRAWN_BITS) - tick) % AROUND


@pytest.fixture
async def small(database: Database) -> AsyncIterator[Place]:
    await history.make(database, SMALL)
    async with growth.standing(database, SMALL) as place:
        yield place


async def test_a_long_history_is_as_long_as_said_and_contradicts_itself_nowhere(database: Database) -> None:
    """Counts, sequence numbers and logs are those that the server would have written with the rows."""
    await history.make(database, LARGE)

    [notifications] = await _all(database, "SELECT count(*) AS number FROM notification")
    totals = {row["owner_id"]: row["total_count"] for row in await _all(database, "SELECT * FROM inbox")}
    found = {name: len(await _all(database, statement)) for name, statement in CONTRADICTIONS.items()}
    contents = await _all(database, "SELECT domain_id, topic, CAST(message AS TEXT) AS message, searched FROM content")

    assert notifications["number"] == LARGE.notifications
    assert len(totals) == LARGE.projects + LARGE.users + shape.READERS + 1
    assert {totals[shape.reader(number)] for number in range(shape.READERS)} == {shape.READER_ROWS}
    assert totals[shape.COLLECTOR] == LARGE.notifications // 100
    assert found == dict.fromkeys(CONTRADICTIONS, 0)
    assert [row["searched"] for row in contents] == [
        search_texts.searched(row["domain_id"], row["topic"], orjson.loads(row["message"])) for row in contents
    ]


async def test_what_the_server_adds_to_a_history_looks_like_the_rest_of_it(small: Place) -> None:
    database = small.server.database
    made = await _forms(database, MADE)
    decided = await _decisions(database, MADE)

    for operation in OPERATIONS:
        for _ in range(operation.calls):
            await operation.run(small)
    unread = await _forms(database, ADDED)
    await _read_all(small)
    added = await _forms(database, ADDED)

    assert {table: unread[table] | added[table] for table in ROWS} == made
    assert max(await _distances(database, MADE) | await _distances(database, ADDED)) < NEAR
    assert (await _decisions(database, ADDED)).items() <= decided.items()


async def test_a_log_that_was_made_is_told_from_its_beginning_to_its_end(small: Place) -> None:
    reader = growth.caller(shape.reader(0))

    events, position, has_more = await streams.page(
        small.server, reader, after=cursors.for_stream(cursors.BEGINNING), first=100
    )
    rest, _, has_yet_more = await streams.page(small.server, reader, after=cursors.for_stream(position), first=100)

    assert [event.position.seq for event in (*events, *rest)] == list(range(1, shape.READER_ROWS + 2))
    assert (has_more, has_yet_more) == (True, False)


async def test_the_table_has_a_row_for_each_operation_and_a_column_for_each_size(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes = [str(2 * shape.UNIT), str(shape.UNIT)]

    await growth.main(
        growth.options(["--engines", "sqlite", "--sizes", *sizes, "--rounds", "1", "--only", "unread", "list"])
    )

    head, _, *rows = capsys.readouterr().out.splitlines()
    cells = [row.strip("| ").split(" | ") for row in rows]
    assert head == "| database | operation, ms | 10,000 | 20,000 | times as long |"
    assert [name for _, name, *_ in cells] == [
        operation.name for operation in OPERATIONS if operation.name.startswith(("unread", "list"))
    ]
    assert all(float(figure) > 0 for _, _, *figures in cells for figure in figures)


def test_a_history_is_made_of_whole_units() -> None:
    with pytest.raises(ValueError, match="multiple of 10,000"):
        Shape(15_000)


async def _read_all(place: Place) -> None:
    """As everybody did in what was made."""
    for number in range(place.shape.users):
        user = growth.caller(f"user-{number}")
        inbox = await inboxes.mine(place.server, user)
        assert inbox is not None
        await inboxes.mark_all_read(place.server, user, up_to=inbox.cursor, origin_id=None)
