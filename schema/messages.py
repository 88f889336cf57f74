"""What a client may say in graphql-transport-ws: whether a message is one of the protocol's, and what it asks for.

It must not know a socket, nor look into a document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schema.asked import Asked

MAX_ID_CHARACTERS = 256  # it is repeated in every event


def fault(message: object) -> str | None:
    """Why a message is none of the protocol's; it closes the socket with 4400."""
    if not isinstance(message, dict):
        return "A message must be a JSON object"
    match message.get("type"):
        case "connection_init" | "ping" | "pong":
            return None if _is_object(message.get("payload")) else "payload must be an object"
        case "subscribe":
            return _id_fault(message.get("id")) or _payload_fault(message.get("payload"))
        case "complete":
            return _id_fault(message.get("id"))
    return "type must be that of a client's message"


def authorization(payload: Mapping[str, object], header: str | None) -> str | None:
    """Of connection_init: the payload's, whatever its case; else that of the upgrade, which browsers cannot set."""
    for key, value in payload.items():
        if key.lower() == "authorization":
            return value if isinstance(value, str) else None
    return header


def asked(payload: Mapping[str, Any]) -> Asked:
    """Of subscribe."""
    names = ("query", "variables", "operationName", "extensions", "documentId")
    query, variables, operation_name, extensions, document_id = map(payload.get, names)
    return Asked(query, variables, operation_name or None, extensions, document_id or None)


def _id_fault(id: object) -> str | None:
    if not isinstance(id, str) or not 0 < len(id) <= MAX_ID_CHARACTERS:
        return f"id must be a string of 1 to {MAX_ID_CHARACTERS} characters"
    if any("\ud800" <= character <= "\udfff" for character in id):
        return "id must not have a lone surrogate: it could not be sent back"
    return None


def _payload_fault(payload: object) -> str | None:
    if not isinstance(payload, dict):
        return "payload must be an object"
    if not isinstance(payload.get("documentId"), str | None):
        return "payload.documentId must be a string or null"
    if not isinstance(payload.get("operationName"), str | None):
        return "payload.operationName must be a string or null"
    if not _is_object(payload.get("variables")) or not _is_object(payload.get("extensions")):
        return "payload.variables and payload.extensions must be objects or null"
    is_named = payload.get("documentId") or "persistedQuery" in (payload.get("extensions") or ())
    if not isinstance(payload.get("query"), str | None if is_named else str):
        return "payload.query must be a string"
    return None


def _is_object(value: object) -> bool:
    return value is None or isinstance(value, dict)
