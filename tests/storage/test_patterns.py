"""The common subset of regular expressions: the same texts on both engines, and refusals for all that is not in it."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from sqlmodel import literal, select

from storage.columns import Text
from storage.engine import Database
from storage.errors import TooCostly
from storage.queries import folding, patterns, texts
from storage.queries.patterns import Unsupported

ANY_TEXTS = st.text(
    st.sampled_from("aAbZ09_ -.\n\t\r\x0b\x85\u2028éÉßẞſsSkK\u212aσΣςİıiIµμ漢字😀[]{}()^$|*+?\\/\"'~#&@,:;<>=!%`")
    | st.characters(),
    max_size=5,
).filter(lambda text: "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text))
CHARACTERS = st.sampled_from("abzAZ09_éßſkσİ😀").map(re.escape)
MEMBERS = st.sampled_from(
    ["a", "k-z", "A-Z", "0-9", "é", "ß", r"\d", r"\w", r"\s", r"\]", r"\-", r"\\", "^", ".", "α-ω", r"\[", "\n"]
)
CLASSES = st.builds("[{}x{}]".format, st.sampled_from(["", "^"]), st.lists(MEMBERS, max_size=3).map("".join))
ATOMS = (
    CHARACTERS
    | CLASSES
    | st.sampled_from([".", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\n", r"\.", "]", "}", "-", "/"])
)
QUANTIFIERS = st.sampled_from(["", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{0,2}", "{1,}", "{0}"])
BOUNDARIES = st.sampled_from(["^", "$", r"\b"])


def _groups(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    joined = st.lists(inner, max_size=3).map("".join)
    either = st.lists(joined, min_size=1, max_size=3).map("|".join)
    return st.builds("{}{}){}".format, st.sampled_from(["(", "(?:"]), either, QUANTIFIERS)


PATTERNS = st.recursive(st.builds("{}{}".format, ATOMS, QUANTIFIERS) | BOUNDARIES, _groups, max_leaves=6)


async def _matches(database: Database, text: str, pattern: str) -> bool:
    async with database.read() as session:
        statement = select(texts.matches(literal(text, Text()), patterns.read(pattern)))
        return bool((await session.exec(statement)).one())


@settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pattern=st.lists(PATTERNS, max_size=3).map("".join), text=ANY_TEXTS)
async def test_an_engine_finds_what_the_pattern_says(database: Database, pattern: str, text: str) -> None:
    try:
        is_found = await _matches(database, text, pattern)
    except TooCostly:  # what PostgreSQL finds too complex is refused, and finds nothing wrong
        reject()

    # RE2 in Python judges both engines: SQLite asks it through SQL, PostgreSQL does not know it.
    assert is_found == patterns.found(text, patterns.read(pattern).re2)


@settings(max_examples=200, deadline=None, database=None)
@given(pattern=st.lists(PATTERNS, max_size=3).map("".join), text=st.text("abzAZ019_ -.\n", max_size=6))
def test_what_is_in_the_subset_means_what_it_means_in_python(pattern: str, text: str) -> None:
    # Only of ASCII: what is the same but for case is another question to Python.
    by_python = re.compile(pattern.replace("$", r"\Z"), re.IGNORECASE | re.ASCII)

    assert patterns.found(text, patterns.read(pattern).re2) == bool(by_python.search(text))


IN_THE_SUBSET = [
    ("straße", "Die STRAẞE", True),
    ("strasse", "STRAẞE", False),
    ("\u212a", "k", True),
    ("[k-l]", "\u212a", True),
    ("[^k]", "\u212a", False),
    ("^b", "a\nb", False),
    ("a$", "a\n", False),
    ("a.b", "a\nb", False),
    (r"a\sb", "a\nb", True),
    (r"a\sb", "a\u2003b", False),
    (r"a\nb\tc\rd\fe\vf", "a\nb\tc\rd\fe\vf", True),
    (r"[\n\t]", "nt", False),
    (r"\é", "é", True),
    ("^a{255}$", "a" * 255, True),
    ("^(a{15}){17}$", "a" * 254, False),
    ("(" * 16 + "a" + ")" * 16, "a", True),
    ("^[a:b]$", ":", True),
    ("^[[x]$", "[", True),
    (r"\bé", "é", False),  # words are of ASCII
    ("", "", True),
    (r"\b", "", False),
    ("a|", "b", True),
]


async def test_a_pattern_is_of_the_subset(database: Database) -> None:
    found = [(pattern, text, await _matches(database, text, pattern)) for pattern, text, _ in IN_THE_SUBSET]

    assert found == IN_THE_SUBSET


@pytest.mark.parametrize(
    "pattern",
    [
        "(", ")", "a)", "(a", "(a))", "[", "[a", "[]", "[^]", "[a-", "\\", "*", "+a", "?", "a|*", "(*a)", "a**",
        "a+*", "a{2}{3}", "a*+", "a???", "^*", "$+", r"\b?", "{", "a{", "a{,2}", "a{x}", "a{3,2}", "a{256}",
        "a{1000}", "(a{16}){16}", "((a{6}){7}){7}", "(?i)a", "***=a", "(?=a)", "(?!a)", "(?<=a)", "(?P<n>a)", "(?<n>a)",
        "(?>a)", "(?#a)", "(?a)", r"(a)\1", r"\pL", r"\x41", r"\u0041", r"\Aa", r"a\z", r"a\Z", r"\Qa", r"\0", r"\B",
        r"\k", r"[\D]", r"[\W]", r"[\b]", "[[:alpha:]]", "[[.a.]]", "[[=a=]]", "[z-a]", r"[a-\d]",
        r"[\d-z]x[9-0]", "(" * 17 + ")" * 17, "a" * 256, ".{200}" * 5 + "a", "(ab|c){200}(d{3}){140}",
    ],
)  # fmt: skip
def test_what_is_not_in_the_subset_is_refused(pattern: str) -> None:
    with pytest.raises(Unsupported) as refusal:
        patterns.read(pattern)

    assert pattern not in str(refusal.value) or len(pattern) == 1


def test_patterns_have_their_bounds_together() -> None:
    largest = patterns.read(".{200}" * 5)

    assert patterns.either([largest] * 6).parts == patterns.MAX_LIST_PARTS == 6 * patterns.MAX_PARTS
    with pytest.raises(Unsupported):
        patterns.either([largest] * 6 + [patterns.read("")])


async def test_sqlite_looks_at_the_clock_before_each_text(tmp_path: Path) -> None:
    """One look after thousands of its own steps is too late: a single text may take a second."""
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    await database.open()
    statement = select(texts.matches(literal("a", Text()), patterns.read("a")))

    with pytest.raises(TooCostly):
        async with database.read(at_most=timedelta(0)) as session:
            await session.exec(statement)

    async with database.read(at_most=timedelta(seconds=30)) as session:
        assert (await session.exec(statement)).one()
    await database.close()


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a{3,2}", "upper bound is below"),
        ("a{1,256}", "repeated 255 times at most"),
        (r"[\W]", "In brackets"),
        ("a**", "cannot be repeated"),
        ("a{2}{3}", "cannot be repeated"),
    ],
)
def test_a_refusal_says_what_is_wrong(pattern: str, reason: str) -> None:
    """And not what RE2 would leave to be said, or what is said of other letters."""
    with pytest.raises(Unsupported, match=reason):
        patterns.read(pattern)


def test_folding_is_of_single_characters() -> None:
    for character in folding.CASED:
        assert len(folding.fold(character)) == 1
        assert character in folding.variants(character)
        assert {folding.fold(each) for each in folding.variants(character)} == {folding.fold(character)}


@settings(max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=ANY_TEXTS, sought=st.lists(ANY_TEXTS.map(lambda text: text[:2]), min_size=1, max_size=2))
async def test_a_part_of_a_text_is_found_in_whatever_case(database: Database, text: str, sought: list[str]) -> None:
    async with database.read() as session:
        found = (await session.exec(select(texts.contains(literal(text, Text()), sought)))).one()

    assert bool(found) == any(folding.fold(each) in folding.fold(text) for each in sought)
