"""What is measured: each operation as the bytes of its requests, to the servers with GraphQL and to the floor.

Tocsin and the stock server get the very same bytes. The requests of an operation go round many users, so that no
server answers one request over and over.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from benchmarks.http import sample

FIELDS = "notificationId topic message notificationType notificationLevel isRead createdAt"
GET = f"query Get($id: ID!) {{ notification(notificationId: $id) {{ {FIELDS} }} }}"
LIST = (
    f"query List($first: Int!) {{ notifications(first: $first) {{ nodes {{ {FIELDS} }} "
    "pageInfo { hasNextPage endCursor } } }"
)
UNREAD = "query Unread { inbox { unreadCount } }"
CREATE = (
    "mutation Create($input: CreateNotificationInput!) "
    "{ createNotification(input: $input) { notification { notificationId topic } } }"
)
WATCH = f"subscription Watch {{ notificationCreated {{ {FIELDS} }} }}"

TOPIC, PROBE = "monitoring.alert", "benchmark.probe"
KEEPING = "Tocsin, keeping"  # the server that keeps answers: it is asked what is unchanged only
MOST = 512  # different requests of one operation

Token = Callable[[str, str], str]  # of a user or service, in a role


@dataclass(frozen=True)
class Operation:
    name: str
    graphql: Sequence[bytes]
    floor: Sequence[bytes]  # none: the floor has no such thing
    watchers: Sequence[str] = ()  # the tokens of those who watch: each request leads to one event at one of them
    probes: Sequence[bytes] = ()  # the same for each of them, with the topic PROBE
    is_kept: bool = False  # by the server that keeps answers

    def requests(self, server: str) -> Sequence[bytes]:
        if server == KEEPING and not self.is_kept:
            return ()
        return self.floor if server == "floor" else self.graphql


def operations(count: int, token: Token, *, recipients: int) -> list[Operation]:
    """All of them, on a sample of so many notifications; creates go round so many recipients."""
    everyone = sample.users(count)
    readers = [(user_id, token(user_id, "USER")) for user_id in random.Random(7).sample(everyone, len(everyone))[:MOST]]
    return [
        _get(count, dict(readers)),
        _list(20, readers),
        _list(100, readers),
        Operation(
            "unread count",
            [_asked(bearer, UNREAD, {}) for _, bearer in readers],
            [_got(f"/unread/{user_id}") for user_id, _ in readers],
        ),
        _create(token("backend", "SERVICE"), sample.UNWATCHED[:recipients]),
        _create_watched(
            token("backend", "SERVICE"),
            {user_id: token(user_id, "USER") for user_id in sample.WATCHED[:recipients]},
        ),
    ]


def _get(count: int, readers: dict[str, str]) -> Operation:
    theirs = [said for said in sample.said(count) if said.user_id in readers]
    wanted = random.Random(7).sample(theirs, min(MOST, len(theirs)))
    return Operation(
        "get one",
        [_asked(readers[said.user_id], GET, {"id": said.notification_id}) for said in wanted],
        [_got(f"/notification/{said.notification_id}") for said in wanted],
    )


def _list(first: int, readers: Sequence[tuple[str, str]]) -> Operation:
    return Operation(
        f"list {first}",
        [_asked(bearer, LIST, {"first": first}) for _, bearer in readers],
        [_got(f"/notifications/{user_id}/{first}") for user_id, _ in readers],
        is_kept=True,
    )


def _create(bearer: str, recipients: Iterable[str]) -> Operation:
    said = [_said(user_id, TOPIC) for user_id in recipients]
    return Operation("create", _creates(bearer, said), [_posted("/create", each) for each in said])


def _create_watched(bearer: str, tokens: dict[str, str]) -> Operation:
    """To recipients who watch, each with a token."""
    said, probes = ([_said(user_id, topic) for user_id in tokens] for topic in (TOPIC, PROBE))
    return Operation("create, watched", _creates(bearer, said), [], [*tokens.values()], _creates(bearer, probes))


def _said(user_id: str, topic: str) -> dict[str, Any]:
    return {"resourceId": user_id, "topic": topic, "message": sample.MESSAGE}


def _creates(bearer: str, said: Sequence[dict[str, Any]]) -> list[bytes]:
    return [_asked(bearer, CREATE, {"input": {"resourceType": "identity.User", **each}}) for each in said]


def _asked(bearer: str, query: str, variables: dict[str, Any]) -> bytes:
    accepted = "application/graphql-response+json, application/json;q=0.9"
    headers = {"Authorization": f"Bearer {bearer}", "Accept": accepted}
    return _posted("/graphql", {"query": query, "variables": variables}, headers)


def _posted(path: str, asked: dict[str, Any], headers: dict[str, str] | None = None) -> bytes:
    body = orjson.dumps(asked)
    about = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return _head("POST", path, {**(headers or {}), **about}) + body


def _got(path: str) -> bytes:
    return _head("GET", path, {})


def _head(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    return "\r\n".join(itertools.chain(lines, map(": ".join, headers.items()), ["", ""])).encode()
