"""The README's table of operations and roles, tried cell by cell, and what nobody may reach whatever it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from resolvers.access import Role
from tests.resolvers.callers import ADMIN, ALICE, SERVICE, SYSTEM
from tests.schema import operations
from tests.schema.operations import CALLS, OWN_INBOX, ROOTS, Place
from tests.schema.world import Answer, World, refusal

README = (Path(__file__).parents[2] / "README.md").read_text()
CALLERS = {Role.USER: ALICE, Role.SERVICE: SERVICE, Role.DOMAIN_ADMIN: ADMIN, Role.SYSTEM: SYSTEM}

# Whose things a call names, by its caller: what the caller may reach, and what is somebody else's.
MINE = {Role.USER: "alice", Role.SERVICE: "backend", Role.DOMAIN_ADMIN: "alice", Role.SYSTEM: "alice"}
THEIRS = {Role.USER: "bob", Role.SERVICE: "batch"}
ELSEWHERE = "carol"

INBOX_OWNERS = {**MINE, Role.DOMAIN_ADMIN: "admin", Role.SYSTEM: "operator"}

# Calls that say whose things they want, in so many words: what is refused tells nothing that was not known.
NAMING_OWNERS = {
    "createUserChannel": ("PERMISSION_DENIED", "userId"),
    "deleteAllNotifications": ("PERMISSION_DENIED", "users"),
    **{operation: ("INVALID_ARGUMENT", field) for operation, field in OWN_INBOX.items()},
}

Cell = tuple[str, Role, str]


def _table() -> list[Cell]:
    """What the README says: the operation, the role and yes, own, no or -."""
    section = README.split("\n## Who may do what\n")[1].split("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip().strip("`") for cell in line] for line in lines]
    roles = [Role(name) for name in header[1:]]
    return [(name, role, says) for name, *cells in rows for role, says in zip(roles, cells, strict=True)]


TABLE = _table()
DOMAINS = [place for operation in CALLS for place in operations.places(operation) if place.path[-1] == "domainId"]


def _names_a_thing(operation: str) -> bool:
    return "@" in str(CALLS[operation])


ALLOWED = [(operation, role) for operation, role, says in TABLE if says in ("yes", "own")]
OWN = [cell for cell in ALLOWED if (*cell, "own") in TABLE and cell[1] in THEIRS and _names_a_thing(cell[0])]
IN_ONE_DOMAIN = [cell for cell in ALLOWED if cell[1] is not Role.SYSTEM and _names_a_thing(cell[0])]

# It shows that a thing is out of reach by bringing nothing, which cannot be waited for: see
# `tests/resolvers/test_steering.py`.
SILENT = "deliveryUpdated"


def test_the_table_has_every_root_field_once_and_nothing_else() -> None:
    listed = [operation for operation, role, _ in TABLE if role is Role.USER]

    assert sorted(listed) == sorted(name for root in ROOTS.values() for name in root.fields)
    assert {role for _, role, _ in TABLE} == set(Role)
    assert {says for _, _, says in TABLE} == {"yes", "own", "no", "-"}


@pytest.mark.parametrize("operation", CALLS)
async def test_without_a_token_nothing_is_answered(world: World, operation: str) -> None:
    answer = await world.try_out(None, operation, operations.filled(CALLS[operation], world.of["alice"]))

    assert answer.code == "UNAUTHENTICATED"


@pytest.mark.parametrize(("operation", "role", "says"), TABLE)
async def test_a_role_may_do_what_the_table_says(world: World, operation: str, role: Role, says: str) -> None:
    owners = INBOX_OWNERS if operation in OWN_INBOX else MINE
    before = await world.rows() if says == "no" else {}

    answer = await _try(world, role, operation, owners[role])

    if says == "no":
        assert answer.code == "PERMISSION_DENIED"
        assert await world.rows() == before
    else:
        assert refusal(answer) == (None, None)
        assert _shows_nothing(answer, operation) == (says == "-")


@pytest.mark.parametrize(("operation", "role"), [cell for cell in OWN if cell[0] != SILENT])
async def test_what_is_somebody_elses_looks_as_if_it_were_not_there(world: World, operation: str, role: Role) -> None:
    await _assert_out_of_reach(world, role, operation, THEIRS[role])


@pytest.mark.parametrize(("operation", "role"), [cell for cell in IN_ONE_DOMAIN if cell[0] != SILENT])
async def test_what_is_another_domains_looks_as_if_it_were_not_there(world: World, operation: str, role: Role) -> None:
    await _assert_out_of_reach(world, role, operation, ELSEWHERE)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.SYSTEM])
@pytest.mark.parametrize("place", DOMAINS, ids=str)
async def test_another_domain_cannot_be_named(world: World, place: Place, role: Role) -> None:
    answer = await _try_in(world, role, place, "away")

    code, field = refusal(answer)
    assert code == "PERMISSION_DENIED"
    if (place.operation, role) in ALLOWED:
        assert operations.names((field or "").split(".")) == operations.names(place.path)


@pytest.mark.parametrize("place", [place for place in DOMAINS if place.operation != SILENT], ids=str)
async def test_the_system_may_name_any_domain(world: World, place: Place) -> None:
    answer = await _try_in(world, Role.SYSTEM, place, "away")

    assert refusal(answer)[0] in (None, "NOT_FOUND")  # what else the call names is in the first domain


async def _try(world: World, role: Role, operation: str, owner: str) -> Answer:
    variables = operations.filled(CALLS[operation], world.of[owner])
    return await world.try_out(CALLERS[role], operation, variables, depth=2)


async def _try_in(world: World, role: Role, place: Place, domain_id: str) -> Answer:
    variables = operations.put(CALLS[place.operation], place.path, domain_id)
    return await world.try_out(CALLERS[role], place.operation, operations.filled(variables, world.of[MINE[role]]))


async def _assert_out_of_reach(world: World, role: Role, operation: str, owner: str) -> None:
    before = await world.rows()

    answer = await _try(world, role, operation, owner)

    assert _shows_nothing(answer, operation) or refusal(answer) == NAMING_OWNERS.get(operation)
    assert await world.rows() == before


def _shows_nothing(answer: Answer, operation: str) -> bool:
    """Not found, null, an empty list, or a change of nothing."""
    if answer.error is not None:
        return answer.code == "NOT_FOUND"
    shown = answer.data[operation]
    if not isinstance(shown, dict):
        return not shown
    names = ("nodes", "results", "changedCount", "deletedCount", "replayedCount")
    return any(shown.get(name) in (0, []) for name in names)
