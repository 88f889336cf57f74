"""Rotation of the encryption key: whatever happens meanwhile, no secret is lost, and in the end one key is enough."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import sqlmodel
from cryptography.fernet import Fernet
from sqlalchemy import select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import rotation
from storage.engine import Database, Work
from storage.errors import WrongKey
from storage.keys import KeyFile
from storage.models import Channel, Delivery, Protocol
from storage.rotation import Resealed, sealed_columns
from storage.secrets import Vault
from tests.dispatch import rows

T = TypeVar("T")

EACH = 5  # secrets of each kind
PLACES = {"protocol.secret_data": Protocol, "channel.secret_data": Channel, "delivery.push_data": Delivery}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "BATCH", 2)


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "encryption.key")


@pytest.fixture
async def filled(database: Database, file: KeyFile) -> Database:
    """A database with secrets in every place, and rows without one among them."""
    vault, said = Vault(file=file), rows.content()
    through = [rows.protocol(secret_data=vault.seal({"n": n})) for n in range(EACH)]
    await rows.store(database, said, rows.protocol(), *through)
    to = [rows.channel(protocol_id=through[0].protocol_id, secret_data=vault.seal({"n": n})) for n in range(EACH)]
    await rows.store(database, rows.channel(protocol_id=through[0].protocol_id), *to)
    pushed = [rows.delivery(said, through[0], push_data=vault.seal({"n": n})) for n in range(EACH)]
    await rows.enqueue(database, rows.delivery(said, through[0]), *pushed)
    return database


async def _sealed(database: Database) -> list[bytes]:
    """Everything that is sealed, wherever it is."""
    found: list[bytes] = []
    async with database.read() as session:
        for column in sealed_columns():
            statement = select(column).where(column.is_not(None))
            found += [row[0] for row in await (await session.connection()).execute(statement)]
    return found


async def _opened(database: Database, vault: Vault) -> list[int]:
    return sorted(vault.unseal(sealed)["n"] for sealed in await _sealed(database))


ALL = sorted([*range(EACH)] * len(PLACES))


async def _no_pause(_seconds: float) -> None: ...


rotate = partial(rotation.rotate, grace=60.0, sleep=_no_pause)


def test_every_place_that_takes_a_secret_is_tried() -> None:
    assert {str(column) for column in sealed_columns()} == set(PLACES)


async def test_every_secret_goes_under_a_new_key_and_the_old_one_is_forgotten(filled: Database, file: KeyFile) -> None:
    [old] = file.load()

    assert await rotate(filled, file) == Resealed(len(ALL))

    [new] = file.load()
    assert new != old
    assert await _opened(filled, Vault(new)) == ALL
    with pytest.raises(WrongKey):
        await _opened(filled, Vault(old))


class Killed(Exception):
    """The process ended here."""


class Dying(Database):
    """Ends the process at its n-th write: right before the commit, or right after it."""

    def __init__(self, alive: Database, *, at: int, after: bool) -> None:
        self.__dict__.update(vars(alive))
        self._left = at
        self._after = after

    async def write(self, work: Work[T]) -> T:
        if self._left == 0 and not self._after:
            raise Killed
        result = await super().write(work)
        if self._left == 0:
            raise Killed
        self._left -= 1
        return result


@pytest.mark.parametrize("after", [False, True])
async def test_whoever_is_killed_at_any_instant_loses_nothing_and_goes_on(
    filled: Database, file: KeyFile, after: bool
) -> None:
    [first] = file.load()
    killed = 0
    while True:
        try:
            await rotate(Dying(filled, at=killed, after=after), file)
            break
        except Killed:
            killed += 1
        newest, *older = file.load()
        assert older == [first]  # going on makes no further keys
        assert await _opened(filled, Vault(file=file)) == ALL

    assert killed > 1
    assert file.load() == (newest,)
    assert await _opened(filled, Vault(newest)) == ALL


async def test_what_servers_write_meanwhile_is_under_the_new_key_or_waited_for(filled: Database, file: KeyFile) -> None:
    server = Vault(file=KeyFile(file.path))
    begun_before = rows.protocol(secret_data=server.seal({"n": 100}))
    waited: list[float] = []

    async def commit(seconds: float) -> None:
        waited.append(seconds)
        await rows.store(filled, begun_before, rows.protocol(secret_data=server.seal({"n": 101})))
        assert await _opened(filled, server) == [*ALL, 100, 101]

    await rotation.rotate(filled, file, grace=7.0, sleep=commit)

    [new] = file.load()
    assert waited == [7.0]
    assert await _opened(filled, Vault(new)) == [*ALL, 100, 101]


class Busy(Database):
    """Somebody else changes a secret between the reading of every batch and its writing."""

    def __init__(self, alive: Database, change: Work[None]) -> None:
        self.__dict__.update(vars(alive))
        self._change = change

    async def write(self, work: Work[T]) -> T:
        await super().write(self._change)
        return await super().write(work)


async def test_a_secret_that_is_changed_meanwhile_stays_as_it_was_changed(filled: Database, file: KeyFile) -> None:
    server = Vault(file=KeyFile(file.path))

    async def change(session: AsyncSession) -> None:
        for row in await session.exec(sqlmodel.select(Protocol)):
            row.secret_data = server.seal({"n": 100})

    await rotate(Busy(filled, change), file)

    [new] = file.load()
    opened = await _opened(filled, Vault(new))
    assert opened.count(100) == EACH + 1


async def test_where_something_cannot_be_opened_no_key_is_forgotten(filled: Database, file: KeyFile) -> None:
    lost = Vault(Fernet.generate_key()).seal({"n": 0})
    await rows.store(filled, rows.protocol(secret_data=lost))

    assert await rotate(filled, file) == Resealed(len(ALL), unreadable=1)

    assert len(file.load()) == 2
    assert lost in await _sealed(filled)


async def test_keys_that_are_given_are_rotated_without_a_file(filled: Database, file: KeyFile) -> None:
    [old], new = file.load(), Fernet.generate_key()

    assert await rotation.reseal(filled, Vault(new, old)) == Resealed(len(ALL))

    assert await _opened(filled, Vault(new)) == ALL
    assert await rotation.reseal(filled, Vault(new)) == Resealed()
