"""The sockets of this process: how many there may be, in all and of one user, and which have to end.

It knows no protocol: what is said over a socket, and how it is closed, is `schema.websocket`'s business.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from resolvers.access import User


class CloseCode(IntEnum):
    """Why a socket ends. docs/streams.md says what a client does then; a test compares."""

    INVALID_TEXT = 1007  # a text message that is not UTF-8
    TOO_LARGE = 1009  # a message
    RESTARTING = 1012  # the server stops
    TRY_AGAIN_LATER = 1013  # too slow, no answer to a ping, or no room
    BAD_MESSAGE = 4400  # none of the protocol's
    NOT_INITIALISED = 4401  # an operation before connection_ack
    FORBIDDEN = 4403  # no valid token, or no longer
    BAD_SUBPROTOCOL = 4406
    INITIALISED_TOO_LATE = 4408
    ID_IN_USE = 4409
    INITIALISED_TWICE = 4429


@dataclass(frozen=True)
class Limits:
    """Of one process. A subscription is any operation that runs over a socket."""

    sockets: int = 10_000
    sockets_per_user: int = 5_000  # a gateway or a wall of screens with one account has many; one account never has all
    subscriptions: int = 50_000
    subscriptions_per_user: int = 10_000


class NoRoom(Exception):
    """One more would be too many. Its text is for the client."""


class Socket(Protocol):
    def close_if_refused(self) -> None:
        """Set the end of the socket going unless its token is still good."""


class Sockets:
    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._open = 0
        self._of: dict[User, set[Socket]] = defaultdict(set)
        self._running = 0
        self._running_of: Counter[User] = Counter()

    def enter(self) -> None:
        """Count a socket, whoever's it will be, until its exit. Raises NoRoom."""
        if self._open >= self.limits.sockets:
            raise NoRoom("The server has as many sockets as it takes: try again later.")
        self._open += 1

    def exit(self) -> None:
        self._open -= 1

    def join(self, user: User, socket: Socket) -> None:
        """Count a socket as this user's until it leaves. Raises NoRoom."""
        if len(self._of.get(user, ())) >= self.limits.sockets_per_user:
            raise NoRoom(f"A user has at most {self.limits.sockets_per_user} sockets.")
        self._of[user].add(socket)

    def leave(self, user: User, socket: Socket) -> None:
        self._of[user].discard(socket)
        if not self._of[user]:
            del self._of[user]

    def start(self, user: User) -> None:
        """Count a subscription of this user's until it is stopped. Raises NoRoom."""
        if self._running_of[user] >= self.limits.subscriptions_per_user:
            raise NoRoom(f"A user runs at most {self.limits.subscriptions_per_user} operations at a time.")
        if self._running >= self.limits.subscriptions:
            raise NoRoom("The server runs as many operations as it takes: try again later.")
        self._running += 1
        self._running_of[user] += 1

    def stop(self, user: User) -> None:
        self._running -= 1
        self._running_of[user] -= 1
        if not self._running_of[user]:
            del self._running_of[user]

    @contextmanager
    def streaming(self, user: User, stream: Socket) -> Iterator[None]:
        """Count an event stream, which is a connection of its own, as a socket with one operation. Raises NoRoom."""
        with ExitStack() as places:
            self.enter()
            places.callback(self.exit)
            self.join(user, stream)
            places.callback(self.leave, user, stream)
            self.start(user)
            places.callback(self.stop, user)
            yield

    def check(self, users: Collection[User]) -> None:
        """End the sockets of these users whose token is good no longer."""
        for user in users:
            for socket in self._of.get(user, ()):
                socket.close_if_refused()
