"""The signals between processes, by the URL that names one. Only that one is loaded: its client is large.

It must not know what is sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Protocol

SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss"}  # and what the client calls it


class NotSent(Exception):
    """The message reaches no other process."""


class Signal(Protocol):
    """A backend of broadcaster that says how it is."""

    @property
    def health(self) -> str:
        """What is wrong, or `ok`."""


def named(url: str, *, on_gap: Callable[[int], Awaitable[None]]) -> Signal:
    """`on_gap` is awaited when messages were lost, with how many of them were sent here. Raises ValueError."""
    signal: Signal = import_module("dispatch.redis_signal").RedisSignal(url, on_gap=on_gap)
    return signal
