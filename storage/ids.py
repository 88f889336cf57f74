"""Ids as the original spelled them: a prefix and twelve hex digits. A draw that is taken is drawn again on insert."""

from __future__ import annotations

import hashlib
import secrets

NOTIFICATION = "notification"
PROTOCOL = "protocol"
PROJECT_CHANNEL = "project-ch"
USER_CHANNEL = "user-ch"
DELIVERY = "delivery"
QUOTA = "quota"


def new(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(6)}"


def internal_protocol(domain_id: str) -> str:
    """The id of a domain's INTERNAL protocol: derived, so that every domain has one before its first write."""
    return f"{PROTOCOL}-{hashlib.sha256(f'internal:{domain_id}'.encode()).hexdigest()[:12]}"


def new_generation() -> int:
    """A number that an inbox's cursors carry, so that those from before a restore are recognised."""
    return secrets.randbits(47)
