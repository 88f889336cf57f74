"""A call that works for every root field of the schema, and what the schema says of each one's arguments.

The calls give every argument of a mutation and every field of its inputs. A text that begins with @ stands for the id
of a thing in `tests.schema.world`.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLUnionType,
    get_named_type,
    get_nullable_type,
    is_required_argument,
    is_required_input_field,
    print_ast,
)
from graphql.utilities.get_default_value_ast import get_default_value_ast

from resolvers import cursors
from tests.resolvers.courier import GOOD_TOKEN
from tests.schema.asking import API

TYPES = API._schema
ROOTS = {
    "query": cast(GraphQLObjectType, TYPES.query_type),
    "mutation": cast(GraphQLObjectType, TYPES.mutation_type),
    "subscription": cast(GraphQLObjectType, TYPES.subscription_type),
}

MESSAGE = {"title": "Not running pods", "tags": [{"key": "urgency", "value": "LOW"}], "at": 1.5, "seen": None}
CREATION = {
    "resourceType": "identity.Project",
    "resourceId": "p1",
    "topic": "monitoring.Alert",
    "message": MESSAGE,
    "notificationType": "ERROR",
    "notificationLevel": "LV1",
    "domainId": "home",
    "idempotencyKey": "key",
}
NIGHTS = {"dayOfWeek": ["MON"], "start": "22:00", "end": "06:30", "timeZone": "Asia/Seoul", "offHours": "DEFER"}
CHANNEL = {
    "protocolId": "@protocol",
    "name": "New",
    "data": {"door": "front", "code": "1234"},
    "topics": ["monitoring.*"],
    "schedule": NIGHTS,
    "tags": {"team": "a"},
    "domainId": "home",
}
CHANGE = {"name": "Renamed", "data": {"door": "back"}, "tags": {"team": "b"}}
SETTINGS = {"options": {"region": "north"}, "secretData": {"token": GOOD_TOKEN}}

# Each kind of stage, in the order of the schema: `places` looks for the fields of each in the stage of its number.
STAGES = [
    {
        "group": {
            "keys": [{"key": "domainId", "name": "domain"}],
            "fields": [
                {
                    "name": "all",
                    "operator": "push",
                    "fields": [{"key": "domainId", "name": "domain"}],
                    "conditions": [{"key": "domainId", "operator": "eq", "value": "home"}],
                }
            ],
        }
    },
    {"sort": {"keys": [{"key": "domain", "desc": True}]}},
    {"limit": 10},
    {"skip": 0},
    {"count": {"name": "domains"}},
    {"unwind": {"path": "domains"}},
    {"project": {"fields": [{"name": "twice", "operator": "add", "fields": [{"key": "domains"}, {"key": "domains"}]}]}},
    {
        "match": {
            "filter": [{"key": "twice", "operator": "gt", "value": 1}],
            "filterOr": [{"key": "twice", "operator": "eq", "value": 2}],
        }
    },
]

Variables = Mapping[str, Any]


def _query(key: str, thing: str) -> dict[str, Any]:
    """That finds one thing."""
    named = {"key": key, "operator": "eq", "value": thing}
    return {
        "filter": [{**named}, {"k": key, "o": "exists", "v": True}],
        "filterOr": [{**named}],
        "page": {"start": 1, "limit": 10},
        "only": [key],
        "minimal": True,
        "countOnly": False,
    }


def _statistics(key: str, thing: str) -> Variables:
    """Of one thing."""
    named = {"key": key, "operator": "eq", "value": thing}
    domain = {"key": "domainId", "operator": "eq", "value": "home"}
    page = {"start": 1, "limit": 10}
    return {"query": {"filter": [named, domain], "filterOr": [{**domain}], "aggregate": STAGES, "page": page}}


CALLS: dict[str, Variables] = {
    "viewer": {},
    "node": {"id": "@node"},
    "inbox": {},
    "inboxChanges": {"after": "@start", "first": 10},
    "notification": {"notificationId": "@notification"},
    "notifications": {
        "filter": {"notificationIds": ["@notification"], "domainId": "home"},
        "query": {**_query("notificationId", "@notification"), "keyword": "PODS"},
        "orderBy": [{"field": "TOPIC", "direction": "ASC"}],
    },
    "delivery": {"deliveryId": "@delivery"},
    "deliveries": {
        "filter": {"deliveryIds": ["@delivery"], "domainId": "home"},
        "query": {**_query("deliveryId", "@delivery"), "sort": {"keys": [{"key": "createdAt", "desc": True}]}},
    },
    "explainDispatch": {"input": CREATION},
    "plugins": {},
    "protocol": {"protocolId": "@protocol"},
    "protocols": {
        "filter": {"protocolId": "@protocol", "domainId": "home"},
        "query": _query("protocolId", "@protocol"),
    },
    "projectChannel": {"projectChannelId": "@projectChannel"},
    "projectChannels": {
        "filter": {"projectChannelId": "@projectChannel", "domainId": "home"},
        "query": _query("projectChannelId", "@projectChannel"),
    },
    "userChannel": {"userChannelId": "@userChannel"},
    "userChannels": {
        "filter": {"userChannelId": "@userChannel", "domainId": "home"},
        "query": _query("userChannelId", "@userChannel"),
    },
    "quotas": {"filter": {"quotaId": "@quota", "domainId": "home"}, "query": _query("quotaId", "@quota")},
    "notificationUsages": {
        "filter": {"protocolId": "@protocol", "dateFrom": "2026-01-31", "domainId": "home"},
        "query": _query("protocolId", "@protocol"),
    },
    "notificationStat": _statistics("notificationId", "@notification"),
    "deliveryStat": _statistics("deliveryId", "@delivery"),
    "protocolStat": _statistics("protocolId", "@protocol"),
    "projectChannelStat": _statistics("projectChannelId", "@projectChannel"),
    "userChannelStat": _statistics("userChannelId", "@userChannel"),
    "quotaStat": _statistics("quotaId", "@quota"),
    "notificationUsageStat": _statistics("protocolId", "@protocol"),
    "createNotification": {"input": CREATION},
    "createNotifications": {"inputs": [CREATION]},
    "pushNotification": {
        "input": {
            "protocolId": "@protocol",
            "data": {"door": "front"},
            "message": MESSAGE,
            "topic": "monitoring.Alert",
            "notificationType": "WARNING",
            "notificationLevel": "LV1",
            "domainId": "home",
            "idempotencyKey": "key",
        }
    },
    "setNotificationsRead": {"notificationIds": ["@notification"], "isRead": True, "originId": "tab"},
    "markAllRead": {"upTo": "@head", "originId": "tab"},
    "markInboxSeen": {"upTo": "@head", "originId": "tab"},
    "deleteNotification": {"notificationId": "@notification", "originId": "tab"},
    "deleteNotifications": {"notificationIds": ["@notification"], "originId": "tab"},
    "deleteAllNotifications": {"users": ["@user"], "upTo": "@head", "domainId": "home", "originId": "tab"},
    "registerUsers": {"userIds": ["carol"], "domainId": "home"},
    "revokeTokens": {"userId": "carol", "domainId": "home"},
    "createProtocol": {
        "input": {
            "name": "New",
            "plugin": {"pluginId": "courier", **SETTINGS},
            "tags": {"team": "a"},
            "domainId": "home",
            "verify": True,
        }
    },
    "updateProtocol": {"input": {"protocolId": "@protocol", "name": "Renamed", "tags": {"team": "b"}}},
    "updateProtocolPlugin": {"input": {"protocolId": "@protocol", **SETTINGS, "verify": True}},
    "enableProtocol": {"protocolId": "@protocol"},
    "disableProtocol": {"protocolId": "@protocol"},
    "deleteProtocol": {"protocolId": "@unusedProtocol"},
    "verifyProtocol": {"protocolId": "@protocol"},
    "createProjectChannel": {
        "input": {"projectId": "p1", "notificationLevel": "LV2", "levelMatch": "AT_LEAST", **CHANNEL}
    },
    "updateProjectChannel": {
        "input": {
            "projectChannelId": "@projectChannel",
            "notificationLevel": "LV3",
            "levelMatch": "AT_LEAST",
            **CHANGE,
        }
    },
    "setProjectChannelSchedule": {"projectChannelId": "@projectChannel", "schedule": NIGHTS},
    "setProjectChannelSubscription": {"projectChannelId": "@projectChannel", "topics": ["monitoring.Alert"]},
    "enableProjectChannel": {"projectChannelId": "@projectChannel"},
    "disableProjectChannel": {"projectChannelId": "@projectChannel"},
    "deleteProjectChannel": {"projectChannelId": "@projectChannel"},
    "createUserChannel": {"input": {"userId": "@user", **CHANNEL}},
    "updateUserChannel": {"input": {"userChannelId": "@userChannel", **CHANGE}},
    "setUserChannelSchedule": {"userChannelId": "@userChannel", "schedule": NIGHTS},
    "setUserChannelSubscription": {"userChannelId": "@userChannel", "topics": ["monitoring.Alert"]},
    "enableUserChannel": {"userChannelId": "@userChannel"},
    "disableUserChannel": {"userChannelId": "@userChannel"},
    "deleteUserChannel": {"userChannelId": "@userChannel"},
    "createQuota": {"input": {"protocolId": "@unusedProtocol", "day": 5, "month": 50, "domainId": "home"}},
    "updateQuota": {"input": {"quotaId": "@quota", "day": 6, "month": 60}},
    "deleteQuota": {"quotaId": "@quota"},
    "testChannel": {"channelId": "@userChannel", "message": MESSAGE},
    "retryDelivery": {"deliveryId": "@heldDelivery"},
    "cancelDelivery": {"deliveryId": "@delivery"},
    "replayDeliveries": {
        "since": "2026-01-31T00:00:00.000Z",
        "filter": {
            "deliveryIds": ["@heldDelivery"],
            "notificationId": "@heldNotification",
            "channelId": "@userChannel",
            "protocolId": "@protocol",
            "states": ["SKIPPED"],
            "domainId": "home",
            "createdAfter": "2026-01-31T00:00:00.000Z",
            "createdBefore": "2026-02-01T00:00:00.000Z",
        },
    },
    "notificationCreated": {"after": "@start", "filter": {"topics": ["monitoring.Alert"]}},
    "inboxChanged": {"after": "@start", "filter": {"topics": ["monitoring.Alert"]}},
    "notificationFeed": {
        "projectId": "p1",
        "domainId": "home",
        "after": cursors.for_stream(cursors.BEGINNING),
        "filter": {"topics": ["monitoring.Alert"]},
    },
    "deliveryUpdated": {"filter": {"deliveryIds": ["@delivery"], "domainId": "home"}},
}

# Only ever the caller's own inbox, also for those who may read others': by the argument that has its cursor.
OWN_INBOX = {
    "notificationCreated": "after",
    "inboxChanged": "after",
    "inboxChanges": "after",
    "markAllRead": "upTo",
    "markInboxSeen": "upTo",
}

Path = tuple[str | int, ...]
ABSENT = object()


@dataclass(frozen=True)
class Place:
    """An argument, a field of an input or an item of a list."""

    operation: str
    path: Path
    type: GraphQLInputType
    is_required: bool

    def __str__(self) -> str:
        return ".".join(map(str, (self.operation, *self.path)))


def kind(operation: str) -> str:
    """query, mutation or subscription."""
    return next(kind for kind, root in ROOTS.items() if operation in root.fields)


def field(operation: str) -> GraphQLField:
    root = ROOTS[kind(operation)]
    return cast(GraphQLField, root.fields[operation])


def places(operation: str) -> Iterator[Place]:
    """Every place in which a call of this operation can have a value."""
    for name, argument in field(operation).args.items():
        yield from _within(Place(operation, (name,), argument.type, is_required_argument(argument)))


def _within(place: Place, around: tuple[GraphQLInputObjectType, ...] = ()) -> Iterator[Place]:
    yield place
    type_ = get_nullable_type(place.type)
    if isinstance(type_, GraphQLList):
        item = get_nullable_type(type_.of_type)
        is_one_of = isinstance(item, GraphQLInputObjectType) and item.is_one_of
        for index in range(len(item.fields) if is_one_of else 1):
            yield from _within(Place(place.operation, (*place.path, index), type_.of_type, is_required=False), around)
    elif isinstance(type_, GraphQLInputObjectType) and type_ not in around:  # what is within itself is tried once
        for name, inner in _given_fields(type_, place.path):
            path = (*place.path, name)
            inside = Place(place.operation, path, inner.type, is_required_input_field(inner))
            yield from _within(inside, (*around, type_))


def _given_fields(type_: GraphQLInputObjectType, path: Path) -> list[tuple[str, GraphQLInputField]]:
    """The fields that an input can have together: of a oneOf, that of its number in the list."""
    fields = list(type_.fields.items())
    return [fields[int(path[-1])]] if type_.is_one_of else fields


def names(path: Iterable[str | int]) -> list[str]:
    """The names on a path, as errors count them: without indexes, and without the `input` that goes without saying."""
    named = [str(key) for key in path if not str(key).isdigit()]
    return named[1:] if len(named) > 1 and named[0] in ("input", "inputs") else named


def put(variables: Variables, path: Path, value: Any) -> dict[str, Any]:
    """The variables with another value in this place, or, for ABSENT, with none."""
    changed: Any = {**copy.deepcopy(variables)}
    inner = changed
    for key, following in itertools.pairwise(path):
        if isinstance(inner, dict):
            inner.setdefault(key, [None] if following == 0 else {})
        elif inner[key] is None:
            inner[key] = {}
        inner = inner[key]
    if value is ABSENT:
        inner.pop(path[-1], None)
    else:
        inner[path[-1]] = value
    return changed  # type: ignore[no-any-return]


def at(variables: Variables, path: Path) -> Any:
    """The value in this place. Raises LookupError."""
    value: Any = variables
    for key in path:
        value = value[key]
    return value


def filled(value: Any, things: Mapping[str, str]) -> Any:
    """The value with the ids of things in the place of their names."""
    if isinstance(value, str):
        return things[value] if value.startswith("@") else value
    if isinstance(value, Mapping):
        return {key: filled(item, things) for key, item in value.items()}
    return [filled(item, things) for item in value] if isinstance(value, list) else value


def document(operation: str, *, depth: int = 1) -> str:
    """The operation with a variable for each argument, selecting `depth` levels of what it answers."""
    arguments = field(operation).args
    defined = ", ".join(f"${name}: {argument.type}{_default(argument)}" for name, argument in arguments.items())
    used = ", ".join(f"{name}: ${name}" for name in arguments)
    return _document(operation, f" Try({defined})" if defined else "", used, depth)


def written_out(operation: str, variables: Variables) -> str:
    """The operation with its values in the document itself."""
    arguments = field(operation).args
    used = ", ".join(f"{name}: {literal(value, arguments[name].type)}" for name, value in variables.items())
    return _document(operation, "", used, 1)


def _document(operation: str, definition: str, arguments: str, depth: int) -> str:
    called = f"{operation}({arguments})" if arguments else operation
    return f"{kind(operation)}{definition} {{ {called} {_selection(field(operation).type, depth)} }}"


def _default(argument: GraphQLArgument) -> str:
    value = get_default_value_ast(argument)
    return f" = {print_ast(value)}" if value else ""


def _selection(type_: GraphQLOutputType, depth: int) -> str:
    named = get_named_type(type_)
    if isinstance(named, GraphQLUnionType):
        parts = [f"... on {member} {_selection(member, depth)}" for member in TYPES.get_possible_types(named)]
        return f"{{ __typename {' '.join(parts)} }}"
    if not isinstance(named, GraphQLObjectType | GraphQLInterfaceType):
        return ""
    fields = [(name, get_named_type(field.type)) for name, field in named.fields.items()]
    chosen = [
        f"{name} {_selection(inner, depth - 1)}"
        for name, inner in fields
        if depth > 1 or not isinstance(inner, GraphQLObjectType | GraphQLUnionType | GraphQLInterfaceType)
    ]
    return f"{{ __typename {' '.join(chosen)} }}"


def literal(value: Any, type_: GraphQLInputType | None) -> str:
    """The value as a document spells it."""
    named = cast(GraphQLInputType, get_named_type(type_)) if type_ else None
    if isinstance(value, dict):
        inner = named.fields if isinstance(named, GraphQLInputObjectType) else {}
        items = (f"{key}: {literal(item, inner[key].type if key in inner else None)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, list):
        return f"[{', '.join(literal(item, named) for item in value)}]"
    if isinstance(named, GraphQLEnumType) and isinstance(value, str) and value.isidentifier():
        return value
    return json.dumps(value)
