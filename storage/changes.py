"""The change log of inboxes, written by the transaction that made the change; `storage.lines` reads it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlmodel.ext.asyncio.session import AsyncSession

from storage.models import Change, ChangeKind, Inbox
from storage.statements import Batch, Insert


def append(session: AsyncSession, inbox: Inbox, kind: ChangeKind, *, now: datetime, **what: Any) -> None:
    """Log the inbox's latest change, whose counts its locked row already holds."""
    session.add(
        Change(
            inbox_id=inbox.inbox_id,
            seq=inbox.last_seq,
            kind=kind,
            unread_count=inbox.unread_count,
            unseen_count=inbox.unseen_count,
            changed_at=now,
            **what,
        )
    )


class Addition(NamedTuple):
    """The change that a new notification is, with the counts of its inbox after it."""

    inbox_id: int
    seq: int
    notification_id: str
    unread_count: int
    unseen_count: int
    changed_at: datetime
    kind: ChangeKind = ChangeKind.ADDED


_ADDITIONS = Insert(Change, Addition._fields, shared={"changed_at", "kind"})


def adding(additions: Sequence[Addition]) -> Batch:
    """Logs what was added, in inboxes whose locked rows already count it."""
    return Batch(_ADDITIONS, additions)
