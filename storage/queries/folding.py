"""What letters are the same but for case, for both engines and whatever their locale: Unicode's simple case folding.

One character folds to one character, by the tables of the Python that runs this: K and k and the Kelvin sign are the
same, ß and ss are not. Databases are never asked: SQLite by itself folds ASCII only, and PostgreSQL as it was set up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

LETTERS_END = 0x20000  # what comes behind has no case, and would take most of the time of starting


def _fold_character(character: str) -> str:
    return next((folded for folded in (character.casefold(), character.lower()) if len(folded) == 1), character)


_FOLDS = {
    ord(character): folded
    for character in map(chr, range(LETTERS_END))
    if character.casefold() != character and (folded := _fold_character(character)) != character
}


def _families() -> dict[str, str]:
    families: dict[str, list[str]] = defaultdict(list)
    for code, folded in _FOLDS.items():
        families[folded].append(chr(code))
    return {folded: "".join(sorted([folded, *others])) for folded, others in families.items()}


_FAMILIES = _families()  # by what they fold to
CASED: Sequence[str] = sorted({character for family in _FAMILIES.values() for character in family})


def fold(text: str) -> str:
    """The text without its case: two texts that fold alike are the same but for case."""
    return text.lower() if text.isascii() else text.translate(_FOLDS)


def variants(character: str) -> str:
    """All characters that fold as this one does, itself among them."""
    return _FAMILIES.get(fold(character), character)
