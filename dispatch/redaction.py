"""Secrets out of texts that are kept: a far side may send back what it was sent. Pure."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote

from storage.secrets import MASK

SHORTEST = 4  # characters: what is shorter would blank out ordinary words
SHORTEST_PART = 8  # of a part of a secret, such as the token in "Bearer <token>" or in a URL
USERINFO = re.compile(r"://([^/?#@:]*):([^/?#@]*)@")


class Redactor:
    """Knows some secrets by all the forms that they take."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def redact(self, text: str) -> str:
        """The text with every secret in it, and every longer part of one, replaced by the mask."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)


def strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, and its numbers as text; names are no secrets."""
    if isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield str(value)


def _forms(secret: str) -> Iterator[str]:
    for spelled in (secret, *_parts(secret)):
        yield from (spelled, json.dumps(spelled)[1:-1], quote(spelled, safe=""), unquote(spelled))


def _parts(secret: str) -> Iterator[str]:
    yield from (part for part in re.split(r"[\s/?&=#;,:@]+", secret) if len(part) >= SHORTEST_PART)
    for user, password in USERINFO.findall(secret):
        yield password
        yield base64.b64encode(unquote(f"{user}:{password}").encode()).decode()  # as HTTP sends them
