"""Keys in files: made once, replaced whole, and followed while they change."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from storage.errors import WrongKey
from storage.keys import KeyFile, load_key


def test_a_key_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"

    key = load_key(path)

    assert load_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["signing.key"]


@pytest.mark.parametrize("content", ["", "\n", "garbage", "a b", f"{'A' * 44}\ngarbage\n"])
def test_a_file_that_holds_something_else_than_keys_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "encryption.key").write_text(content)

    with pytest.raises(WrongKey, match="not a key"):
        KeyFile(tmp_path / "encryption.key").load()


def test_where_one_key_is_wanted_two_are_wrong(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "signing.key")
    file.load()
    file.add()

    with pytest.raises(WrongKey, match="more than one"):
        load_key(file.path)


def test_a_new_key_comes_first_and_old_ones_stay_until_they_are_forgotten(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "encryption.key")
    [old] = file.load()

    file.add()
    new, *others = file.load()
    assert (others, new == old) == ([old], False)

    file.keep_first()
    assert file.load() == (new,)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["encryption.key"]


def test_what_a_killed_process_left_is_no_hindrance(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "encryption.key")
    [old] = file.load()
    (tmp_path / f".encryption.key.{os.getpid()}").write_text("half a k")

    file.add()

    assert file.load()[1:] == (old,)


def test_a_change_is_told_once(tmp_path: Path) -> None:
    mine, theirs = (KeyFile(tmp_path / "encryption.key") for _ in range(2))
    mine.load()
    assert mine.changed() is None

    theirs.add()

    assert mine.changed() == theirs.load()
    assert mine.changed() is None


@pytest.mark.parametrize("broken", [None, "garbage"])
def test_a_file_that_is_lost_or_broken_meanwhile_has_not_changed(tmp_path: Path, broken: str | None) -> None:
    file = KeyFile(tmp_path / "encryption.key")
    file.load()
    if broken is None:
        file.path.unlink()
    else:
        file.path.write_text(broken)

    assert file.changed() is None

    key = Fernet.generate_key()
    file.path.write_bytes(key)
    assert file.changed() == (key,)
