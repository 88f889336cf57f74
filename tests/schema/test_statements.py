"""What a page leads to is read with one statement for all its rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from resolvers import inboxes
from resolvers.access import Caller
from resolvers.context import Server
from storage.engine import Database
from storage.models import DeliveryState
from storage.verdicts import Verdict
from tests.resolvers import working
from tests.resolvers.callers import ADMIN, ALICE, SERVICE
from tests.resolvers.said import inside, log_protocol, of_user, outside, say_to_project
from tests.schema.asking import ask

LISTED = "{ deliveries(first: 100) { nodes { deliveryId attempts { outcome } } } }"
LED_BACK = "{ deliveries(first: 100) { nodes { notificationId notification { notificationId userId } } } }"


@contextmanager
def _statements(database: Database) -> Iterator[list[str]]:
    """The statements that are run meanwhile by whoever reads."""
    run: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        run.append(statement)

    engine = database._reader.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield run
    event.remove(engine, "before_cursor_execute", note)


async def _attempted(server: Server, count: int) -> None:
    """So many deliveries, each of which was tried once."""
    await outside(server, await log_protocol(server))
    for _ in range(count):
        await say_to_project(server)
    for claimed in await working.claim(server.database):
        await working.record(server.database, claimed.delivery, Verdict(DeliveryState.DELIVERED))


async def test_the_attempts_of_a_whole_page_take_one_statement(server: Server) -> None:
    await _attempted(server, 7)

    with _statements(server.database) as run:
        answer = await ask(server, ADMIN, LISTED)

    assert sum("FROM attempt" in statement for statement in run) == 1
    assert str(answer).count("RETRY") == 7


async def test_the_notifications_of_a_whole_page_of_deliveries_take_one_statement(server: Server) -> None:
    await _attempted(server, 7)

    with _statements(server.database) as run:
        answer = await ask(server, ADMIN, LED_BACK)

    assert sum("FROM notification" in statement for statement in run) == 1
    nodes = answer["deliveries"]["nodes"]
    assert [node["notification"]["notificationId"] for node in nodes] == [node["notificationId"] for node in nodes]
    assert len(nodes) == 7


async def test_of_a_page_of_deliveries_each_caller_sees_the_notifications_that_are_there_to_be_seen(
    server: Server,
) -> None:
    protocol = await log_protocol(server)
    await outside(server, protocol)
    await inside(server, "alice")
    await of_user(server, ALICE, protocol)
    for _ in range(2):
        await say_to_project(server)

    async def seen(caller: Caller) -> list[str]:
        """Whose each notification is that is shown; `-` for a record's, and where none is."""
        nodes = (await ask(server, caller, LED_BACK))["deliveries"]["nodes"]
        return sorted((node["notification"] or {}).get("userId") or "-" for node in nodes)

    assert await seen(ADMIN) == ["-", "-", "alice", "alice"]
    assert await seen(SERVICE) == ["-", "-"]
    assert await seen(ALICE) == ["alice", "alice"]
    [one, _] = (await ask(server, ALICE, LED_BACK))["deliveries"]["nodes"]
    await inboxes.delete(server, ALICE, notification_ids=[one["notificationId"]], origin_id=None)
    assert await seen(ALICE) == ["-", "alice"]
