"""Whose rows a query may see. Every storage function that reads or changes rows by a caller's wish takes one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """What is None does not narrow."""

    domain_id: str | None
    user_id: str | None = None  # only this user's rows
    created_by: str | None = None  # only what this caller created, and no user's rows
