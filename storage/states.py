"""Where a delivery may go from where it stands: the only list of moves, and what callers may set moving by it.

`docs/deliveries.md` draws it; a test compares the two, and another one that nothing else happens in the database.
"""

from __future__ import annotations

from collections.abc import Mapping

from storage.models import DeliveryState

PENDING, SENDING, RETRYING = DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.RETRYING
DELIVERED, DEAD, SKIPPED = DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.SKIPPED

BEGINNINGS = frozenset({PENDING, SKIPPED})

MOVES: Mapping[DeliveryState, frozenset[DeliveryState]] = {
    PENDING: frozenset({SENDING, SKIPPED}),
    SENDING: frozenset({DELIVERED, RETRYING, DEAD, SKIPPED, PENDING}),
    RETRYING: frozenset({SENDING, SKIPPED, PENDING}),
    DEAD: frozenset({PENDING}),
    SKIPPED: frozenset({PENDING}),
    DELIVERED: frozenset(),
}

REPLAYABLE = frozenset({DEAD, SKIPPED})  # ended without having been delivered
REVIVABLE = REPLAYABLE | {RETRYING}
WAITING = frozenset({PENDING, RETRYING})
