"""Secrets out of texts that are kept: a far side may send back what it was sent. Pure."""

from __future__ import annotations

import base64
import heapq
import html
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from storage.secrets import MASK

SHORTEST = 4  # characters: what is shorter would blank out ordinary words
SHORTEST_PART = 8  # of a part of a secret, such as the token in "Bearer <token>" or in a URL
MOST_PARTS = 32  # of one secret, the longest: what has more is no token with something around it
DOTTED = str.maketrans({"\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}": "i", "\N{LATIN SMALL LETTER DOTLESS I}": "i"})
USERINFO = re.compile(r"://([^/?#@:]*):([^/?#@]*)@")
BASIC = re.compile(r"Basic\s+([\w+/-]+=*)", re.IGNORECASE)


class Redactor:
    """Knows some secrets by all the forms that they take."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST}
        self._forms = sorted(forms, key=len, reverse=True)  # the longest first: shorter ones may be parts of them
        self._folded = [(_folded(form), form) for form in self._forms]

    def redact(self, text: str, *, is_cut: bool = False) -> str:
        """The text with every secret in it, and every longer part of one, replaced by the mask.

        A text that was cut off may end in the beginning of a secret, which goes too.
        """
        if found := [re.escape(form) for form in self._found(_folded(text))]:
            text = re.sub("|".join(found), MASK, text, flags=re.IGNORECASE)
        return self._without_beginning(text) if is_cut else text

    def _found(self, text: str) -> Iterator[str]:
        """The forms in a folded text. As one pattern, thousands would all be tried at each of its characters."""
        beginnings = {text[place : place + SHORTEST] for place in range(len(text))}
        yield from (form for fold, form in self._folded if fold[:SHORTEST] in beginnings and fold in text)

    def _without_beginning(self, text: str) -> str:
        complete = text.rstrip("\N{REPLACEMENT CHARACTER}")  # half a character
        begun = max((_overlap(complete, form) for form in self._forms), default=0)
        return complete[:-begun] + MASK if begun else text


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


def _folded(text: str) -> str:
    """The same for all that differs in case alone, as a pattern sees it, and for some more."""
    return text.translate(DOTTED).casefold()


def _overlap(text: str, form: str) -> int:
    """How many characters at the text's end are the form's beginning: SHORTEST at least, or 0."""
    place = text.find(form[:SHORTEST], max(0, len(text) - len(form)))
    while place >= 0:
        if form.startswith(text[place:]):
            return len(text) - place
        place = text.find(form[:SHORTEST], place + 1)
    return 0


def _forms(secret: str) -> Iterator[str]:
    for spelled in (spelled for spelled in (secret, *_parts(secret)) if len(spelled) >= SHORTEST):
        yield from (spelled, unquote(spelled), quote(spelled), quote(spelled, safe=""), quote_plus(spelled))
        in_json = json.dumps(spelled)[1:-1], json.dumps(spelled, ensure_ascii=False)[1:-1]
        yield from (*in_json, html.escape(spelled), *_in_python(spelled))
        for text in (spelled, *in_json):
            yield from _within_base64(text.encode(errors="replace"))


def _in_python(text: str) -> Iterator[str]:
    """As far sides that are written in Python show values, beside either quote or both."""
    yield from (show(beside)[2:-1] for show in (repr, ascii) for beside in (f"_{text}", f'"{text}'))


def _parts(secret: str) -> Iterator[str]:
    parts = {part for part in re.split(r"[\s/?&=#;,:@]+", secret) if len(part) >= SHORTEST_PART}
    yield from heapq.nlargest(MOST_PARTS, parts, key=len)
    for user, password in USERINFO.findall(secret):
        yield password
        yield unquote(f"{user}:{password}")  # as HTTP sends them, in Base64
    for credentials in BASIC.findall(secret):
        with suppress(ValueError):
            yield from base64.b64decode(credentials).decode().partition(":")


def _within_base64(secret: bytes) -> Iterator[str]:
    """What of the Base64 of a longer text tells of the secret in it, wherever in the text it begins."""
    for offset, first in enumerate((0, 2, 3)):
        shifted = bytes(offset) + secret
        known = slice(first, len(shifted) * 8 // 6)  # what surrounds the secret decides about the characters around
        yield from (encode(shifted).decode()[known] for encode in (base64.b64encode, base64.urlsafe_b64encode))
