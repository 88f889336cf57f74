"""The documents that clients send: parsed, validated and planned once, found by their text, their hash or their id.

One cache for automatic persisted queries (Apollo's protocol), trusted documents and everything else, over HTTP, event
streams and websockets alike. It must not know a type of the API, nor the transport, nor how a plan is made.

Nothing is kept for a caller without a valid token, nor a document that is not valid. One that was asked for once can
displace only others that were: a flood of new documents leaves those alone that are in use.
"""

from __future__ import annotations

import hashlib
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from graphql import DocumentNode
from strawberry.types.execution import PreExecutionError

from resolvers.errors import InvalidArgument, Refused
from schema import errors, limits
from schema.asked import Asked

MAX_DOCUMENTS = 1_000  # that were asked for again; and as many that were asked for once
MAX_BYTES = 16 * 1024 * 1024  # of each of the two kinds
BYTES_PER_TOKEN = 600  # of a parsed document with its plans; 360 to 550 were measured without
MAX_PLANNED_TOKENS = 1_000  # what is longer is asked for rarely, and what it asks for costs more than planning saves

PERSISTED = "extensions.persistedQuery"


# From what a request asks for and its context to the bytes of the answer; None: it takes the ordinary path.
Planned = Callable[[Asked, Any], Awaitable[bytes | None]]
Plan = Callable[[DocumentNode, str | None], Planned | None]  # of the operation of this name, or of the only one


class PersistedQueryNotFound(Refused):
    """Send the document itself once, together with its hash."""

    code = "PERSISTED_QUERY_NOT_FOUND"


class PersistedQueryNotInList(Refused):
    """Only trusted documents are answered, and this is none of them."""

    code = "PERSISTED_QUERY_NOT_IN_LIST"


@dataclass(frozen=True)
class Trusted:
    """Documents that are known from the start, by their ids; `only`: whether no others are answered."""

    documents: Mapping[str, str] = field(default_factory=dict)
    only: bool = False


NOTHING_IS_KNOWN = Trusted()


class Kept:
    """A valid document, and its operations' plans as far as they were asked for."""

    def __init__(self, text: str, parsed: DocumentNode) -> None:
        self.text = text
        self.parsed = parsed
        self.digest = digest(text)
        self.bytes = sys.getsizeof(text) + BYTES_PER_TOKEN * parsed.token_count
        self._planned: dict[str | None, Planned | None] = {}

    def planned(self, plan: Plan, operation_name: str | None) -> Planned | None:
        if operation_name in self._planned:
            return self._planned[operation_name]
        planned = plan(self.parsed, operation_name) if self.parsed.token_count <= MAX_PLANNED_TOKENS else None
        if len(self._planned) < limits.MAX_OPERATIONS:  # more names than operations are none of the document's
            self._planned[operation_name] = planned
        return planned


class Document(NamedTuple):
    """The document that a request asks for. Nothing is known of it yet unless it is kept."""

    text: str | None
    kept: Kept | None = None
    plan: Plan | None = None

    def planned(self, asked: Asked, context: Any) -> Awaitable[bytes | None]:
        """The bytes of the answer; None: it takes the ordinary path."""
        if self.kept is None or self.plan is None:
            return stepping_aside()
        planned = self.kept.planned(self.plan, asked.operation_name)
        return stepping_aside() if planned is None else planned(asked, context)


async def stepping_aside() -> None:
    """What is answered where there is no plan."""


