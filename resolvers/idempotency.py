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
from storage import idempotency
from storage.idempotency import Claim

KEPT = timedelta(hours=48)  # twice what callers are promised, so that no sweep cuts it short


def claim_for(
    caller: Caller, operation: str, domain_id: str, key: str | None, body: Mapping[str, Any], now: datetime
) -> Claim | None:
    """What a keyed call claims; None for a call without a key. Raises InvalidArgument.

    The body is what the call means: the caller's own domain may be named or not.
    """
    if key is None:
        return None
    is_own = body["domain_id"] == caller.domain_id
    meant = {**body, "domain_id": None} if is_own else body
    return Claim(
        domain_id=domain_id,
        caller=caller.user_id,
        operation=operation,
        key=checks.text(key, "idempotencyKey"),
        body_hash=hashlib.sha256(orjson.dumps(meant, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        created_at=now,
    )


async def sweep(server: Server) -> None:
    """Forget keys that are past their time."""
    before = server.clock() - KEPT
    await server.database.write(lambda session: idempotency.sweep(session, before=before))
