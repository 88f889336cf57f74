"""Rotation of the encryption key: every stored secret goes under the newest key, in batches, while servers run.

It may be killed at any instant and begun again: an old key is kept, and opens, until nothing is left under it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Column, bindparam, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.columns import Sealed
from storage.engine import Database
from storage.errors import WrongKey
from storage.keys import KeyFile
from storage.models import Protocol
from storage.secrets import Vault

BATCH = 200  # secrets of one transaction


@dataclass(frozen=True)
class Resealed:
    count: int = 0  # secrets that were under another key
    unreadable: int = 0  # that none of the keys opens; they are left as they are


async def rotate(
    database: Database, file: KeyFile, *, grace: float, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> Resealed:
    """Put a new key before the file's one, every secret under it, and forget the old one.

    Where there are several already, an interrupted rotation is brought to its end. What a server sealed before it
    read the new key is committed within `grace` seconds, and is waited for. Raises DatabaseUnavailable, OSError.
    """
    if len(file.load()) == 1:
        file.add()
    vault = Vault(file=file)
    first = await reseal(database, vault)
    await sleep(grace)
    again = await reseal(database, vault)
    if not again.unreadable:
        file.keep_first()
    return Resealed(first.count + again.count, again.unreadable)


async def reseal(database: Database, vault: Vault) -> Resealed:
    """Put every stored secret under the vault's first key. Raises DatabaseUnavailable."""
    totals = [await _reseal(database, vault, column) for column in sealed_columns()]
    return Resealed(sum(total.count for total in totals), sum(total.unreadable for total in totals))


def sealed_columns() -> Iterator[Column[Any]]:
    """Every column that holds secrets."""
    for table in Protocol.metadata.sorted_tables:
        yield from (column for column in table.columns if isinstance(column.type, Sealed))


async def _reseal(database: Database, vault: Vault, column: Column[Any]) -> Resealed:
    count, unreadable, after = 0, 0, ""
    while rows := await _batch(database, column, after):
        changes, lost = _changes(vault, rows)
        if changes:
            await database.write(partial(_replace, column=column, changes=changes))
        count, unreadable, after = count + len(changes), unreadable + lost, rows[-1][0]
    return Resealed(count, unreadable)


async def _batch(database: Database, column: Column[Any], after: str) -> Sequence[tuple[str, bytes]]:
    key = _key(column)
    statement = select(key, column).where(column.is_not(None), key > after).order_by(key).limit(BATCH)
    async with database.read() as session:
        return [(row[0], row[1]) for row in await (await session.connection()).execute(statement)]


def _changes(vault: Vault, rows: Sequence[tuple[str, bytes]]) -> tuple[list[dict[str, Any]], int]:
    """What is to be replaced by what, and how many secrets nothing opens."""
    changes, unreadable = [], 0
    for row_id, sealed in rows:
        try:
            new = vault.resealed(sealed)
        except WrongKey:
            unreadable += 1
        else:
            if new is not None:
                changes.append({"row_id": row_id, "sealed": sealed, "resealed": new})
    return changes, unreadable


async def _replace(session: AsyncSession, column: Column[Any], changes: Sequence[dict[str, Any]]) -> None:
    """Replace what is still as it was read: whoever has written meanwhile has the newest key too."""
    is_as_read = (_key(column) == bindparam("row_id"), column == bindparam("sealed"))
    statement = update(column.table).where(*is_as_read).values({column: bindparam("resealed")})
    await (await session.connection()).execute(statement, changes)


def _key(column: Column[Any]) -> Column[Any]:
    [key] = column.table.primary_key.columns
    return key
