"""The file of trusted documents: what is read of it, and what a server does not start with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

import main
from schema import build, trusted
from schema.documents import Trusted

LIST = "query List { notifications { nodes { topic } } }"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "documents.json"


@pytest.mark.parametrize(
    "content",
    [
        {"abc": LIST},
        {
            "format": trusted.MANIFEST,
            "version": 1,
            "operations": [{"id": "abc", "name": "List", "type": "query", "body": LIST}],
        },
    ],
)
def test_both_forms_are_read(file: Path, content: object) -> None:
    file.write_text(json.dumps(content))

    assert trusted.read(file) == {"abc": LIST}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "is not JSON"),
        ("[]", "must be a JSON object of ids and documents"),
        ('{"abc": 5}', "must be a JSON object of ids and documents"),
        (f'{{"format": "{trusted.MANIFEST}"}}', "must be a JSON object of ids and documents"),
        (f'{{"format": "{trusted.MANIFEST}", "operations": [{{}}]}}', "must be a JSON object of ids and documents"),
    ],
)
def test_a_file_that_is_none_stops_the_start(file: Path, content: str | None, reason: str) -> None:
    if content is not None:
        file.write_text(content)

    with pytest.raises(ValidationError, match=reason):
        main.Settings(trusted_documents_file=file)


def test_trusting_nothing_else_takes_a_file() -> None:
    with pytest.raises(ValidationError, match="must name a file"):
        main.Settings.model_validate({"trusted_documents": "only"})


def test_the_settings_say_what_is_trusted(file: Path) -> None:
    file.write_text(json.dumps({"abc": LIST}))

    beside = main.Settings(trusted_documents_file=file)
    alone = main.Settings.model_validate({"trusted_documents": "only", "trusted_documents_file": file})

    assert main.Settings().trusted == Trusted()
    assert beside.trusted == Trusted({"abc": LIST})
    assert alone.trusted == Trusted({"abc": LIST}, only=True)


def test_what_is_trusted_is_known_from_the_start() -> None:
    assert build(Trusted({"abc": LIST})).documents.find(LIST)
    assert build().documents.find(LIST) is None


@pytest.mark.parametrize("text", ["{ nothing }", "{", "", "query ($first: Int!) { viewer { userId } }"])
def test_a_document_that_could_not_be_run_stops_the_start(text: str) -> None:
    with pytest.raises(ValueError, match="The trusted document abc cannot be run: "):
        build(Trusted({"fine": LIST, "abc": text}))
