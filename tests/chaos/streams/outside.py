"""The way from outside: a server process, over HTTP and websockets."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.asyncio.client import connect

from resolvers.access import Role
from resolvers.errors import CursorExpired, NotFound
from resolvers.events import EventKind
from resolvers.streams import StreamFilter
from tests.chaos.streams.door import ADMIN, News
from tests.chaos.streams.told import Counts, Row, Standing, Told
from tests.client import CHANNEL, DEADLINE_S, GRAPHQL_TRANSPORT_WS, Client
from tests.server import ServerProcess

ROW = "notification { notificationId topic notificationType notificationLevel projectId cursor }"
EVENT = f"""
    __typename cursor unreadCount unseenCount originId
    ... on NotificationAdded {{ {ROW} }}
    ... on NotificationsRead {{ notificationIds isRead }}
    ... on NotificationsRemoved {{ notificationIds }}
    ... on AllRead {{ upTo }}
    ... on InboxSeen {{ upTo }}
    ... on AllRemoved {{ upTo }}
"""
KINDS = {
    "NotificationAdded": EventKind.ADDED,
    "NotificationsRead": EventKind.READ,
    "NotificationsRemoved": EventKind.REMOVED,
    "AllRead": EventKind.ALL_READ,
    "InboxSeen": EventKind.SEEN,
    "AllRemoved": EventKind.ALL_REMOVED,
    "InboxSynced": EventKind.SYNCED,
    "InboxReset": EventKind.RESET,
}
CHANGED = f"""
    subscription ($after: Cursor, $filter: StreamFilter) {{
      inboxChanged(after: $after, filter: $filter) {{ {EVENT} }}
    }}
"""
CREATED = f"""
    subscription ($after: Cursor, $filter: StreamFilter) {{
      notificationCreated(after: $after, filter: $filter) {ROW.removeprefix("notification ")}
    }}
"""
PAGE = f"""
    query ($after: Cursor!, $first: Int) {{
      inboxChanges(after: $after, first: $first) {{ events {{ {EVENT} }} cursor hasMore }}
    }}
"""
STANDING = "{ inbox { cursor unreadCount unseenCount totalCount } }"
CREATE = """
    mutation ($input: CreateNotificationInput!) { createNotification(input: $input) { recipientCount } }
"""
SET_READ = """
    mutation ($ids: [ID!]!, $isRead: Boolean!, $origin: String) {
      setNotificationsRead(notificationIds: $ids, isRead: $isRead, originId: $origin) { changedCount }
    }
"""
ALL_READ = "mutation ($upTo: Cursor!, $origin: String) { markAllRead(upTo: $upTo, originId: $origin) { changedCount } }"
SEEN = "mutation ($upTo: Cursor!, $origin: String) { markInboxSeen(upTo: $upTo, originId: $origin) { changedCount } }"
DELETE = """
    mutation ($ids: [ID!]!, $origin: String) {
      deleteNotifications(notificationIds: $ids, originId: $origin) { changedCount }
    }
"""
DELETE_ONE = """
    mutation ($id: ID!, $origin: String) { deleteNotification(notificationId: $id, originId: $origin) { changedCount } }
"""
DELETE_ALL = """
    mutation ($users: [ID!], $upTo: Cursor, $origin: String) {
      deleteAllNotifications(users: $users, upTo: $upTo, originId: $origin) { deletedCount }
    }
