"""The same key, the same answer: what a keyed call did once it does not do again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson

from resolvers import checks
from resolvers.access import Caller
from resolvers.context import Server
from resolvers.errors import AlreadyExists
from storage import idempotency
from storage.models import IdempotencyKey

KEPT = timedelta(hours=48)  # twice what callers are promised, so that no sweep cuts it short


def claim_for(
    caller: Caller, operation: str, domain_id: str, key: str | None, body: Mapping[str, Any], now: datetime
) -> IdempotencyKey | None:
    """The row that a keyed call claims; None for a call without a key. Raises InvalidArgument."""
    if key is None:
        return None
    return IdempotencyKey(
        domain_id=domain_id,
        caller=caller.user_id,
        operation=operation,
        key=checks.text(key, "idempotencyKey"),
        body_hash=hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        created_at=now,
    )


def first_answer(taken: IdempotencyKey, claim: IdempotencyKey) -> dict[str, Any]:
    """What the key's first call answered. Raises AlreadyExists when that call asked for something else."""
    if taken.body_hash != claim.body_hash:
        raise AlreadyExists("This key was used for a call with another body.", field="idempotencyKey")
    return taken.answer or {}


async def sweep(server: Server) -> None:
    """Forget keys that are past their time."""
    before = server.clock() - KEPT
    await server.database.write(lambda session: idempotency.sweep(session, before=before))
