"""`main.py renew-cursors` as an operator runs it after putting a backup back: nobody goes on past what was lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from resolvers.access import Role
from tests.client import Client
from tests.server import ServerProcess, run

CURSOR = "{ inbox { cursor } }"
CHANGES = """
    query ($after: Cursor!) { inboxChanges(after: $after) { events { __typename unreadCount } hasMore } }
"""


async def _create(admin: Client, count: int) -> None:
    for _ in range(count):
        await admin.create("identity.User", "user")


async def _cursor(user: Client) -> Any:
    return (await user.ask(CURSOR))["inbox"]["cursor"]


async def test_a_cursor_from_before_a_backup_was_put_back_leads_to_a_reset(
    serve: Callable[..., ServerProcess],
) -> None:
    server = serve()
    admin, user = server.client("admin", Role.DOMAIN_ADMIN), server.client("user", Role.USER)
    await _create(admin, 1)
    backup = shutil.copytree(server.folder, server.folder.with_name("backup"), ignore=shutil.ignore_patterns("*.lock"))
    await _create(admin, 1)
    lost = await _cursor(user)
    server.terminate()
    shutil.rmtree(server.folder)
    shutil.copytree(backup, server.folder)

    done = run(server.folder, "renew-cursors")

    assert (done.returncode, done.stdout) == (0, "The cursors of all streams have ended.\n"), done.stderr
    server.start()
    await _create(admin, 2)  # by now the inbox is further than the cursor that was lost
    events = (await user.ask(CHANGES, after=lost))["inboxChanges"]["events"]
    assert events == [{"__typename": "InboxReset", "unreadCount": 3}]
    again = await _cursor(user)
    await _create(admin, 1)
    assert [event["__typename"] for event in (await user.ask(CHANGES, after=again))["inboxChanges"]["events"]] == [
        "NotificationAdded"
    ]