class Documents:
    """Those of one schema, which has them as `schema.documents`. `plan` compiles operations, those that it can."""

    def __init__(self, trusted: Trusted = NOTHING_IS_KNOWN, *, plan: Plan | None = None) -> None:
        self._trusted = trusted
        self._plan = plan
        self._listed = frozenset(trusted.documents.values())
        self._listed_by_name = {digest(text): text for text in self._listed} | {**trusted.documents}
        self._kept_for_good: dict[str, Kept] = {}  # those that are listed
        self._once, self._again = _Shelf(), _Shelf()

    def of(self, asked: Asked) -> Document | PreExecutionError:
        """The document that a request asks for: by itself, by its hash or by its id."""
        try:
            return self._of(asked)
        except Refused as refusal:
            return PreExecutionError(None, [errors.of(refusal)])

    def find(self, text: str) -> Kept | None:
        """This very document, if it is kept."""
        return self._find(text) if len(text) <= limits.MAX_DOCUMENT_CHARACTERS else None

    def keep(self, text: str, parsed: DocumentNode) -> None:
        """Keep a document that was found valid."""
        if text in self._listed:
            self._kept_for_good[text] = Kept(text, parsed)
        elif text not in self._again:
            self._once.put(Kept(text, parsed))

    def _of(self, asked: Asked) -> Document:
        """Raises PersistedQueryNotFound, PersistedQueryNotInList, InvalidArgument."""
        known, text = _hash(asked.extensions), asked.query
        if asked.document_id is not None:
            if text is not None or known is not None:
                raise InvalidArgument("Ask by documentId or by the document, not by both.", field="documentId")
            return self._known(asked.document_id, "documentId")
        if not text:
            return Document(text) if known is None else self._known(known, PERSISTED)
        if len(text) > limits.MAX_DOCUMENT_CHARACTERS:
            return Document(text)  # which will not be parsed
        if known is not None and known != digest(text):
            raise InvalidArgument("The hash is not that of the query.", field=PERSISTED)
        if self._trusted.only and text not in self._listed:
            raise PersistedQueryNotInList("Only trusted documents are answered.", field="query")
        return Document(text, self._find(text), self._plan)

    def _known(self, key: str, field: str) -> Document:
        text = self._listed_by_name.get(key)
        if text is None and self._trusted.only:
            raise PersistedQueryNotInList("Only trusted documents are answered.", field=field)
        if text is None and field == PERSISTED:
            text = self._again.named(key) or self._once.named(key)
        if text is None:
            # Some clients of Apollo's protocol look at the message, and not at the code.
            raise PersistedQueryNotFound("PersistedQueryNotFound", field=field)
        return Document(text, self._find(text), self._plan)

    def _find(self, text: str) -> Kept | None:
        kept = self._again.get(text) or self._kept_for_good.get(text)
        if kept is None and (kept := self._once.take(text)):
            self._again.put(kept)
        return kept


def digest(text: str) -> str:
    """What Apollo's protocol calls a document by. Lone surrogates, which it does not know, are hashed as they are."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _hash(extensions: Mapping[str, Any] | None) -> str | None:
    """The hash by which a request asks. Raises InvalidArgument."""
    persisted = None if extensions is None else extensions.get("persistedQuery")
    if persisted is None:
        return None
    if not isinstance(persisted, dict) or not isinstance(key := persisted.get("sha256Hash"), str):
        raise InvalidArgument("This is an object with version and sha256Hash.", field=PERSISTED)
    if persisted.get("version") != 1:
        raise InvalidArgument("The one version of persisted queries is 1.", field=PERSISTED)
    return key


class _Shelf:
    """The documents that were asked for last, as many as there is room for."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()  # by their texts: to find one by its hash costs the hash
        self._texts: dict[str, str] = {}  # by their hashes
        self._bytes = 0

    def __contains__(self, text: str) -> bool:
        return text in self._kept

    def get(self, text: str) -> Kept | None:
        kept = self._kept.get(text)
        if kept is not None:
            self._kept.move_to_end(text)
        return kept

    def named(self, key: str) -> str | None:
        """The text that has this hash."""
        return self._texts.get(key)

    def take(self, text: str) -> Kept | None:
        kept = self._kept.pop(text, None)
        if kept is not None:
            del self._texts[kept.digest]
            self._bytes -= kept.bytes
        return kept

    def put(self, kept: Kept) -> None:
        self.take(kept.text)
        self._kept[kept.text] = kept
        self._texts[kept.digest] = kept.text
        self._bytes += kept.bytes
        while len(self._kept) > MAX_DOCUMENTS or self._bytes > MAX_BYTES:
            self.take(next(iter(self._kept)))
