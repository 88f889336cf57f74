"""Secrets at rest, and the keys that are kept beside them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from storage.errors import WrongKey
from storage.secrets import Vault, load_key


def test_what_is_sealed_comes_back_and_does_not_show() -> None:
    vault = Vault(Fernet.generate_key())

    sealed = vault.seal({"token": "marker-secret"})

    assert b"marker-secret" not in sealed
    assert vault.unseal(sealed) == {"token": "marker-secret"}


def test_another_key_opens_nothing() -> None:
    sealed = Vault(Fernet.generate_key()).seal({"token": "t"})

    with pytest.raises(WrongKey):
        Vault(Fernet.generate_key()).unseal(sealed)


def test_a_key_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"

    key = load_key(path)

    assert load_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["signing.key"]


def test_a_file_that_holds_no_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "encryption.key").write_text("garbage")

    with pytest.raises(WrongKey, match="not a key"):
        load_key(tmp_path / "encryption.key")
