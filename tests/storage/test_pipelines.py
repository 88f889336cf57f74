"""Pipelines: on both engines they make of generated rows what a small model in memory makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import statistics
from storage.engine import Database
from storage.pipelines import document_functions
from storage.pipelines.stages import (
    Count,
    Group,
    GroupField,
    GroupOperator,
    Key,
    Limit,
    Match,
    Member,
    Operand,
    Project,
    ProjectOperator,
    Skip,
    Sort,
    Stage,
    Unwind,
)
from storage.queries import sorting
from storage.queries.operators import EVERYTHING, Filter, Question
from storage.statistics import Record, Wanted
from tests.storage import pipeline_model
from tests.storage.asked import store

NOW = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)
AT_MOST = timedelta(seconds=60)

# Few values, so that they meet. Sums of quarters are exact, whatever their order.
TEXTS = st.text("abA\u212aß\U0001f600'\"", max_size=2)
NUMBERS = st.sampled_from([-1.5, -1, 0, -0.0, 0.25, 1, 1.0, 2, 7, 2**53 + 1, 2**62])
SMALL = st.sampled_from([-1.5, -1, 0, 0.25, 1, 1.0, 2, 7])
SCALARS = st.none() | st.booleans() | SMALL | TEXTS
LISTS = st.lists(SCALARS, max_size=3)
OBJECTS = st.dictionaries(st.sampled_from(["a", "b", "n"]), SCALARS, max_size=2)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "s": SCALARS,
        "l": LISTS | SCALARS,
        "o": OBJECTS,
        "d": st.lists(OBJECTS | SCALARS, max_size=3),
        "big": NUMBERS,
    },
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"topic": TEXTS, "isRead": st.booleans(), "userId": st.none() | TEXTS, "message": MESSAGES},
    ),
    max_size=6,
)

SCALAR_KEYS = ["topic", "isRead", "userId", "message.s", "message.o.n", "message.big", "createdAt"]
ANY_KEYS = [*SCALAR_KEYS, "message.l", "message.o", "message.d", "message.d.n", "message.none"]
OF_ANY = [GroupOperator.FIRST, GroupOperator.LAST, GroupOperator.PUSH, GroupOperator.MAX, GroupOperator.MIN]
CONDITIONS = st.lists(
    st.sampled_from([Filter("isRead", "eq", True), Filter("message.s", "gt", 0), Filter("topic", "contain", "a")]),
    max_size=1,
)


def _named(prefix: str, fields: Sequence[GroupField]) -> list[GroupField]:
    """The same under names that differ, and that no SQL may be made of."""
    return [
        GroupField(f"{prefix} {index}'\"; --%s:x", each.operator, each.key, each.members, each.conditions)
        for index, each in enumerate(fields)
    ]


def _group_field(operators: Sequence[GroupOperator], keys: Sequence[str]) -> st.SearchStrategy[GroupField]:
    return st.builds(
        GroupField, st.just(""), st.sampled_from(operators), st.sampled_from(keys), st.just(()), CONDITIONS
    )


FIELDS = st.one_of(
    st.builds(GroupField, st.just(""), st.just(GroupOperator.COUNT), conditions=CONDITIONS),
    _group_field([GroupOperator.SUM, GroupOperator.AVERAGE], ["message.s", "message.o.n", "message.l"]),
    _group_field(OF_ANY, ANY_KEYS),
    _group_field([GroupOperator.ADD_TO_SET], SCALAR_KEYS),
    _group_field([GroupOperator.MERGE_OBJECTS], ["message", "message.o"]),
    st.builds(
        GroupField,
        st.just(""),
        st.just(GroupOperator.PUSH),
        members=st.just([Member("topic", "t"), Member("message.l", "l'")]),
        conditions=CONDITIONS,
    ),
)
KEYS = st.lists(st.sampled_from(SCALAR_KEYS), max_size=2, unique=True).map(
    lambda keys: [Key(key, f"key{index}") for index, key in enumerate(keys)]
)
GROUPS = st.builds(Group, KEYS, st.lists(FIELDS, min_size=1, max_size=4).map(lambda fields: _named("f", fields)))
SORTS = st.lists(st.builds(sorting.Sort, st.sampled_from(ANY_KEYS), st.booleans()), min_size=1, max_size=2).map(Sort)
BEFORE: st.SearchStrategy[Stage] = st.one_of(
    st.builds(Match, st.just(Question([Filter("message.s", "not", None)]))),
    SORTS,
    st.builds(Limit, st.integers(1, 4)),
    st.builds(Skip, st.integers(0, 2)),
    st.builds(Unwind, st.sampled_from(["message.l", "message.d", "message.s", "topic", "userId", "message.o.n"])),
)
PLAIN = st.builds(Operand, st.sampled_from(ANY_KEYS))
AMOUNTS = st.sampled_from(["message.s", "message.o.n", "message.l"]).map(Operand)
CALCULATED = st.builds(
    Operand,
    st.none(),
    st.sampled_from(
        [
            ProjectOperator.SUM,
            ProjectOperator.ADD,
            ProjectOperator.SUBTRACT,
            ProjectOperator.MULTIPLY,
            ProjectOperator.DIVIDE,
        ]
    ),
    st.lists(AMOUNTS, min_size=2, max_size=2),
)
SIZES = st.builds(Operand, st.sampled_from(["message.l", "message.d", "message"]), st.just(ProjectOperator.SIZE))
PROJECTS = st.lists(PLAIN | CALCULATED | SIZES, min_size=1, max_size=3).map(
    lambda operands: Project([(f"p{index}", each) for index, each in enumerate(operands)])
)
# After a group or a projection only its names are known; of each, one field is there.
LAST: st.SearchStrategy[list[Stage]] = st.sampled_from([[], [Count("n")], [Skip(1)], [Limit(1)]])
STAGES: st.SearchStrategy[list[Stage]] = st.builds(
    lambda before, main, last: [*before, main, *last], st.lists(BEFORE, max_size=3), GROUPS | PROJECTS, LAST
)


@settings(max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, pipelines=st.lists(STAGES, min_size=3, max_size=6), key=st.sampled_from([*SCALAR_KEYS, "message.l"]))
async def test_an_engine_makes_what_the_model_makes(
    database: Database, rows: list[dict[str, Any]], pipelines: list[list[Stage]], key: str
) -> None:
    said = [{**row, "createdAt": NOW + timedelta(hours=number // 2)} for number, row in enumerate(rows)]
    scope = await store(database, said)
    shown = [{**row, "createdAt": _spelled(row["createdAt"])} for row in said]
    async with database.read(at_most=AT_MOST) as session:

        async def read(**wanted: Any) -> str | None:
            asked = Wanted(EVERYTHING, **wanted)
            found = await statistics.read(session, Record.NOTIFICATION, scope, asked)
            return document_functions.canonical(found.results)

        for stages in pipelines:
            expected = document_functions.canonical(pipeline_model.run(shown, stages))

            assert await read(stages=stages) == expected
        assert await read(distinct=key) == document_functions.canonical(pipeline_model.distinct(shown, key))


def _spelled(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
