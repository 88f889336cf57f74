"""Reading marks as read, as a real server does it: after the answer, for whom the rule names and for nobody else."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from resolvers.access import Role
from tests.client import eventually
from tests.server import ServerProcess

LIST = "{ inbox { unreadCount } notifications { nodes { isRead readAt } inbox { unreadCount } } }"
QUIET_LIST = "{ notifications(markRead: false) { nodes { isRead } } }"
LOUD_LIST = "{ notifications(markRead: true) { nodes { isRead } } }"
COUNT = "{ notifications(filter: {isRead: false}) { totalCount } }"
PLACES = "{ notifications { edges { cursor } pageInfo { endCursor } } }"
CLOSED_PANEL = "query ($isOpen: Boolean!) { notifications { totalCount nodes @include(if: $isOpen) { topic } } }"
USERS_LIST = '{ notifications(filter: {userId: "user"}, markRead: true) { nodes { isRead } } }'
ONE = "query ($id: ID!) { notification(notificationId: $id) { isRead readAt } }"
WITHIN = timedelta(seconds=1)
INBOX = "{ inbox { unreadCount cursor } }"


class Mailbox:
    """A user with one unread notification, and an administrator, in a domain of their own."""

    def __init__(self, server: ServerProcess) -> None:
        domain = uuid.uuid4().hex
        self.admin = server.client("admin", Role.DOMAIN_ADMIN, domain)
        self.user = server.client("user", Role.USER, domain)
        self.notification_id = ""

    async def fill(self) -> None:
        created = await self.admin.create("identity.User", "user")
        self.notification_id = created["notification"]["notificationId"]

    async def inbox(self) -> Any:
        return (await self.user.ask(INBOX))["inbox"]

    async def becomes_read(self) -> None:
        await eventually(self.inbox, lambda inbox: inbox["unreadCount"] == 0)


async def settle(server: ServerProcess) -> None:
    """Returns once a mark that was asked for later than all others has been made: so has every one before it."""
    witness = Mailbox(server)
    await witness.fill()
    await witness.user.ask(LOUD_LIST)
    await witness.becomes_read()


async def test_a_list_shows_the_state_before_and_is_read_after(live: ServerProcess) -> None:
    mailbox = Mailbox(live)
    await mailbox.fill()

    answer = await mailbox.user.ask(LIST)
    answered_at = datetime.now(UTC)

    unread = {"unreadCount": 1}
    assert answer == {
        "inbox": unread,
        "notifications": {"nodes": [{"isRead": False, "readAt": None}], "inbox": unread},
    }
    await mailbox.becomes_read()
    [row] = (await mailbox.user.ask(LIST))["notifications"]["nodes"]
    assert row["isRead"]
    assert abs(datetime.fromisoformat(row["readAt"]) - answered_at) < WITHIN


async def test_a_single_one_shows_the_state_before_and_is_read_after(live: ServerProcess) -> None:
    mailbox = Mailbox(live)
    await mailbox.fill()

    answer = await mailbox.user.ask(ONE, id=mailbox.notification_id)

    assert answer == {"notification": {"isRead": False, "readAt": None}}
    await mailbox.becomes_read()


async def test_what_is_read_already_is_not_written_again(live: ServerProcess) -> None:
    mailbox = Mailbox(live)
    await mailbox.fill()
    await mailbox.user.ask(LIST)
    await mailbox.becomes_read()
    before = await mailbox.inbox()

    await mailbox.user.ask(LIST)

    await settle(live)
    assert await mailbox.inbox() == before


WITHOUT_EFFECT: dict[str, Callable[[Mailbox], Awaitable[Any]]] = {
    "a GET": lambda mailbox: mailbox.user.get(LIST),
    "a GET that asks for it": lambda mailbox: mailbox.user.get(LOUD_LIST),
    "a POST that declines": lambda mailbox: mailbox.user.ask(QUIET_LIST),
    "an administrator": lambda mailbox: mailbox.admin.ask(USERS_LIST),
    "the counts alone": lambda mailbox: mailbox.user.ask(INBOX),
    "how many there are": lambda mailbox: mailbox.user.ask(COUNT),
    "where they are": lambda mailbox: mailbox.user.ask(PLACES),
    "rows that are left out": lambda mailbox: mailbox.user.ask(CLOSED_PANEL, isOpen=False),
}


async def test_nothing_else_marks_anything(live: ServerProcess) -> None:
    mailboxes = {way: Mailbox(live) for way in WITHOUT_EFFECT}
    before = {}
    for way, mailbox in mailboxes.items():
        await mailbox.fill()
        before[way] = await mailbox.inbox()

    for way, read in WITHOUT_EFFECT.items():
        await read(mailboxes[way])

    await settle(live)
    assert {way: await mailbox.inbox() for way, mailbox in mailboxes.items()} == before


async def test_an_administrators_own_inbox_is_not_marked_either(live: ServerProcess) -> None:
    """Who administers looks at much, and at little of it for themselves."""
    admin = live.client("admin", Role.DOMAIN_ADMIN, uuid.uuid4().hex)
    await admin.create("identity.User", "admin")

    await admin.ask(LOUD_LIST)

    await settle(live)
    assert (await admin.ask(INBOX))["inbox"]["unreadCount"] == 1


async def test_a_server_may_be_set_not_to(serve: Callable[..., ServerProcess]) -> None:
    """Then only who asks for it gets it."""
    server = serve(mark_read_on_fetch="false")
    mailbox = Mailbox(server)
    await mailbox.fill()

    await mailbox.user.ask(LIST)
    await mailbox.user.ask(ONE, id=mailbox.notification_id)

    await settle(server)
    assert (await mailbox.inbox())["unreadCount"] == 1
