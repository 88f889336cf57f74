"""Who is asking, and what their role may do. The table of operations and roles is in the README; a test reads it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import jwt

from resolvers import checks
from resolvers.errors import InvalidArgument, PermissionDenied, Unauthenticated
from storage.models import Revocation
from storage.scope import Scope

ALGORITHM = "HS256"
ISSUER = "tocsin"
MAX_KEPT = 10_000  # verified tokens: as many as sockets, and a few megabytes
MAX_KEPT_CHARACTERS = 1_024  # of one with its scheme; ours have 250 and the lengths of two ids

User = tuple[str, str]  # a domain, and a user or a service in it


class Role(StrEnum):
    USER = "USER"
    SERVICE = "SERVICE"
    DOMAIN_ADMIN = "DOMAIN_ADMIN"
    SYSTEM = "SYSTEM"


ADMINS = frozenset({Role.DOMAIN_ADMIN, Role.SYSTEM})
SENDERS = ADMINS | {Role.SERVICE}
PEOPLE = ADMINS | {Role.USER}  # those who have an inbox


@dataclass(frozen=True, slots=True)
class Caller:
    domain_id: str
    user_id: str
    role: Role
    expires_at: datetime
    issued_at: datetime | None = None  # None: the token does not say, so it counts as older than any revocation

    @property
    def user(self) -> User:
        return self.domain_id, self.user_id


class Revocations:
    """What this process knows of revoked tokens, in memory: a request that asks costs no query."""

    def __init__(self) -> None:
        self._revoked_at: dict[User, datetime] = {}

    def learn(self, revocations: Iterable[Revocation]) -> None:
        for known in revocations:
            user = known.domain_id, known.user_id
            self._revoked_at[user] = max(known.revoked_at, self._revoked_at.get(user, known.revoked_at))

    def check(self, caller: Caller) -> None:
        """Raises Unauthenticated for a token that was issued before its user's tokens were revoked."""
        revoked_at = self._revoked_at.get(caller.user)
        if revoked_at is not None and (caller.issued_at is None or caller.issued_at <= revoked_at):
            raise Unauthenticated("The bearer token was revoked.")


def issue(key: bytes, caller: Caller) -> str:
    """A bearer token that `authenticate` reads back as `caller`."""
    claims: dict[str, object] = {
        "iss": ISSUER,
        "dom": caller.domain_id,
        "sub": caller.user_id,
        "role": caller.role.value,
        "exp": int(caller.expires_at.timestamp()),
    }
    if caller.issued_at is not None:
        claims["iat"] = caller.issued_at.timestamp()  # with its fraction: a second may hold a revocation
    return jwt.encode(claims, key, algorithm=ALGORITHM)


class Tokens:
    """Whom `Authorization` values name: each is verified once, and judged by the clock each time.

    What is not valid is not kept: it would take the room of what is.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._kept: OrderedDict[str, Caller] = OrderedDict()  # those used last at the end

    def caller(self, authorization: str | None, now: datetime) -> Caller:
        """Raises Unauthenticated."""
        known = self._kept.get(authorization or "")
        if known is None or known.expires_at <= now:
            return self._verified(authorization or "", now)
        self._kept.move_to_end(authorization or "")
        return known

    def _verified(self, authorization: str, now: datetime) -> Caller:
        self._kept.pop(authorization, None)
        caller = authenticate(authorization, self._key, now)
        if len(authorization) <= MAX_KEPT_CHARACTERS:
            self._kept[authorization] = caller
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return caller


def authenticate(authorization: str | None, key: bytes, now: datetime) -> Caller:
    """The caller whom an `Authorization` value names. Raises Unauthenticated."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("Send a bearer token: Authorization: Bearer <token>.")
    try:
        claims = jwt.decode(
            token.strip(),
            key,
            algorithms=[ALGORITHM],
            # The clock is ours, not the library's: expiry is judged below.
            options={
                "require": ["dom", "sub", "role", "exp"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_aud": False,
            },
        )
        caller = Caller(
            domain_id=_identifier(claims["dom"]),
            user_id=_identifier(claims["sub"]),
            role=Role(claims["role"]),
            expires_at=datetime.fromtimestamp(int(claims["exp"]), UTC),
            issued_at=_instant(claims.get("iat")),
        )
    except (jwt.InvalidTokenError, InvalidArgument, ValueError, TypeError, OverflowError) as error:
        raise Unauthenticated("The bearer token is not valid.") from error
    if caller.expires_at <= now:
        raise Unauthenticated("The bearer token has expired.")
    return caller


def _identifier(claim: object) -> str:
    if not isinstance(claim, str):
        raise ValueError("not an identifier")
    return checks.identifier(claim, "token")


def _instant(claim: object) -> datetime | None:
    """To the millisecond, rounded down: as a revocation is kept."""
    if claim is None:
        return None
    if not isinstance(claim, int | float):
        raise ValueError("not an instant")
    instant = datetime.fromtimestamp(claim, UTC)
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def lifetime(now: datetime, ttl: timedelta) -> datetime:
    """When a token that is issued now ends."""
    return (now + ttl).replace(microsecond=0)


def require(caller: Caller, roles: frozenset[Role]) -> None:
    """Raises PermissionDenied unless the caller's role is one of these."""
    if caller.role not in roles:
        raise PermissionDenied(f"The role {caller.role.value} may not do this.")


def domain_of(caller: Caller, domain_id: str | None, *, field: str = "domainId") -> str:
    """The domain that a call is about: the caller's, or, for SYSTEM, the one it names.

    Raises PermissionDenied, InvalidArgument.
    """
    if domain_id is None or domain_id == caller.domain_id:
        return caller.domain_id
    if caller.role is not Role.SYSTEM:
        raise PermissionDenied("Another domain is out of reach.", field=field)
    return checks.identifier(domain_id, field)


def scope(caller: Caller, domain_id: str | None = None) -> Scope:
    """Which rows the caller sees: a user's own, a service's own records, or the domain's, which a filter may name.

    Raises PermissionDenied, InvalidArgument.
    """
    domain = domain_of(caller, domain_id, field="filter.domainId")
    if caller.role is Role.USER:
        return Scope(domain, user_id=caller.user_id)
    if caller.role is Role.SERVICE:
        return Scope(domain, created_by=caller.user_id)
    return Scope(domain)


def scope_of_id(caller: Caller) -> Scope:
    """The same for a row that is named by its id, which SYSTEM may do in any domain."""
    return Scope(None) if caller.role is Role.SYSTEM else scope(caller)
