"""Who calls in the tests: one of each role, and some whose things are nobody else's."""

from __future__ import annotations

from datetime import UTC, datetime

from resolvers.access import Caller, Role

NEVER = datetime(9999, 1, 1, tzinfo=UTC)

ADMIN = Caller("home", "admin", Role.DOMAIN_ADMIN, NEVER)
ALICE = Caller("home", "alice", Role.USER, NEVER)
BOB = Caller("home", "bob", Role.USER, NEVER)
SERVICE = Caller("home", "backend", Role.SERVICE, NEVER)
SYSTEM = Caller("root", "operator", Role.SYSTEM, NEVER)
AWAY_ADMIN = Caller("away", "admin", Role.DOMAIN_ADMIN, NEVER)
