"""Mail from one call to mailboxes, through a real server."""

from __future__ import annotations

from typing import Any

from resolvers.access import Role
from tests.client import CREATE, eventually
from tests.mailbox import Behaviour, Mailbox
from tests.server import ServerProcess

CREATE_PROTOCOL = """
mutation ($input: CreateProtocolInput!) { createProtocol(input: $input) { protocol { protocolId secretData } } }
"""
CREATE_CHANNEL = """
mutation ($input: CreateProjectChannelInput!) {
  createProjectChannel(input: $input) { projectChannel { projectChannelId data } }
}
"""
DELIVERIES = """
query ($id: ID!) {
  deliveries(filter: {notificationId: $id}) {
    nodes { part state reason attempts { outcome statusCode error responseExcerpt } }
  }
}
"""


async def test_each_recipient_gets_a_mail_whatever_becomes_of_the_others(live: ServerProcess) -> None:
    admin = live.client("admin", Role.DOMAIN_ADMIN, "mail")
    async with Mailbox() as mailbox:
        mailbox.behaviour = Behaviour(recipient={"gone@example.org": "550 5.1.1 No such mailbox"})
        options = {"host": "127.0.0.1", "port": mailbox.port, "security": "NONE", "from": "tocsin@example.com"}
        plugin = {"pluginId": "email", "options": options}
        made = await admin.ask(CREATE_PROTOCOL, input={"name": "mail", "plugin": plugin})
        data = {"to": ["ann@example.org", "gone@example.org", "bob@example.org"]}
        channel = {
            "protocolId": made["createProtocol"]["protocol"]["protocolId"],
            "projectId": "p",
            "name": "Operators",
            "data": data,
        }
        shown = await admin.ask(CREATE_CHANNEL, input=channel)
        said = {
            "resourceType": "identity.Project",
            "resourceId": "p",
            "topic": "monitoring.Alert",
            "message": {"title": "Störung", "tags": {"State": "TRIGGERED"}},
        }
        created = (await admin.ask(CREATE, input=said))["createNotification"]

        async def deliveries() -> list[dict[str, Any]]:
            page = await admin.ask(DELIVERIES, id=created["notification"]["notificationId"])
            return sorted(page["deliveries"]["nodes"], key=lambda each: int(each["part"]))

        ended = await eventually(deliveries, lambda rows: {row["state"] for row in rows} <= {"DELIVERED", "DEAD"})

    assert shown["createProjectChannel"]["projectChannel"]["data"] == data
    assert [(row["part"], row["state"], row["reason"]) for row in ended] == [
        (0, "DELIVERED", None),
        (1, "DEAD", "REFUSED"),
        (2, "DELIVERED", None),
    ]
    assert [each["statusCode"] for row in ended for each in row["attempts"]] == [250, 550, 250]
    assert sorted(taken.recipients for taken in mailbox.taken) == [["ann@example.org"], ["bob@example.org"]]
    assert {taken.mail["subject"] for taken in mailbox.taken} == {"Störung"}
    assert len({taken.mail["message-id"] for taken in mailbox.taken}) == 2
