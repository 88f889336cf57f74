from __future__ import annotations

import base64
from typing import Any

import pytest

from resolvers import protocols
from resolvers.context import Server
from storage import ids
from storage.secrets import MASK
from tests.resolvers.callers import ADMIN, ALICE
from tests.resolvers.courier import GOOD_TOKEN
from tests.schema.asking import ask, refused

SHARED = """
  id name state data topics schedule { dayOfWeek start end timeZone offHours } tags protocolId domainId createdAt
"""
CREATE_PROJECT = f"""
mutation ($input: CreateProjectChannelInput!) {{
  createProjectChannel(input: $input) {{
    projectChannel {{ {SHARED} projectChannelId projectId notificationLevel levelMatch }}
  }}
}}
"""
CREATE_USER = f"""
mutation ($input: CreateUserChannelInput!) {{
  createUserChannel(input: $input) {{ userChannel {{ {SHARED} userChannelId userId }} }}
}}
"""
NIGHTS = {"dayOfWeek": ["MON", "FRI"], "start": "22:00", "end": "06:30"}


@pytest.fixture
async def log(server: Server) -> str:
    return (await protocols.create(server, ADMIN, name="Log", plugin_id="log")).protocol_id


async def create_project(server: Server, protocol_id: str, **changes: Any) -> Any:
    wish = {"protocolId": protocol_id, "projectId": "shop", "name": "Front", "data": {"to": 1}, **changes}
    return (await ask(server, ADMIN, CREATE_PROJECT, input=wish))["createProjectChannel"]["projectChannel"]


async def create_user(server: Server, protocol_id: str, **changes: Any) -> Any:
    wish = {"protocolId": protocol_id, "name": "Mine", "data": {"to": 1}, **changes}
    return (await ask(server, ALICE, CREATE_USER, input=wish))["createUserChannel"]["userChannel"]


async def test_a_project_channel_is_answered_with_the_defaults_of_what_was_left_out(server: Server, log: str) -> None:
    made = await create_project(server, log, schedule=NIGHTS)

    assert base64.b64decode(made.pop("id")).decode() == f"ProjectChannel:{made.pop('projectChannelId')}"
    assert made == {
        "name": "Front",
        "state": "ENABLED",
        "data": {"to": 1},
        "topics": None,
        "schedule": {**NIGHTS, "timeZone": "UTC", "offHours": "SKIP"},
        "tags": {},
        "protocolId": log,
        "domainId": "home",
        "createdAt": "2026-01-31T17:12:40.990Z",
        "projectId": "shop",
        "notificationLevel": "LV1",
        "levelMatch": "EXACT",
    }


async def test_a_user_channel_is_the_callers_when_no_user_is_named(server: Server, log: str) -> None:
    made = await create_user(server, log, topics=["a"], schedule={**NIGHTS, "timeZone": None, "offHours": "DEFER"})

    assert base64.b64decode(made.pop("id")).decode() == f"UserChannel:{made.pop('userChannelId')}"
    assert made == {
        "name": "Mine",
        "state": "ENABLED",
        "data": {"to": 1},
        "topics": ["a"],
        "schedule": {**NIGHTS, "timeZone": "UTC", "offHours": "DEFER"},
        "tags": {},
        "protocolId": log,
        "domainId": "home",
        "createdAt": "2026-01-31T17:12:40.990Z",
        "userId": "alice",
    }


async def test_secret_data_is_answered_as_a_mask(server: Server) -> None:
    secret = {"token": GOOD_TOKEN}
    vans = await protocols.create(server, ADMIN, name="Vans", plugin_id="courier", secret_data=secret)
    made = await create_project(server, vans.protocol_id, data={"door": "blue"})

    assert made["data"] == MASK


async def test_an_internal_channel_shows_its_users(server: Server) -> None:
    made = await create_project(server, ids.internal_protocol("home"), data={"users": ["alice"]})

    assert made["data"] == {"users": ["alice"]}


async def test_levels_that_are_null_are_the_defaults(server: Server, log: str) -> None:
    made = await create_project(server, log, notificationLevel=None, levelMatch=None)

    assert (made["notificationLevel"], made["levelMatch"]) == ("LV1", "EXACT")


