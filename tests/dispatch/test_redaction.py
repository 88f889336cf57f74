from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch import redaction
from dispatch.redaction import Redactor
from storage.secrets import MASK

SECRETS = [
    "Bearer of-good-news-7",
    'quo"ted/päss wörd',
    "https://me:pass4word@hooks.test/T00000000/B1?token=tok-12345678",
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
    ],
)
def test_a_secret_is_masked_however_it_comes_back(spelled: str) -> None:
    redacted = Redactor(SECRETS).redact(f"You sent <{spelled}>, thank you.")

    assert redacted.startswith("You sent <")
    assert redacted.endswith(">, thank you.")
    assert MASK in redacted
    assert not any(part in redacted for part in ("news", "quo", "p%C3", "pass4word", "T0000", "tok-", "Om"))


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
