"""The texts that an index of contents holds, and what of them is looked up there. It knows no database.

An index narrows: whatever contains a text has all of the text's trigrams. So all that is kept here is folded, and put
together without regard to which field it comes from; what is found is checked by the fields themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from storage.queries import folding

TRIGRAM = 3  # characters
BEGINNING = TRIGRAM + 1  # of what is searched: the mark, and a line break
FIELDS = ("title", "description")  # of a message
MAX_MARKS = 1_024  # kept, of domains
PRIVATE_USE = range(0xF0000, 0xFFFFE)  # characters that stand for nothing


def searched(domain_id: str, topic: str, message: Mapping[str, Any]) -> str:
    """All of a content that is searched in, behind its domain's mark."""
    texts = [text for name in FIELDS for text in _texts(message.get(name))]
    return "\n".join([mark(domain_id), folding.fold(topic), *map(folding.fold, texts)])


@lru_cache(MAX_MARKS)
def mark(domain_id: str) -> str:
    """A trigram that contents of this domain have, and those of few others."""
    digest = hashlib.sha256(domain_id.encode()).digest()
    numbers = (int.from_bytes(digest[at : at + 2]) for at in range(0, 2 * TRIGRAM, 2))
    return "".join(chr(PRIVATE_USE[number % len(PRIVATE_USE)]) for number in numbers)


def trigrams(sought: str) -> list[str]:
    """Trigrams that together cover a text; none of one that is too short."""
    folded = folding.fold(sought)
    starts = {*range(0, len(folded) - TRIGRAM + 1, TRIGRAM), len(folded) - TRIGRAM}
    return [folded[start : start + TRIGRAM] for start in sorted(starts) if start >= 0]


def every_trigram(text: str) -> Iterator[str]:
    """Each as often as it is there."""
    return (text[start : start + TRIGRAM] for start in range(len(text) - TRIGRAM + 1))


def _texts(value: Any) -> Iterator[str]:
    """A list stands for its elements."""
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, str):
            yield each
