"""The answers of lists, kept while the inbox that they are of does not change.

What is kept
    The bytes that a plan answered a user with, where nothing is in them but that user's own inbox: the fields of
    OF_THE_INBOX, and no `query`. There has to be a list: a row that is read by its id costs no more than its inbox's
    number. What is not named there is not kept, such as deliveries, decisions, and what a token says.

When
    From the second asking on: what nobody asks again costs a look and no number. Where there is no room left, a
    question displaces the one that was asked the longest ago only if it came back sooner than that. An answer that
    was never found before its inbox changed begins anew, as one that nobody has asked for.

Under what
    The plan, the variables, how the request came, and whose it is; and the inbox's id, generation and last number. The
    number is read from the database each time, so that other processes' changes are seen, and it is read after the
    token was checked. The plan has read the variables by then; what it refuses is no answer, and is not kept.

Why that is right
    Every change of what OF_THE_INBOX names raises the number of its inbox in the same transaction, under the inbox's
    lock; the number never goes back in a generation. It is read before the rows are, so no statement of an answer sees
    an older inbox than the number says. If one saw a newer inbox, the number has moved by then, and the answer will
    never be found. An answer that is found was therefore all of one moment: that of its number.

Read on fetch
    An answer of which rows become read is not kept: marking them changes the inbox at once. Whether they do depends on
    how the request came, which is why that is part of the key. Found answers have nothing to mark.

It must not be asked for a caller whose token was not checked, nor for anybody but users.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import orjson
from graphql import GraphQLObjectType, get_named_type

from resolvers import cursors, inboxes
from resolvers.access import Caller, Role
from resolvers.cursors import StreamCursor
from resolvers.errors import Refused
from schema.planned.calls import Run
from schema.projection import Group, Selection, name_of

ENTRY_BYTES = 600  # of one answer's key and place, beside the variables and the answer: an estimate
LARGEST_PART = 16  # of all the room, that one answer may take
MAX_ASKED = 10_000  # questions without an answer that are remembered: each takes some 200 bytes

LIST = "notifications"

# By type: the fields that change with nothing but the number of the inbox.
OF_THE_INBOX: Mapping[str, Set[str]] = {
    "Query": {LIST, "notification", "inbox"},
    "NotificationConnection": {"nodes", "edges", "pageInfo", "totalCount", "inbox"},
    "NotificationEdge": {"cursor", "node"},
    "PageInfo": {"hasNextPage", "hasPreviousPage", "startCursor", "endCursor"},
    "Inbox": {"unreadCount", "unseenCount", "totalCount", "cursor"},
    "Notification": {
        "id",
        "notificationId",
        "parentNotificationId",
        "topic",
        "message",
        "notificationType",
        "notificationLevel",
        "isRead",
        "readAt",
        "userId",
        "projectId",
        "domainId",
        "createdAt",
        "cursor",
    },
}

Groups = Mapping[str, Group]
Execute = Callable[[Run], Awaitable[bytes | None]]
Key = tuple[Any, ...]


@dataclass(slots=True)
class _Answer:
    head: StreamCursor
    content: bytes
    bytes: int
    asked_at: int
    was_found: bool = False


class KeptAnswers:
    """Those of one schema, and so of one server. Its time is counted in questions."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Key, _Answer] = OrderedDict()  # what was asked the longest ago is first
        self._asked: OrderedDict[int, int] = OrderedDict()  # when other questions were asked, by the keys' hashes
        self._bytes = 0
        self._now = 0
        self._plans = itertools.count()

    def __len__(self) -> int:
        return len(self._kept)

    def keeping(self, execute: Execute, selection: Selection, root: GraphQLObjectType) -> Execute:
        """The same plan, whose answers are kept, if they may be."""
        groups = selection.root(root)
        if not self._most_bytes or not _has_list(groups) or not _is_of_the_inbox(selection, root, groups):
            return execute
        plan = next(self._plans)  # no other ever has it

        def execute_once(run: Run) -> Awaitable[bytes | None]:
            caller = _user(run)
            key = None if caller is None else _key(plan, run, caller)
            if caller is None or key is None or not self._is_wanted(key):
                return execute(run)
            return self._answered(key, caller, run, execute)

        return execute_once

    def _is_wanted(self, key: Key) -> bool:
        """Whether the answer is kept, or is to be."""
        self._now += 1
        kept = self._kept.get(key)
        if kept is not None:
            kept.asked_at = self._now
            self._kept.move_to_end(key)
            return True
        question = hash(key)
        before = self._asked.pop(question, None)
        if before is not None and (self._has_room() or before > self._oldest().asked_at):
            return True
        self._asked[question] = self._now
        if len(self._asked) > MAX_ASKED:
            self._asked.popitem(last=False)
        return False

    def _has_room(self) -> bool:
        return self._bytes <= self._most_bytes - self._most_bytes // LARGEST_PART

    def _oldest(self) -> _Answer:
        return next(iter(self._kept.values()))

    async def _answered(self, key: Key, caller: Caller, run: Run, execute: Execute) -> bytes | None:
        head = await _head(run, caller)
        kept = self._kept.get(key)
        if kept is not None and kept.head == head:
            kept.was_found = True
            return kept.content
        self._drop(key)
        content = await execute(run)
        if content is not None and head is not None and not run.context.marks and (kept is None or kept.was_found):
            self._keep(key, head, content)
        return content

    def _keep(self, key: Key, head: StreamCursor, content: bytes) -> None:
        size = ENTRY_BYTES + len(content) + sum(len(part) for part in key if isinstance(part, bytes))
        if size * LARGEST_PART > self._most_bytes:
            return
        self._drop(key)  # another one may have been as fast
        self._kept[key] = _Answer(head, content, size, self._now)
        self._bytes += size
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        dropped = self._kept.pop(key, None)
        if dropped is not None:
            self._bytes -= dropped.bytes


def _user(run: Run) -> Caller | None:
    """The caller, if it is a user with a valid token."""
    try:
        caller: Caller = run.context.caller
    except Refused:
        return None
    return caller if caller.role is Role.USER else None


def _key(plan: int, run: Run, caller: Caller) -> Key | None:
    """None where the variables are more than JSON that can be written."""
    try:
        variables = orjson.dumps(run.given, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return None
    return plan, run.context.via, variables, caller.user


async def _head(run: Run, caller: Caller) -> StreamCursor | None:
    """The number of the caller's inbox; None where there is no such inbox, or nobody says."""
    try:
        state = await inboxes.mine(run.context.server, caller)
    except Exception:  # the plan says what is wrong
        return None
    return None if state is None or state.position == cursors.BEGINNING else state.position


def _has_list(groups: Groups) -> bool:
    return any(name_of(group) == LIST for group in groups.values())


def _is_of_the_inbox(selection: Selection, type_: GraphQLObjectType, groups: Groups) -> bool:
    return all(_is_kept(selection, type_, group) for group in groups.values())


def _is_kept(selection: Selection, type_: GraphQLObjectType, group: Group) -> bool:
    name = name_of(group)
    if name == "__typename":
        return True
    if name not in OF_THE_INBOX.get(type_.name, ()) or _asks_a_query(group):
        return False
    inner = get_named_type(type_.fields[name].type)
    if not isinstance(inner, GraphQLObjectType):
        return True
    return _is_of_the_inbox(selection, inner, selection.fields(inner, group))


def _asks_a_query(group: Group) -> bool:
    return any(argument.name.value == "query" for argument in group[0].node.arguments or ())
