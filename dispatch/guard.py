"""Holds code that is not ours, and opens sockets by itself, to the addresses that this server may connect to.

Python tells its audit hooks of every connection just before the system makes it, with the address in its final form.
So what is judged is what is connected to, whichever library does it. Names are refused there: who connects to one
resolves it first. It holds the thread that the code runs in, and none that the code starts.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from ipaddress import ip_address
from typing import Any, TypeVar

from dispatch.addresses import Address

T = TypeVar("T")

KEPT_CONNECTIONS = 8  # of one call, which has one at a time as a rule
CONNECTING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


class Guard:
    """What one call may connect to, and the means to end it from outside."""

    def __init__(self, permits: Callable[[Address], bool]) -> None:
        self._permits = permits
        self._lock = threading.Lock()
        self._open: deque[socket.socket] = deque()  # the call's own connections once more
        self._ended = False
        self._refused = self._permitted = False

    @property
    def has_blocked(self) -> bool:
        """Whether the call wanted to connect, and to nothing that it may connect to."""
        return self._refused and not self._permitted

    def run(self, work: Callable[[], T]) -> T:
        """Do blocking work in this thread. Refused connections fail as those that the system refuses."""
        _watch()
        before = _guard.set(self)
        try:
            return work()
        finally:
            _guard.reset(before)
            self._release()

    def end(self) -> None:
        """Break the call's connections, so that its thread comes back, and let it make no others."""
        with self._lock:
            self._ended = True
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def judge(self, connecting: socket.socket, address: Any) -> None:
        """Raises OSError where it is not to be connected to."""
        with self._lock:
            if self._ended:
                raise ConnectionAbortedError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))
            if not self._is_permitted(address):
                self._refused = True
                raise PermissionError(errno.EACCES, "The address is not allowed.")
            self._permitted = True
            self._open.append(socket.socket(fileno=os.dup(connecting.fileno())))
            if len(self._open) > KEPT_CONNECTIONS:
                self._open.popleft().close()

    def _is_permitted(self, address: Any) -> bool:
        try:
            return self._permits(ip_address(address[0]))
        except (ValueError, TypeError, IndexError):  # a name, or a socket in the file system
            return False

    def _release(self) -> None:
        with self._lock:
            while self._open:
                self._open.pop().close()


_guard: ContextVar[Guard | None] = ContextVar("guard", default=None)


@functools.cache
def _watch() -> None:
    """From now on this process's connections are judged where a guard stands. A hook cannot be taken away again."""
    sys.addaudithook(_on_event)


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event in CONNECTING:
        guard = _guard.get()
        if guard is not None and arguments[1] is not None:  # None: to whom it is connected already
            guard.judge(*arguments)
