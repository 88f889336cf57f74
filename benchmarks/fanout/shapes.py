"""What is said and who listens: the two shapes of a crowd, as requests to the servers with GraphQL and to the floor.

On a shared feed, one create for a project reaches all sockets, as its record. With own inboxes, one create for a
project reaches each of its members, by an INTERNAL channel or by a table of members, and each has one socket. The floor
is told by one POST in both. Tocsin and the stock server get the very same creates and subscriptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from benchmarks.http import sample, servers
from benchmarks.http.load import Connections

FIELDS = "notificationId topic message notificationType notificationLevel isRead createdAt"
CREATE = (
    "mutation Create($input: CreateNotificationInput!) "
    "{ createNotification(input: $input) { notification { notificationId topic } } }"
)
PROJECT = "project"
FEED = f'subscription {{ notificationFeed(projectId: "{PROJECT}") {{ notification {{ {FIELDS} }} }} }}'
CREATED = f"subscription {{ notificationCreated {{ {FIELDS} }} }}"
INTERNAL = "{ protocols(filter: {protocolType: INTERNAL}) { nodes { protocolId } } }"
CHANNEL = (
    "mutation ($input: CreateProjectChannelInput!) { createProjectChannel(input: $input) { projectChannel { name } } }"
)
MEMBERS = f'mutation ($users: [ID!]!) {{ addProjectMembers(projectId: "{PROJECT}", userIds: $users) }}'


@dataclass(frozen=True)
class Shape:
    name: str
    query: str
    is_own: bool  # each socket has an inbox of its own

    def tokens(self, count: int) -> Sequence[str]:
        if self.is_own:
            return [servers.token(user_id, "USER") for user_id in _users(count)]
        return [servers.token("watching", "DOMAIN_ADMIN")] * count

    def request(self, server: str) -> bytes:
        """Makes one event for every socket."""
        if server == "floor":
            return _posted("/", {})
        said = {"resourceType": "identity.Project", "resourceId": PROJECT, "topic": "monitoring.alert"}
        return _asked(servers.token("backend", "SERVICE"), CREATE, {"input": {**said, "message": sample.MESSAGE}})

    async def prepare(self, server: str, connections: Connections, count: int) -> None:
        """Make as many users members of the project, if each has an inbox of its own."""
        if self.is_own and server == "stock":
            await connections.ask(_asked(servers.token("backend", "SERVICE"), MEMBERS, {"users": _users(count)}))
        if self.is_own and server == "Tocsin":
            await _add_channel(connections, count)


SHAPES = (Shape("shared feed", FEED, is_own=False), Shape("own inboxes", CREATED, is_own=True))


async def _add_channel(connections: Connections, count: int) -> None:
    bearer = servers.token("watching", "DOMAIN_ADMIN")
    answer = orjson.loads(await connections.ask(_asked(bearer, INTERNAL, {})))
    [protocol] = answer["data"]["protocols"]["nodes"]
    channel = {"projectId": PROJECT, "name": "members", "data": {"users": _users(count)}, "notificationLevel": "LV1"}
    await connections.ask(_asked(bearer, CHANNEL, {"input": {**channel, **protocol}}))


def _users(count: int) -> list[str]:
    return [f"user-{number}" for number in range(count)]


def _asked(bearer: str, query: str, variables: dict[str, Any]) -> bytes:
    return _posted("/graphql", {"query": query, "variables": variables}, {"Authorization": f"Bearer {bearer}"})


def _posted(path: str, asked: object, headers: dict[str, str] | None = None) -> bytes:
    body = orjson.dumps(asked)
    about = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in {**about, **(headers or {})}.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
