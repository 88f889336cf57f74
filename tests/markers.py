"""Secrets that a test plants, and finds again in whatever form something has kept or said them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator


class Markers:
    def __init__(self) -> None:
        self._planted: dict[str, str] = {}

    def plant(self, place: str) -> str:
        """A new secret, with characters around its heart that most ways of writing change."""
        return f"pa\"ss'{self.plain(place)}/+&%x"

    def plain(self, place: str) -> str:
        """One that may stand anywhere."""
        return self.known(place, secrets.token_hex(12))

    def known(self, place: str, secret: str) -> str:
        """One that is there already."""
        assert place not in self._planted
        self._planted[place] = secret
        return secret

    def found_in(self, content: bytes | str) -> set[str]:
        """The places whose secrets are in there, as they are or in hexadecimals, Base64, URLs, JSON or HTML."""
        given = content.encode() if isinstance(content, str) else content
        lower = given.lower()
        return {
            place
            for place, secret in self._planted.items()
            if any(form.lower() in lower for form in (secret.encode(), secret.encode().hex().encode()))
            or any(form in given for form in _within_base64(secret.encode()))
        }


def _within_base64(secret: bytes) -> Iterator[bytes]:
    for offset, first in enumerate((0, 2, 3)):
        shifted = bytes(offset) + secret
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(shifted)[first : len(shifted) * 8 // 6]
