"""Signatures by which receivers of webhooks know the sender, as the Standard Webhooks specification has them. Pure.

A signing secret is a symmetric key (`whsec_...`, HMAC-SHA256, `v1`) or an ed25519 private key (`whsk_...`, `v1a`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SEED_BYTES = 32  # of an ed25519 private key; in the long form the public key follows

_FOUR = "[A-Za-z0-9+/]{4}"
_END = "[A-Za-z0-9+/]{2}(==|[A-Za-z0-9+/]=)"  # one byte or two
_SYMMETRIC = f"whsec_(({_FOUR}){{8,20}}({_FOUR}|{_END})?|({_FOUR}){{21}}[A-Za-z0-9+/]{{2}}==)"  # 24 to 64 bytes
_PRIVATE = f"whsk_(({_FOUR}){{10}}[A-Za-z0-9+/]{{3}}=|({_FOUR}){{21}}[A-Za-z0-9+/]{{2}}==)"  # 32 bytes, or 64

# Of a signing secret: what JSON Schema asks of the whole text. To some engines $ also matches before a final line feed.
PATTERN = f"^({_SYMMETRIC}|{_PRIVATE})$"
MAX_LENGTH = len("whsec_") + 88


def header(secrets: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature for each secret, all of which must match PATTERN."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(_signature(secret, signed) for secret in secrets)


def _signature(secret: str, signed: bytes) -> str:
    kind, _, encoded = secret.partition("_")
    key = base64.b64decode(encoded)
    if kind == "whsk":
        return _said("v1a", Ed25519PrivateKey.from_private_bytes(key[:SEED_BYTES]).sign(signed))
    return _said("v1", hmac.digest(key, signed, hashlib.sha256))


def _said(version: str, signature: bytes) -> str:
    return f"{version},{base64.b64encode(signature).decode()}"
