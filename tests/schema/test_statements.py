"""What a page leads to is read with one statement for all its rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from resolvers.context import Server
from storage.engine import Database
from storage.models import DeliveryState
from storage.queue import Verdict
from tests.resolvers import working
from tests.resolvers.callers import ADMIN
from tests.resolvers.said import log_protocol, outside, say_to_project
from tests.schema.asking import ask

LISTED = "{ deliveries(first: 100) { nodes { deliveryId attempts { outcome } } } }"


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
