"""A client that was away for 10,000 changes: it gets them all, in order, over a real socket."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks import resume
from resolvers import cursors
from storage.engine import Database
from tests.server import ServerProcess

MISSED = 10_000


@pytest.mark.parametrize("document", [resume.CHANGED, resume.CREATED], ids=["inboxChanged", "notificationCreated"])
async def test_ten_thousand_missed_changes_come_complete_and_in_order(
    serve: Callable[..., ServerProcess], document: str
) -> None:
    server = serve(dispatch_worker="false")
    database = Database(server.database_url)
    await database.open()
    beginning = await database.run_sync(lambda connection: resume.fill(connection, MISSED))
    await database.close()

    await resume.Stand(server, cursors.for_stream(beginning), MISSED).resume(document)
