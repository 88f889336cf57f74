r"""Regular expressions of callers: the subset that means the same to RE2 (SQLite) and to PostgreSQL, without case.

A pattern is read here and spelled anew for both: every letter as the class of its case variants, every class and `\d`
by its characters, so that neither engine's idea of case, of words or of locales is asked.
`docs/queries.md` lists what is in the subset.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import re2

from storage.queries import folding

MAX_PATTERN_CHARACTERS = 255
MAX_REPEATS = 255  # of one part, the repetitions around it multiplied
MAX_PARTS = 1_000  # of a pattern, each as often as it is repeated: RE2 may take as many steps for each character
MAX_LIST_PARTS = 6_000  # of several patterns
MAX_GROUPS_NESTED = 16

_SETS = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t-\r "}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_BRACES = re.compile(r"\{([0-9]{1,4})(,?)([0-9]{0,4})\}")
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


class Unsupported(ValueError):
    """The pattern is wrong, or not of the subset. The message repeats nothing of it."""


@dataclass(frozen=True)
class Pattern:
    """The same pattern for each engine. Both are case-sensitive, and cover all cases themselves."""

    re2: str
    postgresql: str
    parts: int  # with their repetitions


class _Read(NamedTuple):
    """What has been read of a pattern, as it is spelled for each engine."""

    re2: str
    postgresql: str
    repeats: int = 1  # of the most repeated part
    parts: int = 1


_BOUNDARY = _Read("\\b", "\\y")  # of a word; RE2 finds `\B` within the bytes of a character


def read(pattern: str) -> Pattern:
    """Raises Unsupported."""
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise Unsupported(f"A pattern has {MAX_PATTERN_CHARACTERS} characters at most.")
    reader = _Reader(pattern)
    whole = reader.whole()
    if whole.parts > MAX_PARTS:
        raise Unsupported(f"A pattern has {MAX_PARTS} parts at most, each counted as often as it is repeated.")
    spelled = Pattern(whole.re2, whole.postgresql, whole.parts)
    _check_size(spelled)
    return spelled


def literal(text: str) -> str:
    """The pattern of this text itself, as both engines spell it."""
    return "".join(map(_character, text))


def either(given: Sequence[Pattern]) -> Pattern:
    """What one of these matches. Raises Unsupported for what is too large together."""
    parts = sum(each.parts for each in given)
    if parts > MAX_LIST_PARTS:
        raise Unsupported(f"Patterns have {MAX_LIST_PARTS} parts at most together, each as often as it is repeated.")
    either = Pattern("|".join(each.re2 for each in given), "|".join(each.postgresql for each in given), parts)
    _check_size(either)
    return either


def _check_size(pattern: Pattern) -> None:
    try:
        compiled(pattern.re2)
    except re2.error:
        raise Unsupported("This pattern is too large.") from None


@functools.lru_cache(maxsize=256)
def compiled(pattern: str) -> re2._Regexp:
    return re2.compile(pattern, options=_OPTIONS)


def found(text: str | None, pattern: str) -> bool:
    """Whether a pattern in RE2's spelling matches somewhere in the text."""
    return text is not None and compiled(pattern).search(text) is not None


