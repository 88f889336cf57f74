"""Who is asking, and what their role may do. The table of operations and roles is in the README; a test reads it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import jwt

from resolvers import checks
from resolvers.errors import InvalidArgument, PermissionDenied, Unauthenticated
from storage.scope import Scope

ALGORITHM = "HS256"
ISSUER = "tocsin"


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


def issue(key: bytes, caller: Caller) -> str:
    """A bearer token that `authenticate` reads back as `caller`."""
    claims = {
        "iss": ISSUER,
        "dom": caller.domain_id,
        "sub": caller.user_id,
        "role": caller.role.value,
        "exp": int(caller.expires_at.timestamp()),
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM)


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
            options={"require": ["dom", "sub", "role", "exp"], "verify_exp": False, "verify_aud": False},
        )
        caller = Caller(
            domain_id=_identifier(claims["dom"]),
            user_id=_identifier(claims["sub"]),
            role=Role(claims["role"]),
            expires_at=datetime.fromtimestamp(int(claims["exp"]), UTC),
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
