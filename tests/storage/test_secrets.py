"""Secrets at rest: what is sealed under one key is opened by that key alone, and follows it into another."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from storage.errors import WrongKey
from storage.keys import KeyFile
from storage.secrets import Vault

TOKEN = {"token": "marker-secret"}


def test_what_is_sealed_comes_back_and_does_not_show() -> None:
    vault = Vault(Fernet.generate_key())

    sealed = vault.seal(TOKEN)

    assert b"marker-secret" not in sealed
    assert vault.unseal(sealed) == TOKEN


def test_another_key_opens_nothing() -> None:
    sealed = Vault(Fernet.generate_key()).seal(TOKEN)

    with pytest.raises(WrongKey):
        Vault(Fernet.generate_key()).unseal(sealed)


def test_the_first_of_several_keys_seals_and_all_of_them_open() -> None:
    new, old = Fernet.generate_key(), Fernet.generate_key()
    both = Vault(new, old)

    assert both.unseal(Vault(old).seal(TOKEN)) == TOKEN
    assert Vault(new).unseal(both.seal(TOKEN)) == TOKEN


def test_what_is_under_another_key_is_put_under_the_first_and_the_rest_is_left() -> None:
    new, old = Fernet.generate_key(), Fernet.generate_key()
    both = Vault(new, old)

    resealed = both.resealed(Vault(old).seal(TOKEN))

    assert resealed is not None
    assert Vault(new).unseal(resealed) == TOKEN
    assert both.resealed(resealed) is None
    with pytest.raises(WrongKey):
        both.resealed(Vault(Fernet.generate_key()).seal(TOKEN))


def test_a_vault_follows_its_file(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "encryption.key")
    vault = Vault(file=KeyFile(file.path))
    before = vault.seal(TOKEN)

    file.add()
    new, _ = file.load()

    assert Vault(new).unseal(vault.seal(TOKEN)) == TOKEN
    assert vault.unseal(before) == TOKEN
    file.keep_first()
    with pytest.raises(WrongKey):
        vault.unseal(before)
