"""Relay's global ids: one spelling for the id of anything that `node` can find."""

from __future__ import annotations

import base64

import strawberry


@strawberry.interface(description="Anything with an id that is unique across types.")
class Node:
    id: strawberry.ID = strawberry.field(description="The Relay global id, for node(id:).")


def global_id(type_name: str, raw_id: str) -> strawberry.ID:
    return strawberry.ID(base64.b64encode(f"{type_name}:{raw_id}".encode()).decode())


def parse_global_id(global_id: str) -> tuple[str, str]:
    """The type's name and the raw id; ("", "") when this is not a global id."""
    try:
        type_name, _, raw_id = base64.b64decode(global_id, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return type_name, raw_id
