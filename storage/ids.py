"""Ids as the original spelled them: a prefix and twelve hex digits. A draw that is taken is drawn again on insert.

The digits begin with the time, so that what is written together lies together in every index that leads with an id.
That is all it is for: the time comes round again, other servers draw in between, and nothing may rely on the order.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable

NOTIFICATION = "notification"
PROTOCOL = "protocol"
PROJECT_CHANNEL = "project-ch"
USER_CHANNEL = "user-ch"
DELIVERY = "delivery"
QUOTA = "quota"

DIGITS = 12
BITS = 4 * DIGITS
TICK_BITS = 20  # of nanoseconds, left out: a tick is about a millisecond
DRAWN_BITS = 16  # behind the ticks, which have the others and come round every 52 days


class Numbers:
    """Numbers of BITS bits: the first of a tick is drawn, and the others follow it.

    Each is above all before it, until they come round; the clock may stand or go back. `clock` tells nanoseconds, and
    `draw` makes a number of so many bits.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns, draw: Callable[[int], int] = secrets.randbits) -> None:
        self._clock = clock
        self._draw = draw
        self._last = 0

    def next(self) -> int:
        tick = self._clock() >> TICK_BITS << DRAWN_BITS
        self._last = self._last + 1 if tick <= self._last else tick + self._draw(DRAWN_BITS)
        return self._last & (1 << BITS) - 1


_numbers = Numbers()


def new(prefix: str) -> str:
    return f"{prefix}-{_numbers.next():0{DIGITS}x}"


def internal_protocol(domain_id: str) -> str:
    """The id of a domain's INTERNAL protocol: derived, so that every domain has one before its first write."""
    return f"{PROTOCOL}-{hashlib.sha256(f'internal:{domain_id}'.encode()).hexdigest()[:DIGITS]}"


def new_generation() -> int:
    """A number that an inbox's cursors carry, so that those from before a restore are recognised."""
    return secrets.randbits(47)