@dataclass
class _Reader:
    """Reads a pattern from left to right."""

    pattern: str
    at: int = 0
    nested: int = 0

    def whole(self) -> _Read:
        read = self._alternatives()
        if self.at < len(self.pattern):
            raise Unsupported("A closing parenthesis has no opening one.")
        return read

    def _next(self, expected: str) -> bool:
        """Whether this comes next; then it has been read."""
        if not self.pattern.startswith(expected, self.at):
            return False
        self.at += len(expected)
        return True

    def _take(self) -> str:
        if self.at == len(self.pattern):
            raise Unsupported("The pattern ends too early.")
        self.at += 1
        return self.pattern[self.at - 1]

    def _alternatives(self) -> _Read:
        branches = [self._branch()]
        while self._next("|"):
            branches.append(self._branch())
        return _joined("|", branches)

    def _branch(self) -> _Read:
        parts = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            parts.append(self._repeated())
        return _joined("", parts)

    def _repeated(self) -> _Read:
        atom = self._atom()
        quantifier, times = self._quantifier()
        if quantifier and atom.postgresql in ("^", "$", "\\y"):
            raise Unsupported("There is nothing here that could be repeated.")
        if atom.repeats * times > MAX_REPEATS:
            raise Unsupported(f"A part can be repeated {MAX_REPEATS} times at most, all in all.")
        return _Read(atom.re2 + quantifier, atom.postgresql + quantifier, atom.repeats * times, atom.parts * times)

    def _quantifier(self) -> tuple[str, int]:
        """The quantifier that comes next, if one does, and how often it repeats, as far as it has a number."""
        quantifier, times = "", 1
        if braces := _BRACES.match(self.pattern, self.at):
            self.at = braces.end()
            quantifier, times = _counted(*braces.groups())
        elif self.at < len(self.pattern) and self.pattern[self.at] in "*+?":
            quantifier = self._take()
        if quantifier:
            self._next("?")  # fewest first finds the same texts
            if self.at < len(self.pattern) and (self.pattern[self.at] in "*+?" or _BRACES.match(self.pattern, self.at)):
                raise Unsupported("A repetition cannot be repeated: put it in parentheses.")
        return quantifier, times

    def _atom(self) -> _Read:
        match self._take():
            case "(":
                return self._group()
            case "\\":
                return self._escaped()
            case "*" | "+" | "?" | "{":
                raise Unsupported("There is nothing here that could be repeated; a backslash makes it a character.")
            case "[":
                spelled = self._class()
            case ".":
                spelled = r"[^\n]"
            case "^" | "$" as anchor:
                spelled = anchor
            case character:
                spelled = _character(character)
        return _Read(spelled, spelled)

    def _group(self) -> _Read:
        if not self._next("?:") and self._next("?"):
            raise Unsupported("Of groups that begin with ?, only (?:...) is understood.")
        self.nested += 1
        if self.nested > MAX_GROUPS_NESTED:
            raise Unsupported(f"Parentheses can be nested {MAX_GROUPS_NESTED} deep at most.")
        inner = self._alternatives()
        if not self._next(")"):
            raise Unsupported("An opening parenthesis has no closing one.")
        self.nested -= 1
        return inner._replace(re2=f"(?:{inner.re2})", postgresql=f"(?:{inner.postgresql})")

    def _escaped(self) -> _Read:
        letter = self._take()
        if letter == "b":
            return _BOUNDARY
        if letter.lower() in _SETS:
            spelled = f"[{'^' if letter.isupper() else ''}{_SETS[letter.lower()]}]"
        else:
            spelled = _character(_meant(letter))
        return _Read(spelled, spelled)

    def _class(self) -> str:
        negated, ranges, sets = self._next("^"), [], ""
        first = True
        while first or not self._next("]"):
            first = False
            letter = self._member()
            if len(letter) > 1:
                sets += letter
                continue
            last = letter
            if self.pattern.startswith("-", self.at) and not self.pattern.startswith("-]", self.at):
                self.at += 1
                last = self._member()
            if len(last) > 1 or last < letter:
                raise Unsupported("A range in brackets ends before it begins.")
            ranges.append((letter, last))
        return f"[{'^' if negated else ''}{sets}{''.join(_ranges(ranges))}]"

    def _member(self) -> str:
        r"""A character in brackets; of `\d` and the like, the spelling of its set, which is longer."""
        character = self._take()
        if character == "[" and self.pattern[self.at : self.at + 1] in (":", ".", "="):
            raise Unsupported("Classes by name are not understood.")
        if character != "\\":
            return character
        letter = self._take()
        if letter.lower() in _SETS and letter.isupper():
            raise Unsupported("In brackets, classes such as \\W are not understood.")
        return _SETS.get(letter) or _meant(letter)


def _joined(between: str, read: Sequence[_Read]) -> _Read:
    return _Read(
        between.join(each.re2 for each in read),
        between.join(each.postgresql for each in read),
        max((each.repeats for each in read), default=1),
        sum(each.parts for each in read) or 1,
    )


def _counted(least: str, comma: str, most: str) -> tuple[str, int]:
    bounds = [int(bound) for bound in (least, most) if bound]
    if bounds != sorted(bounds):
        raise Unsupported("A repetition's upper bound is below its lower one.")
    return f"{{{','.join(map(str, bounds))}{',' if comma and not most else ''}}}", max(1, *bounds)


def _meant(letter: str) -> str:
    """The character that a backslash and this letter stand for."""
    if letter in _CONTROLS:
        return _CONTROLS[letter]
    if letter.isascii() and letter.isalnum():
        raise Unsupported("An escape with this letter or digit is not understood.")
    return letter


def _character(character: str) -> str:
    family = folding.variants(character)
    return _escape(family) if len(family) == 1 else f"[{family}]"  # letters, which mean nothing else in brackets


def _ranges(ranges: Iterable[tuple[str, str]]) -> Iterable[str]:
    for first, last in ranges:
        yield _escape(first) if first == last else f"{_escape(first)}-{_escape(last)}"
        cased = [first] if first == last else [letter for letter in folding.CASED if first <= letter <= last]
        yield "".join(sorted({other for letter in cased for other in folding.variants(letter)} - {*cased}))


def _escape(character: str) -> str:
    is_sign = character.isascii() and character.isprintable() and not character.isalnum()
    return f"\\{character}" if is_sign else character