@pytest.mark.parametrize("kind", ["Project", "User"])
async def test_a_channel_is_changed_by_its_mutations(server: Server, log: str, kind: str) -> None:
    create, caller = (create_project, ADMIN) if kind == "Project" else (create_user, ALICE)
    field, id_field = f"{kind.lower()}Channel", f"{kind.lower()}ChannelId"
    id = (await create(server, log))[id_field]
    data = await ask(
        server,
        caller,
        f"""
        mutation ($id: ID!, $schedule: ScheduleInput) {{
          update{kind}Channel(input: {{{id_field}: $id, name: "Back", data: {{to: 2}}}}) {{ {field} {{ name data }} }}
          set{kind}ChannelSchedule({id_field}: $id, schedule: $schedule) {{ {field} {{ schedule {{ start }} }} }}
          set{kind}ChannelSubscription({id_field}: $id, topics: []) {{ {field} {{ topics }} }}
          disable{kind}Channel({id_field}: $id) {{ {field} {{ state }} }}
          all: set{kind}ChannelSubscription({id_field}: $id) {{ {field} {{ topics }} }}
          always: set{kind}ChannelSchedule({id_field}: $id) {{ {field} {{ schedule {{ start }} }} }}
          enable{kind}Channel({id_field}: $id) {{ {field} {{ state }} }}
          delete{kind}Channel({id_field}: $id) {{ deletedId }}
        }}
        """,
        id=id,
        schedule=NIGHTS,
    )

    assert [answer.get(field, answer) for answer in data.values()] == [
        {"name": "Back", "data": {"to": 2}},
        {"schedule": {"start": "22:00"}},
        {"topics": []},
        {"state": "DISABLED"},
        {"topics": None},
        {"schedule": None},
        {"state": "ENABLED"},
        {"deletedId": id},
    ]
    get = f"query ($id: ID!) {{ {field}({id_field}: $id) {{ name }} }}"
    assert await ask(server, caller, get, id=id) == {field: None}


async def test_project_channels_are_listed_by_each_of_their_filters(server: Server, log: str) -> None:
    wanted = await create_project(server, log, name="One", projectId="farm", notificationLevel="LV2")
    await create_project(server, log)
    query = "query ($filter: ProjectChannelFilter) { projectChannels(filter: $filter) { nodes { name } totalCount } }"
    for filter in (
        {"projectChannelId": wanted["projectChannelId"]},
        {"name": "One"},
        {"notificationLevel": "LV2"},
        {"projectId": "farm"},
        {"projectId": "farm", "protocolId": log, "state": "ENABLED"},
    ):
        found = (await ask(server, ADMIN, query, filter=filter))["projectChannels"]

        assert found == {"nodes": [{"name": "One"}], "totalCount": 1}
    assert (await ask(server, ADMIN, query))["projectChannels"]["totalCount"] == 2


async def test_user_channels_are_listed_by_each_of_their_filters(server: Server, log: str) -> None:
    wanted = await create_user(server, log, name="One")
    other = {"protocolId": log, "name": "Other", "data": {}, "userId": "bob"}
    await ask(server, ADMIN, CREATE_USER, input=other)
    query = "query ($filter: UserChannelFilter) { userChannels(filter: $filter) { nodes { name } totalCount } }"
    for filter in (
        {"userChannelId": wanted["userChannelId"]},
        {"name": "One"},
        {"userId": "alice"},
        {"userId": "alice", "protocolId": log, "state": "ENABLED"},
    ):
        found = (await ask(server, ADMIN, query, filter=filter))["userChannels"]

        assert found == {"nodes": [{"name": "One"}], "totalCount": 1}
    assert (await ask(server, ADMIN, query))["userChannels"]["totalCount"] == 2
    assert (await ask(server, ALICE, query))["userChannels"]["totalCount"] == 1


async def test_errors_have_a_code_and_the_path_inside_the_input(server: Server, log: str) -> None:
    wish: dict[str, Any] = {"protocolId": log, "name": "Mine", "data": {}}

    async def code(**changes: Any) -> tuple[str, str | None]:
        return await refused(server, ALICE, CREATE_USER, input={**wish, **changes})

    assert await code(schedule={**NIGHTS, "start": "25:00"}) == ("INVALID_ARGUMENT", "schedule.start")
    assert await code(schedule={**NIGHTS, "timeZone": ""}) == ("INVALID_ARGUMENT", "schedule.timeZone")
    assert await code(topics=[""]) == ("INVALID_ARGUMENT", "topics.0")
    assert await code(userId="bob") == ("PERMISSION_DENIED", "userId")
    assert await code(domainId="away") == ("PERMISSION_DENIED", "domainId")
    assert await code(protocolId="protocol-000000000000") == ("NOT_FOUND", "protocolId")
    assert await code(data=[]) == ("INVALID_ARGUMENT", "data")
    everything = {"protocolId": log, "projectId": "shop", "name": "All", "data": {}, "notificationLevel": "ALL"}
    assert await refused(server, ADMIN, CREATE_PROJECT, input=everything) == ("INVALID_ARGUMENT", "notificationLevel")
