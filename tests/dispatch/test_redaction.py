from __future__ import annotations

import base64
import html
import json
import re
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch import redaction
from dispatch.redaction import SHORTEST, Redactor
from storage.secrets import MASK

SECRETS = [
    "Bearer of-good-news-7",
    'quo"ted/päss wörd',
    "https://me:pass4word@hooks.test/T00000000/B1?token=tok-12345678",
    f"Basic {base64.b64encode(b'someone:hunter2-hunter2').decode()}",
]


@pytest.mark.parametrize(
    "spelled",
    [
        "Bearer of-good-news-7",
        "of-good-news-7",
        json.dumps('quo"ted/päss wörd'),
        quote('quo"ted/päss wörd', safe=""),
        'quo"ted/päss wörd',
        "https://me:pass4word@hooks.test/T00000000/B1?token=tok-12345678",
        "pass4word",
        "T00000000",
        "tok-12345678",
        base64.b64encode(b"me:pass4word").decode(),
        json.dumps('quo"ted/päss wörd', ensure_ascii=False),
        quote('quo"ted/päss wörd'),
        quote('quo"ted/päss wörd', safe="").lower(),
        quote_plus('quo"ted/päss wörd'),
        html.escape('quo"ted/päss wörd'),
        "OF-GOOD-NEWS-7",
        "hunter2-hunter2",
        base64.b64encode(b"someone:hunter2-hunter2").decode(),
    ],
)
def test_a_secret_is_masked_however_it_comes_back(spelled: str) -> None:
    redacted = Redactor(SECRETS).redact(f"You sent <{spelled}>, thank you.")

    assert redacted.startswith("You sent <")
    assert redacted.endswith(">, thank you.")
    assert MASK in redacted
    assert not any(part in redacted for part in ("news", "quo", "p%C3", "pass4word", "T0000", "tok-", "Om", "hunt"))


@pytest.mark.parametrize("show", [repr, ascii])
@pytest.mark.parametrize("beside", ["", "a 'word'", 'a "word"'])
@pytest.mark.parametrize("middle", ["'", '"', "'\"", "\\", "\u00ed\n"])
def test_a_secret_that_python_shows_is_masked(middle: str, beside: str, show: Callable[[object], str]) -> None:
    secret = f"xyz{middle}zyx"
    shown = show({"beside": beside, "secret": secret, "both": f"{beside} {secret}"})

    redacted = Redactor([secret]).redact(shown)

    assert redacted.count(MASK) == 2
    assert not set(redacted) & set("xyz")


@pytest.mark.parametrize("before", ["", "a", "ab"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_secret_within_a_text_in_base64_is_masked_but_for_its_edges(
    before: str, encode: Callable[[bytes], bytes]
) -> None:
    sent = f'{before}{{"password": "hunter2-hunter2??>>"}}'.encode()

    redacted = Redactor(["hunter2-hunter2??>>"]).redact(encode(sent).decode())

    left = [part for part in re.split(r"\*+", redacted) if part]
    assert MASK in redacted
    assert all(b"hun" not in base64.urlsafe_b64decode(part[: len(part) // 4 * 4]) for part in left)


@given(st.text(max_size=20), st.integers(SHORTEST, 30))
def test_what_a_text_that_was_cut_off_begins_of_a_secret_goes_too(text: str, kept: int) -> None:
    secret = "the-secret-that-nobody-may-ever-see"

    redacted = Redactor([secret]).redact(text + secret[:kept], is_cut=True)

    assert redacted == f"{text}{MASK}"


def test_half_a_character_at_the_end_hides_no_beginning() -> None:
    cut = "secret-pä".encode()[:-1].decode(errors="replace")

    assert Redactor(["secret-pässword"]).redact(f"You sent {cut}", is_cut=True) == f"You sent {MASK}"


def test_a_text_that_was_cut_off_elsewhere_stays_as_it_is() -> None:
    redactor = Redactor(SECRETS)

    assert redactor.redact("Something is wrong with B", is_cut=True) == "Something is wrong with B"
    assert redactor.redact("It ends in Bear") == "It ends in Bear"


def test_a_text_without_secrets_stays_as_it_is() -> None:
    assert Redactor(SECRETS).redact("Internal Server Error") == "Internal Server Error"


def test_what_is_too_short_to_be_a_secret_blanks_out_no_words() -> None:
    assert Redactor(["a", "to"]).redact("a b to") == "a b to"


def test_every_string_and_number_of_a_value_is_found() -> None:
    value = {"a": "one", "b": [{"c": "two"}, 3, None, True], "d": 4.5}

    assert list(redaction.strings(value)) == ["one", "two", "3", "4.5"]


@given(st.text(), st.lists(st.text(min_size=4)))
def test_no_secret_is_left(text: str, secrets: list[str]) -> None:
    redacted = Redactor(secrets).redact(text + "".join(secrets))

    for secret in secrets:
        assert secret not in redacted.replace(MASK, "\0")


CASED = st.text("iI\u0130\u0131sS\u017f\u00df\u1e9ekK\u212a", min_size=4, max_size=6)


@given(
    secrets=st.lists(CASED, min_size=1, max_size=4),
    text=st.text("iI\u0130\u0131sS\u017f\u00df\u1e9ekK\u212a.", max_size=40),
)
def test_what_differs_in_case_alone_is_masked_as_one_pattern_of_all_would_do_it(secrets: list[str], text: str) -> None:
    redactor = Redactor(secrets)
    whole = re.compile("|".join(map(re.escape, redactor._forms)), re.IGNORECASE)

    assert redactor.redact(text) == whole.sub(MASK, text)


@pytest.mark.parametrize("answer", ["x" * 20_000, "abcdefgh/" * 2_200], ids=["of one letter", "of parts"])
def test_secrets_of_many_parts_are_soon_sought_in_a_long_answer(answer: str) -> None:
    """Those of a webhook with as many and as long headers as it may have."""
    parts = (f"{number:08}" for number in range(32 * 450))
    secrets = ["/".join(next(parts) for _ in range(450)) for _ in range(32)]
    began = time.process_time()

    assert Redactor(secrets).redact(answer) == answer

    assert time.process_time() - began < 2