"""
EXPECTED_REFUSALS = {refusal.code: refusal for refusal in (CursorExpired, NotFound)}


@dataclass(frozen=True)
class Outside:
    """Over the sockets of a server process; `close` after use."""

    process: ServerProcess
    http: httpx.AsyncClient = field(
        default_factory=lambda: httpx.AsyncClient(trust_env=False, verify=False, timeout=DEADLINE_S)
    )

    async def close(self) -> None:
        await self.http.aclose()

    async def add_channel(self, project: str, users: Sequence[str]) -> None:
        protocol = await self._admin.internal_protocol()
        asked = {"projectId": project, "protocolId": protocol, "name": "inside", "data": {"users": list(users)}}
        await self._ask(self._admin, CHANNEL, input=asked)

    async def create(self, resource_type: str, resource_id: str, news: News) -> None:
        asked = {
            "resourceType": resource_type,
            "resourceId": resource_id,
            "topic": news.topic,
            "message": {"title": "A"},
            "notificationType": news.notification_type,
            "notificationLevel": news.notification_level,
        }
        await self._ask(self._admin, CREATE, input=asked)

    async def set_read(self, user: str, ids: Sequence[str], is_read: bool, origin: str) -> None:
        await self._ask(self._user(user), SET_READ, ids=ids, isRead=is_read, origin=origin)

    async def mark_all_read(self, user: str, up_to: str, origin: str) -> None:
        await self._ask(self._user(user), ALL_READ, upTo=up_to, origin=origin)

    async def mark_seen(self, user: str, up_to: str, origin: str) -> None:
        await self._ask(self._user(user), SEEN, upTo=up_to, origin=origin)

    async def delete(self, user: str, ids: Sequence[str], origin: str) -> None:
        await self._ask(self._user(user), DELETE, ids=ids, origin=origin)

    async def delete_one(self, user: str, id: str, origin: str) -> None:
        await self._ask(self._user(user), DELETE_ONE, id=id, origin=origin)

    async def delete_all(self, users: Sequence[str], up_to: str | None, origin: str) -> None:
        caller = self._user(users[0]) if len(users) == 1 else self._admin
        await self._ask(caller, DELETE_ALL, users=users, upTo=up_to, origin=origin)

    async def standing(self, user: str) -> Standing:
        inbox = (await self._ask(self._user(user), STANDING))["inbox"]
        return Standing(inbox["cursor"], Counts(inbox["unreadCount"], inbox["unseenCount"]), inbox["totalCount"])

    async def page(self, user: str, after: str, first: int) -> tuple[list[Told], str, bool]:
        page = (await self._ask(self._user(user), PAGE, after=after, first=first))["inboxChanges"]
        return [_told(event) for event in page["events"]], page["cursor"], page["hasMore"]

    async def changed(self, user: str, after: str | None, wanted: StreamFilter) -> AsyncGenerator[Told, None]:
        async with aclosing(self._stream(user, CHANGED, after, wanted)) as events:
            async for event in events:
                yield _told(event["inboxChanged"])

    async def created(self, user: str, after: str | None, wanted: StreamFilter) -> AsyncGenerator[Told, None]:
        async with aclosing(self._stream(user, CREATED, after, wanted)) as events:
            async for event in events:
                row = _row(event["notificationCreated"])
                yield Told(EventKind.ADDED, row.cursor, None, row=row)

    async def _stream(
        self, user: str, document: str, after: str | None, wanted: StreamFilter
    ) -> AsyncGenerator[Any, None]:
        """The `data` of each event. Its end is the network's: no goodbye."""
        address = f"{self.process.url.replace('http', 'ws', 1)}/graphql"
        async with connect(address, subprotocols=[GRAPHQL_TRANSPORT_WS], proxy=None) as socket:
            try:
                await socket.send(json.dumps({"type": "connection_init", "payload": self._user(user).headers}))
                assert json.loads(await socket.recv()) == {"type": "connection_ack"}
                payload = {"query": document, "variables": {"after": after, "filter": _filter(wanted)}}
                await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
                async for text in socket:
                    message = json.loads(text)
                    if message["type"] == "error":
                        raise _refusal(message["payload"])
                    assert message["type"] == "next", message
                    assert "errors" not in message["payload"], message
                    yield message["payload"]["data"]
            finally:
                socket.transport.abort()

    async def _ask(self, client: Client, document: str, **variables: object) -> Any:
        body = {"query": document, "variables": variables}
        answer = (await self.http.post(f"{client.url}/graphql", headers=client.headers, json=body)).json()
        if "errors" in answer:
            raise _refusal(answer["errors"])
        return answer["data"]

    @property
    def _admin(self) -> Client:
        return self.process.client(ADMIN, Role.DOMAIN_ADMIN)

    def _user(self, user: str) -> Client:
        return self.process.client(user, Role.USER)


def _refusal(errors: list[Any]) -> Exception:
    [error] = errors
    refusal = EXPECTED_REFUSALS.get(error["extensions"]["code"])
    return refusal(error["message"]) if refusal else AssertionError(error)


def _filter(wanted: StreamFilter) -> dict[str, object]:
    return {
        "topics": wanted.topics,
        "notificationTypes": wanted.notification_types,
        "notificationLevels": wanted.notification_levels,
        "projectId": wanted.project_id,
    }


def _told(event: Any) -> Told:
    return Told(
        kind=KINDS[event["__typename"]],
        cursor=event["cursor"],
        counts=Counts(event["unreadCount"], event["unseenCount"]),
        origin_id=event["originId"],
        row=_row(event["notification"]) if "notification" in event else None,
        ids=tuple(event.get("notificationIds", ())),
        is_read=event.get("isRead", False),
        up_to=event.get("upTo"),
    )


def _row(row: Any) -> Row:
    return Row(
        notification_id=row["notificationId"],
        topic=row["topic"],
        notification_type=row["notificationType"],
        notification_level=row["notificationLevel"],
        project_id=row["projectId"],
        cursor=row["cursor"],
    )
