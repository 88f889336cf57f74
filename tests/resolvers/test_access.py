"""Bearer tokens: read back as they were issued, and nothing else is taken."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from resolvers import access
from resolvers.access import Caller, Role
from resolvers.errors import PermissionDenied, Unauthenticated
from storage.scope import Scope

KEY = b"k" * 44
NOW = datetime(2026, 1, 31, 17, 12, tzinfo=UTC)
CALLER = Caller("d1", "alice", Role.USER, NOW + timedelta(hours=1))


def _bearer(**changes: object) -> str:
    claims = {"dom": "d1", "sub": "alice", "role": "USER", "exp": int(CALLER.expires_at.timestamp()), **changes}
    return "Bearer " + jwt.encode({name: claim for name, claim in claims.items() if claim is not None}, KEY)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "  BEARER "])
def test_a_token_is_read_back_as_it_was_issued(scheme: str) -> None:
    assert access.authenticate(f"{scheme} {access.issue(KEY, CALLER)}", KEY, NOW) == CALLER


def test_when_a_token_was_issued_is_read_back_to_the_millisecond_and_may_be_left_out() -> None:
    issued_at = NOW.replace(microsecond=123_000)
    caller = replace(CALLER, issued_at=issued_at)

    assert access.authenticate(f"Bearer {access.issue(KEY, caller)}", KEY, NOW) == caller
    assert access.authenticate(_bearer(iat=issued_at.timestamp() + 0.0009), KEY, NOW) == caller
    assert access.authenticate(_bearer(iat=int(NOW.timestamp())), KEY, NOW).issued_at == NOW
    assert access.authenticate(_bearer(), KEY, NOW).issued_at is None


def _unsigned() -> str:
    parts = [{"alg": "none"}, {"dom": "d1", "sub": "alice", "role": "SYSTEM", "exp": 9_999_999_999}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearer nonsense",
        "Bearer \x00\ud800",
        "Bearer " + _unsigned(),
        "Bearer " + access.issue(b"another key" * 4, CALLER),
        "Bearer " + jwt.encode({"dom": "d1", "sub": "a", "role": "USER", "exp": 9_999_999_999}, KEY * 2, "HS512"),
        _bearer(dom=None),
        _bearer(sub=None),
        _bearer(role=None),
        _bearer(exp=None),
        _bearer(dom=""),
        _bearer(dom="d" * 129),
        _bearer(sub="a\0b"),
        _bearer(sub="\ud800"),
        _bearer(role="ROOT"),
        _bearer(exp=10**30),
        _bearer(iat="now"),
        _bearer(iat=10**30),
        _bearer(iat=[]),
    ],
)
def test_what_is_not_a_valid_token_is_refused(authorization: str | None) -> None:
    with pytest.raises(Unauthenticated):
        access.authenticate(authorization, KEY, NOW)


def test_a_token_ends_when_it_says() -> None:
    authorization = f"Bearer {access.issue(KEY, CALLER)}"

    assert access.authenticate(authorization, KEY, CALLER.expires_at - timedelta(milliseconds=1)) == CALLER
    with pytest.raises(Unauthenticated, match="expired"):
        access.authenticate(authorization, KEY, CALLER.expires_at)


class TestTokens:
    """Verified once, and judged each time."""

    def test_a_token_that_was_verified_is_not_verified_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tokens, authorization = access.Tokens(KEY), f"Bearer {access.issue(KEY, CALLER)}"
        first = tokens.caller(authorization, NOW)
        monkeypatch.setattr(jwt, "decode", None)

        assert first == CALLER
        assert tokens.caller(authorization, NOW) is first

    def test_it_ends_when_it_says_though_it_is_kept(self) -> None:
        tokens, authorization = access.Tokens(KEY), f"Bearer {access.issue(KEY, CALLER)}"
        tokens.caller(authorization, CALLER.expires_at - timedelta(microseconds=1))

        for now in (CALLER.expires_at, CALLER.expires_at + timedelta(days=1)):
            with pytest.raises(Unauthenticated, match="expired"):
                tokens.caller(authorization, now)

    def test_what_another_server_verified_is_not_valid_here(self) -> None:
        ours, theirs = access.Tokens(KEY), access.Tokens(b"another key" * 4)
        authorization = f"Bearer {access.issue(KEY, CALLER)}"
        ours.caller(authorization, NOW)

        with pytest.raises(Unauthenticated):
            theirs.caller(authorization, NOW)

    @pytest.mark.parametrize("change", [str.upper, lambda token: token[:-2], lambda token: token + "x"])
    def test_a_token_that_is_almost_one_that_is_kept_is_not_valid(self, change: Callable[[str], str]) -> None:
        tokens, token = access.Tokens(KEY), access.issue(KEY, CALLER)
        tokens.caller(f"Bearer {token}", NOW)

        for _ in range(2):  # the second time, too
            with pytest.raises(Unauthenticated):
                tokens.caller(f"Bearer {change(token)}", NOW)
        assert tokens.caller(f"Bearer {token}", NOW) == CALLER

    def test_those_used_last_are_kept_and_no_more_than_so_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(access, "MAX_KEPT", 2)
        tokens = access.Tokens(KEY)
        first, second, third = (
            f"Bearer {access.issue(KEY, replace(CALLER, user_id=name))}" for name in ("a", "b", "c")
        )
        for authorization in (first, second, first, third):
            tokens.caller(authorization, NOW)
        monkeypatch.setattr(jwt, "decode", None)  # with which nobody is verified

        assert [tokens.caller(kept, NOW).user_id for kept in (first, third)] == ["a", "c"]
        with pytest.raises(Unauthenticated):
            tokens.caller(second, NOW)

    def test_a_long_one_is_verified_each_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tokens = access.Tokens(KEY)
        authorization = f"Bearer {access.issue(KEY, CALLER)}".ljust(access.MAX_KEPT_CHARACTERS + 1)
        assert tokens.caller(authorization, NOW) == CALLER
        monkeypatch.setattr(jwt, "decode", None)

        with pytest.raises(Unauthenticated):
            tokens.caller(authorization, NOW)


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (Role.USER, Scope("d1", user_id="alice")),
        (Role.SERVICE, Scope("d1", created_by="alice")),
        (Role.DOMAIN_ADMIN, Scope("d1")),
        (Role.SYSTEM, Scope("d1")),
    ],
)
def test_a_role_sees_its_own_rows(role: Role, expected: Scope) -> None:
    assert access.scope(Caller("d1", "alice", role, CALLER.expires_at)) == expected


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.SYSTEM])
def test_another_domain_is_out_of_reach(role: Role) -> None:
    caller = Caller("d1", "alice", role, CALLER.expires_at)

    with pytest.raises(PermissionDenied):
        access.domain_of(caller, "d2")
    assert access.domain_of(caller, "d1") == access.domain_of(caller, None) == "d1"


def test_system_reaches_the_domain_that_it_names() -> None:
    assert access.domain_of(Caller("d1", "root", Role.SYSTEM, CALLER.expires_at), "d2") == "d2"
