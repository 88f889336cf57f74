"""How a database says that it answers statements, and what of that costs more with every row."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from storage.drivers import Driver

# Tables of one row, or of a row for each thing that somebody set up.
SMALL = {"feed_epoch"}

# Partial ones, which hold only what is being sent, waits, or is to be told: claims take them from their beginning.
SMALL_INDEXES = ("delivery_leased", "delivery_due", "channel_alert_due")

FEW = "a handful that one key found"
FOUND = "the first rows of a list, or what the index of texts led to, both of which are bounded"

Call = Callable[[AsyncSession], Awaitable[Any]]
Plan = list[str]


@dataclass(frozen=True)
class Case:
    call: Call
    sorts: str = ""  # why it may sort what it found
    scans: Mapping[str, str] | None = None  # tables that it may read through, and why


async def plans(session: AsyncSession, case: Case) -> list[Plan]:
    """How each of the statements that a case executes is answered."""
    connection = await session.connection()
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, is_many: bool) -> None:
        if re.match(r"\s*(SELECT|UPDATE|DELETE|WITH|SET)\b", statement):
            asked.append((statement, parameters[0] if is_many else parameters))

    event.listen(connection.sync_connection, "before_cursor_execute", note)

    async def fetch(driver: Driver, statement: str, values: Any) -> Any:
        note(None, None, statement, tuple(values), None, False)
        return await straight(driver, statement, values)

    straight = Driver.fetch
    savepoint = await connection.begin_nested()
    with patch.object(Driver, "fetch", fetch):
        await case.call(session)
    await savepoint.rollback()
    session.expunge_all()
    event.remove(connection.sync_connection, "before_cursor_execute", note)
    assert asked, "a case that asks nothing shows nothing"
    explaining = await connection.begin_nested()  # what a case sets holds for what it asks then
    if connection.dialect.name == "postgresql":  # a few rows may as well be sorted: it is asked whether they have to be
        await connection.exec_driver_sql(f"SET LOCAL enable_sort = {'on' if case.sorts else 'off'}")
    answers = [await _plan(connection, statement, parameters) for statement, parameters in asked]
    await explaining.rollback()
    return [plan for plan in answers if plan]


async def _plan(connection: AsyncConnection, statement: str, parameters: Any) -> Plan:
    if statement.startswith(("SET ", "SELECT set_config(")):
        await connection.exec_driver_sql(statement)
        return []
    how = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    return [str(row[-1]) for row in await connection.exec_driver_sql(f"{how} {statement}", parameters)]


TABLES = {table.name for table in SQLModel.metadata.tables.values()}
SCAN = re.compile(r"\bSCAN (\w+?)(?:_\d+)?\b(?! VIRTUAL)|Seq Scan on (\w+)|(?:Index|Bitmap Heap) Scan .* on (\w+)")
SORT = re.compile(r"USE TEMP B-TREE FOR .*ORDER BY|^\s*(?:->\s*)?(?:Incremental )?Sort\b")


def faults(plan: Plan, case: Case) -> list[str]:
    """Lines of a plan that read through a table, or sort."""
    allowed = SMALL | set(case.scans or {})
    found = []
    for number, line in enumerate(plan):
        scanned = SCAN.search(line)
        name = next((name for name in scanned.groups() if name), "") if scanned else ""
        # PostgreSQL may also read an index from one end to the other: there is no condition below such a line.
        is_led = "Index Scan" in line or "Index Only Scan" in line or "Bitmap Heap" in line
        is_small = any(index in line for index in SMALL_INDEXES)
        if name in TABLES - allowed and not is_small and not (is_led and _is_bounded(plan[number + 1 :])):
            found.append(line)
        if SORT.search(line) and not case.sorts:
            found.append(line)
    return found


def _is_bounded(below: Plan) -> bool:
    """Whether the lines below one, up to the next node, say what led through the index."""
    for line in below:
        if "Cond:" in line:
            return True
        if "->" in line:
            return False
    return False
