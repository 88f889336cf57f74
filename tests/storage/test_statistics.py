"""Statistics: what each record shows, what comes of it on both engines, and where too much of it ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dispatch.schedules import Schedule
from resolvers.stages import MAX_STAGES
from storage import statistics
from storage.engine import Database
from storage.errors import TooCostly
from storage.models import DayOfWeek, NotificationUsage
from storage.pipelines import dates, values
from storage.pipelines.stages import (
    Count,
    Group,
    GroupField,
    GroupOperator,
    Key,
    Limit,
    Match,
    Operand,
    Project,
    ProjectOperator,
    Skip,
    Sort,
    Stage,
    Unwind,
)
from storage.queries import sorting
from storage.queries.fields import NOTIFICATION, USER_CHANNEL
from storage.queries.operators import EVERYTHING, Filter, Question, Unaskable
from storage.scope import Scope
from storage.statistics import Record, Result, Wanted
from tests.dispatch import rows
from tests.storage import asked

NOW = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)
AT_MOST = timedelta(seconds=30)
HOSTILE = ["a'; DROP TABLE notification; --", '"', "%s", ":x", "{0}", "\\", "f0", "select", "$1"[::-1], "\U0001f600"]


async def read(
    database: Database,
    scope: Scope,
    *stages: Stage,
    record: Record = Record.NOTIFICATION,
    at_most: timedelta = AT_MOST,
    **wanted: Any,
) -> Result:
    question = Wanted(**{"question": EVERYTHING, "stages": stages, **wanted})
    async with database.read(at_most=at_most) as session:
        return await statistics.read(session, record, scope, question)


async def said(database: Database, *messages: dict[str, Any]) -> Scope:
    return await asked.store(database, [{"message": message, "createdAt": NOW} for message in messages])


def keyed(*keys: Key, fields: Sequence[GroupField] = ()) -> Group:
    return Group(keys, fields)


async def test_a_record_without_a_projection_has_all_that_the_api_shows(database: Database) -> None:
    scope = await said(database, {"title": "Disk full"})

    [row] = (await read(database, scope, Limit(1))).results

    assert list(row) == list(NOTIFICATION.fields)
    assert (row["isRead"], row["message"], row["createdAt"]) == (
        False,
        {"title": "Disk full"},
        "2026-01-31T17:12:40.990Z",
    )


async def test_names_are_no_sql(database: Database) -> None:
    scope = await said(database, {"a": 1})
    everything = keyed(
        *(Key("topic", name) for name in HOSTILE),
        fields=[GroupField(f"{name} count", GroupOperator.COUNT) for name in HOSTILE],
    )

    [row] = (await read(database, scope, everything)).results

    assert row == dict.fromkeys(HOSTILE, "t") | {f"{name} count": 1 for name in HOSTILE}
    for name in HOSTILE:
        counted = (await read(database, scope, Project([(name, Operand("message.a"))]), Count(name))).results
        assert counted == [{name: 1}]
        assert (await read(database, scope, keyed(Key(f"message.{name}", "x")))).results == [{"x": None}]


async def test_a_date_is_written_in_every_format(database: Database) -> None:
    moments = [NOW, datetime(2024, 12, 30, tzinfo=UTC), datetime(2027, 1, 3, 23, 59, 59, 1_000, tzinfo=UTC)]
    scope = await asked.store(database, [{"createdAt": moment} for moment in moments])
    form = 'YYYY "\\' + " ".join(dates.TOKENS)

    for name, text in {"all": form, "empty quotes": '""', "letters": "Q%YDDD%%"}.items():
        found = (await read(database, scope, keyed(Key("createdAt", "date", text)))).results
        assert (name, [row["date"] for row in found]) == (name, sorted({dates.written(each, text) for each in moments}))
    assert dates.written(NOW, "%Y-%m-%dT%H:%M:%S.%LZ %j %u %G-W%V %%") == "2026-01-31T17:12:40.990Z 031 6 2026-W05 %"
    for part, numbers in {"year": [2024, 2026, 2027], "month": [1, 12], "day": [3, 30, 31]}.items():
        found = (await read(database, scope, keyed(Key("createdAt", "number", part)))).results
        assert [row["number"] for row in found] == numbers


async def test_numbers_stay_what_they_are(database: Database) -> None:
    scope = await said(database, {"n": 2**60}, {"n": 1.5}, {"n": "7"}, {"n": True}, {"n": None}, {"n": 1e300})
    operators = [GroupOperator.SUM, GroupOperator.MIN, GroupOperator.MAX, GroupOperator.AVERAGE]
    fields = [GroupField(operator, operator, "message.n") for operator in operators]

    [row] = (await read(database, scope, keyed(fields=fields))).results

    assert row == {"sum": 2.0**60 + 1.5, "min": 1.5, "max": True, "average": (2.0**60 + 1.5) / 2}
    first = Group([], [GroupField("first", GroupOperator.FIRST, "message.n")])
    assert (await read(database, scope, first)).results == [{"first": 2**60}]


async def test_of_truths_there_is_a_greatest_and_a_least(database: Database) -> None:
    scope = await asked.store(database, [{"isRead": is_read, "createdAt": NOW} for is_read in (False, True, False)])
    ends = [GroupField("most", GroupOperator.MAX, "isRead"), GroupField("least", GroupOperator.MIN, "isRead")]

    assert (await read(database, scope, keyed(fields=ends))).results == [{"most": True, "least": False}]


async def test_of_one_number_the_sum_is_itself_and_it_can_be_kept_in_a_list(database: Database) -> None:
    scope = await said(database, {}, {})
    counted = keyed(Key("topic", "topic"), fields=[GroupField("n", GroupOperator.COUNT)])
    listed = keyed(fields=[GroupField("all", GroupOperator.PUSH, "n")])

    total = Project([("total", Operand("n", ProjectOperator.SUM))])
    assert (await read(database, scope, counted, total)).results == [{"topic": "t", "total": 2}]
    assert (await read(database, scope, counted, listed)).results == [{"all": [2]}]


async def test_entries_of_either_form_make_an_object_and_others_are_left_out(database: Database) -> None:
    entries = [["a", 1], ["b"], ["c", 2, 3], {"k": "d", "v": 4}, {"k": "e"}, {"key": "f", "value": [5]}]
    others = [[], [6, 7], {"k": 8}, {"name": "g"}, "h", 9, None, [None, 1]]
    scope = await said(database, {"l": [*entries, *others, ["a", 10]]}, {"l": {"a": 1}}, {})
    made = Project([("made", Operand("message.l", ProjectOperator.ARRAY_TO_OBJECT))])

    results = (await read(database, scope, made)).results

    assert results == [
        {"made": {"a": 10, "b": None, "c": 2, "d": 4, "e": None, "f": [5]}},
        {"made": None},
        {"made": None},
    ]


async def test_no_calculation_leaves_the_range_of_doubles(database: Database) -> None:
    scope = await said(database, {"huge": 1e30, "tiny": 1e-30, "less": 1e-300, "more": 1e300})
    multiplied = Operand(None, ProjectOperator.MULTIPLY, [Operand("message.huge")] * 10)
    divided = Operand(None, ProjectOperator.DIVIDE, [Operand("message.huge"), Operand("message.tiny")])
    by_less = Operand(None, ProjectOperator.DIVIDE, [Operand("message.huge"), Operand("message.less")])
    beyond = Operand(None, ProjectOperator.ADD, [Operand("message.more"), Operand("message.huge")])
    made = [("multiplied", multiplied), ("divided", divided), ("byLess", by_less), ("beyond", beyond)]

    [row] = (await read(database, scope, Project(made))).results

    assert row == {"multiplied": pytest.approx(1e300), "divided": pytest.approx(1e60), "byLess": None, "beyond": None}


async def test_of_nothing_there_is_nothing(database: Database) -> None:
    fields = [GroupField("count", GroupOperator.COUNT)]
    for stage in (keyed(fields=fields), Count("n"), keyed(Key("topic", "topic")), Limit(1)):
        assert (await read(database, Scope("empty"), stage)).results == []
    assert (await read(database, Scope("empty"), distinct="topic")).results == []


async def test_a_page_says_how_many_results_there_are(database: Database) -> None:
    scope = await asked.store(database, [{"topic": topic, "createdAt": NOW} for topic in "abcde"])

    found = await read(database, scope, distinct="topic", limit=2, offset=1)
    behind = await read(database, scope, keyed(Key("topic", "t")), limit=2, offset=10)

    assert (found.results, found.total_count) == (["b", "c"], 5)
    assert (behind.results, behind.total_count) == ([], 5)
    assert (await read(database, scope, distinct="topic")).total_count is None


async def test_pages_of_what_is_ordered_alike_share_nothing_and_leave_nothing_out(database: Database) -> None:
    """One rank has every object, every list, and what long texts begin with."""
    found: list[Any] = [*({"n": number} for number in range(20)), *([[number]] for number in range(20))]
    found += ["x" * 300 + str(number) for number in range(20)]
    scope = await said(database, *({"found": each} for each in found))

    ways: list[dict[str, Any]] = [{"distinct": "message.found"}, {"stages": [keyed(Key("message.found", "found"))]}]
    for asked_for in ways:
        whole = (await read(database, scope, **asked_for)).results
        assert len(whole) == 60
        for limit in (1, 7):
            pages = [await read(database, scope, limit=limit, offset=at, **asked_for) for at in range(0, 60, limit)]
            assert [each for page in pages for each in page.results] == whole


async def test_a_schedule_is_shown_as_the_api_spells_it(database: Database) -> None:
    stored = Schedule((DayOfWeek.MON, DayOfWeek.TUE), "22:00", "06:30", "Asia/Seoul").to_json()
    protocol = rows.protocol()
    mine = {"protocol_id": protocol.protocol_id, "project_id": None, "user_id": "alice"}
    always, nights = rows.channel(**mine, name="A"), rows.channel(**mine, name="B", schedule=stored)
    await rows.store(database, protocol, always, nights)

    async def channels(*stages: Stage) -> list[Any]:
        return (await read(database, Scope("d"), *stages, record=Record.USER_CHANNEL)).results

    by_name, *_ = await channels(keyed(Key("name", "name"), fields=[GroupField("all", GroupOperator.COUNT)]))
    assert by_name == {"name": "A", "all": 1}
    assert list(values.OURS.values()) == list(stored)
    shown = {name: stored[key] for name, key in values.OURS.items()}
    assert await channels(keyed(Key("name", "name"), Key("schedule", "at"))) == [
        {"name": "A", "at": None},
        {"name": "B", "at": shown},
    ]
    days = await channels(Unwind("schedule.day_of_week"), keyed(Key("schedule.dayOfWeek", "day")))
    assert days == [{"day": "MON"}, {"day": "TUE"}]
    itself = await channels(Unwind("schedule"), Match(Question([Filter("schedule.day_of_week", "eq", "MON")])))
    assert [row["schedule"] for row in itself] == [shown]
    assert set(USER_CHANNEL.fields) == set((await channels(Limit(1)))[0])


async def test_the_internal_protocol_is_counted_whether_or_not_it_is_stored(database: Database) -> None:
    await rows.store(database, rows.protocol(name="Vans"))

    found = await read(database, Scope("d"), distinct="name", record=Record.PROTOCOL)

    assert found.results == ["Internal", "Vans"]


async def test_usages_have_the_months_and_days_of_the_original(database: Database) -> None:
    days = [("2026-01-30", 3), ("2026-01-31", 4), ("2026-02-01", 5)]
    await rows.store(
        database, *(NotificationUsage(protocol_id="p", date=day, domain_id="d", count=number) for day, number in days)
    )
    by_month = keyed(Key("usage_month", "month"), fields=[GroupField("count", GroupOperator.SUM, "count")])

    found = await read(database, Scope("d"), by_month, record=Record.NOTIFICATION_USAGE)

    assert found.results == [{"month": "2026-01", "count": 7}, {"month": "2026-02", "count": 5}]


async def test_a_stage_sees_only_what_the_one_before_it_made(database: Database) -> None:
    scope = await said(database, {"a": {"b": 1}})
    group = keyed(Key("message.a", "a b"))
    match = Match(Question([Filter("a b.b", "eq", 1)]))

    assert (await read(database, scope, group, match, Project([("x", Operand("a b.b"))]))).results == [
        {"a b": {"b": 1}, "x": 1}
    ]
    with pytest.raises(Unaskable) as refused:
        await read(database, scope, group, Match(Question([Filter("topic", "eq", "t")])))
    assert refused.value.field == "aggregate.1.match.filter.0.key"


@pytest.mark.parametrize(
    "stage",
    [
        Limit(5),
        Skip(0),
        Sort([sorting.Sort("topic")]),
        Project([("topic", Operand("topic"))]),
        keyed(Key("topic", "topic"), fields=[GroupField("all", GroupOperator.PUSH, "topic")]),
    ],
)
async def test_any_stage_can_be_repeated(database: Database, stage: Stage) -> None:
    scope = await said(database, {})

    [row] = (await read(database, scope, *[stage] * MAX_STAGES)).results

    assert row["topic"] == "t"


async def test_what_is_null_is_neither_true_nor_false(database: Database) -> None:
    scope = await said(database, {})
    never = GroupField("seen", GroupOperator.FIRST, "isRead", conditions=[Filter("topic", "eq", "nothing")])

    for operator, value, found in (("gte", False, 0), ("lt", True, 0), ("eq", False, 0), ("eq", None, 1)):
        asked_for = Match(Question([Filter("seen", operator, value)]))
        assert len((await read(database, scope, keyed(fields=[never]), asked_for)).results) == found


async def test_a_number_is_the_same_however_it_is_spelled(database: Database) -> None:
    scope = await said(database, {"n": 10**16}, {"n": 1e16}, {"n": 2**53 + 1}, {"n": 1234567890123456700}, {"n": 1e20})

    counted = keyed(Key("message.n", "n"), fields=[GroupField("all", GroupOperator.COUNT)])

    assert (await read(database, scope, counted)).results == [
        {"n": 2**53 + 1, "all": 1},
        {"n": 10**16, "all": 2},
        {"n": 1234567890123456700, "all": 1},
        {"n": 1e20, "all": 1},
    ]


async def test_what_is_ordered_alike_is_in_the_same_order_everywhere(database: Database) -> None:
    texts = ["x" * 255 + "A", "x" * 255 + "a"]
    objects = [{"a": 0.5, "b": "\x01"}, {"a": [1, "é"]}, {"aa": 1}, {"aa": 2, "b": 1}, {"b": 1e300}, {"é": 1e-7}, {}]
    ordered = [*texts, *objects, ["a"], [1, 2], []]
    scope = await said(database, *[{"v": value} for value in reversed(ordered)])

    assert (await read(database, scope, keyed(Key("message.v", "v")))).results == [{"v": value} for value in ordered]
    gathered = keyed(fields=[GroupField("all", GroupOperator.ADD_TO_SET, "message.v")])
    assert (await read(database, scope, gathered)).results == [{"all": ordered}]


async def test_what_takes_too_long_is_ended(database: Database) -> None:
    scope = await said(database, *[{name: [*range(1_000)] for name in "abcde"}] * 3)
    unwound = [Unwind(f"message.{name}") for name in "abcde"]

    with pytest.raises(TooCostly):
        await read(database, scope, *unwound, Count("n"), at_most=timedelta(seconds=0.3))

    assert (await read(database, scope, Count("n"))).results == [{"n": 3}]


async def test_what_is_too_much_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    scope = await said(database, {"t": "x" * 50}, {"t": "y" * 50}, {"t": "z" * 50})
    push = keyed(fields=[GroupField("all", GroupOperator.PUSH, "message.t")])
    gather = keyed(fields=[GroupField("all", GroupOperator.ADD_TO_SET, "topic")])

    async def refusal(*stages: Stage, **wanted: Any) -> str:
        with pytest.raises(Unaskable) as refused:
            await read(database, scope, *stages, **wanted)
        return refused.value.field

    with monkeypatch.context() as patched:
        patched.setattr(statistics, "MAX_ROWS", 2)
        assert await refusal(Unwind("topic")) == "aggregate"
        assert await refusal(distinct="message.t") == "distinct"
        assert len((await read(database, scope, Limit(2))).results) == 2
    with monkeypatch.context() as patched:
        patched.setattr(statistics, "MAX_RESULT_BYTES", 100)
        assert await refusal(Project([("t", Operand("message.t"))])) == "aggregate"
    with monkeypatch.context() as patched:
        patched.setattr(statistics, "MAX_GATHERED", 2)
        assert await refusal(Limit(3), push) == "aggregate.1.group.fields.0"
        assert (await read(database, scope, gather)).results == [{"all": ["t"]}]  # which is one value
    with monkeypatch.context() as patched:
        patched.setattr(statistics, "MAX_GATHERED_CHARACTERS", 100)
        assert await refusal(push) == "aggregate.0.group.fields.0"
