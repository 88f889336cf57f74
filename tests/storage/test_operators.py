"""The operators of the query format: both engines find what a small model in memory finds, and what the tables say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.engine import Database
from storage.models import NotificationType
from storage.queries import operators
from storage.queries.fields import NOTIFICATION
from storage.queries.operators import Filter, Question, Unaskable
from tests.storage import model
from tests.storage.asked import Asked, find, question, store

NOW = datetime(2026, 1, 31, 17, 12, 40, 990_000, tzinfo=UTC)

# Few values, so that they meet: with the Kelvin sign, which is a k, and letters that fold to two.
TEXTS = st.text("abAK\u212aßẞ.1\n", max_size=4)
NUMBERS = st.sampled_from([-1.5, -1, -0.0, 0, 0.1, 0.5, 1, 1.0, 2, 10, 2**53, 1e300, 5e-324])
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
NAMES = st.sampled_from(["a", "b", "0", 'q"'])
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
MOMENTS = st.sampled_from([NOW + timedelta(hours=hours) for hours in (-30, -24, -18, -1, 0, 1)])

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "topic": TEXTS,
            "message": st.dictionaries(NAMES, JSON, max_size=3),
            "isRead": st.booleans(),
            "userId": st.none() | TEXTS,
            "readAt": st.none() | MOMENTS,
            "createdAt": MOMENTS,
            "notificationType": st.sampled_from(NotificationType),
        }
    ),
    min_size=1,
    max_size=5,
)

DATES = st.builds(datetime.isoformat, MOMENTS) | st.sampled_from(
    ["2026", "2026-01", "2026-01-31", "2026-01-31T19:12:40.990+02:00"]
)
DISTANCES = st.sampled_from(["now", "now/d", "now - 1h", "now - 24h", "now + 1h", "now/d - 1d", "now/d + 18h"])
PATTERNS = st.lists(
    st.sampled_from(
        ["a", "b", "k", "ß", r"\.", ".", "[ab]", "[^a]", "[.-1b]", r"\d", r"\W", "(ab|k)", "a*", "(?:b)+?"]
    ),
    max_size=3,
).map("".join)
ANCHORED = st.builds("{}{}{}".format, st.sampled_from(["", "^"]), PATTERNS, st.sampled_from(["", "$", "|b"]))
FINDERS = st.sampled_from(["eq", "not", "gt", "gte", "lt", "lte", "in", "not_in"])


def _values(operator: str, scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    if operator in ("in", "not_in"):
        return st.lists(scalars, max_size=3)
    return scalars.filter(lambda value: value is not None) if operator in ("gt", "gte", "lt", "lte") else scalars


def _asked(keys: list[str], scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[Asked]:
    return FINDERS.flatmap(lambda how: st.tuples(st.sampled_from(keys), st.just(how), _values(how, scalars)))


PATHS = ["message.a", "message.a.b", "message.b.a", "message.0", 'message.q"', "message"]
PLAIN = ["topic", "userId", "isRead", "notificationType"]
MATCHED = st.dictionaries(st.sampled_from(["a", "b", "a.b"]), SCALARS, min_size=1, max_size=2)
FILTERS: st.SearchStrategy[Asked] = st.one_of(
    _asked(PATHS, SCALARS),
    _asked(PLAIN, SCALARS | st.sampled_from(list(NotificationType))),
    _asked(["readAt", "createdAt"], st.none() | DATES),
    st.tuples(st.sampled_from(PATHS + PLAIN), st.sampled_from(["contain", "not_contain"]), TEXTS),
    st.tuples(
        st.sampled_from(PATHS + PLAIN), st.sampled_from(["contain_in", "not_contain_in"]), st.lists(TEXTS, max_size=2)
    ),
    st.tuples(st.sampled_from(PATHS + PLAIN + ["readAt"]), st.just("exists"), st.booleans()),
    st.tuples(st.sampled_from(PATHS), st.just("match"), MATCHED),
    st.tuples(st.sampled_from(PATHS + PLAIN), st.just("regex"), ANCHORED),
    st.tuples(st.sampled_from(PATHS + PLAIN), st.just("regex_in"), st.lists(ANCHORED, max_size=2)),
    st.tuples(
        st.sampled_from(["readAt", "createdAt"]), st.sampled_from([f"datetime_{each}" for each in model.ORDERS]), DATES
    ),
    st.tuples(
        st.sampled_from(["readAt", "createdAt"]),
        st.sampled_from([f"timediff_{each}" for each in model.ORDERS]),
        DISTANCES,
    ),
)


@settings(max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, filters=st.lists(FILTERS, min_size=1, max_size=8), either=st.lists(FILTERS, max_size=2))
async def test_an_engine_finds_what_the_model_finds(
    database: Database, rows: list[dict[str, Any]], filters: list[Asked], either: list[Asked]
) -> None:
    scope = await store(database, rows)
    for every in [*([each] for each in filters), filters[:2]]:
        expected = [index for index, row in enumerate(rows) if model.finds(row, every, either, NOW)]

        assert await find(database, scope, question(every, either, now=NOW)) == expected


SAID = {
    "createdAt": NOW,
    "userId": "alice",
    "message": {"n": 2**60, "deep": {"list": [[{"a": 1}], {"a": 2}]}, "none": None},
}


EASILY_GOT_WRONG: list[tuple[Asked, bool]] = [
    (("message.n", "eq", 2**60 + 1), True),  # as doubles
    (("message.n", "eq", float(2**60)), True),
    (("message.n", "eq", str(2**60)), False),
    (("message.deep.list.a", "eq", 2), True),
    (("message.deep.list.a", "eq", 1), False),  # in a list in a list
    (("message.deep.list.1.a", "eq", 2), False),  # a number is no position
    (("message.none", "eq", None), True),
    (("message.none.more", "eq", None), True),
    (("message.none", "exists", True), True),
    (("message.none.more", "exists", False), True),
    (("message", "contain", "none"), False),  # an object is no text
    (("is_read", "eq", False), True),
    (("isRead", "eq", "false"), False),
    (("is_read", "not", "false"), True),
    (("isRead", "gte", False), True),
    (("isRead", "in", [None, False, 0]), True),
    (("isRead", "in", [0, 1]), False),
    (("userId", "gt", 1), False),
    (("user_id", "contain", ""), True),
    (("projectId", "contain", ""), False),
    (("readAt", "eq", None), True),
    (("readAt", "not_in", ["2026-01-31"]), True),
    (("createdAt", "eq", "2026-01-31T17:12:40.9909Z"), True),  # cut to the millisecond
    (("createdAt", "datetime_gt", "0001-01-01T00:00"), True),
    (("createdAt", "datetime_lt", "9999-12-31T23:59:59.999"), True),
    (("createdAt", "timediff_lte", "now"), True),
    (("createdAt", "timediff_gt", "now/m - 50000w"), True),
]


async def test_what_is_easily_got_wrong(database: Database) -> None:
    scope = await store(database, [SAID])
    found = [(asked, await find(database, scope, question([asked], now=NOW)) == [0]) for asked, _ in EASILY_GOT_WRONG]

    assert found == EASILY_GOT_WRONG


async def test_no_name_in_json_is_code(database: Database) -> None:
    names = ["'", '"', "\\", "$", "*", "@", "?", "[0]", "a b", "é", "😀", "\n", "\u0001", "::", ":x", "%s", "%(a)s"]
    scope = await store(database, [{"createdAt": NOW, "message": {name: {name: name}}} for name in names])

    for number, name in enumerate(names):
        asked = [(f"message.{name}.{name}", "eq", name), (f"message.{name}.{name}", "contain", name)]
        assert await find(database, scope, question(asked, now=NOW)) == [number]


async def test_a_keyword_narrows_what_the_filters_find(database: Database) -> None:
    rows: list[dict[str, Any]] = [
        {"topic": "PODS", "message": {}},
        {"message": {"title": "the pods"}},
        {"message": {"description": "a pod is gone"}},
        {"message": {"text": "pods"}},
    ]
    scope = await store(database, [{"createdAt": NOW, **row} for row in rows])

    assert await find(database, scope, question(keyword=" gone  pods ", now=NOW)) == [0, 1, 2]
    assert await find(database, scope, question(keyword="\t ", now=NOW)) == [0, 1, 2, 3]
    either = [("topic", "eq", "PODS"), ("message.text", "eq", "pods")]
    assert await find(database, scope, question(either=either, keyword="pods", now=NOW)) == [0]


async def test_the_largest_question_is_answered(database: Database) -> None:
    scope = await store(database, [{"createdAt": NOW, "message": {"a": "x" * 10_000}}])
    deep = "message" + ".a" * 7
    lists = [("message.a", "in", [f"{number}" * 100 for number in range(900)]), ("topic", "in", ["t"] * 50)]
    patterns = [("message.a", "regex_in", ["[^a]{0,255}y" + chr(0x3B1) * 20] * 20)]
    texts = [("message.a", "not_contain_in", ["é" * 40 + str(number) for number in range(30)])]
    either = [*lists, *patterns, *texts, *[(deep, "eq", number) for number in range(46)]]

    assert await find(database, scope, question(either=either, keyword="t " * 127, now=NOW)) == [0]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (("nothing", "eq", 1), "key"),
        (("content_id", "eq", 1), "key"),
        (("decisions", "exists", True), "key"),
        (("", "eq", 1), "key"),
        (("message.", "eq", 1), "key"),
        (("message..a", "eq", 1), "key"),
        (("topic.a", "eq", 1), "key"),
        (("message.a.a.a.a.a.a.a.a", "eq", 1), "key"),
        (("message." + "a" * 255, "eq", 1), "key"),
        (("message.\0", "eq", 1), "key"),
        (("message.\ud800", "eq", 1), "key"),
        (("topic", "EQ", "x"), "operator"),
        (("topic", "", "x"), "operator"),
        (("topic", "datetime_gt", "2026-01-31"), "operator"),
        (("message.at", "timediff_gt", "now"), "operator"),
        (("topic", "match", {"a": 1}), "operator"),
        (("message.a", "match", {"a.a.a.a.a.a.a.a.a": 1}), "value"),
        (("message.a", "match", {"a" * 256: 1}), "value"),
        (("topic", "eq", ["x"]), "value"),
        (("message.a", "eq", {"a": 1}), "value"),
        (("message.a", "eq", 2**63), "value"),
        (("topic", "eq", "\0"), "value"),
        (("topic", "eq", "\ud800"), "value"),
        (("topic", "eq", "x" * 4_097), "value"),
        (("topic", "gt", None), "value"),
        (("topic", "in", "x"), "value"),
        (("topic", "in", [["x"]]), "value"),
        (("topic", "not_in", {"a": 1}), "value"),
        (("topic", "contain", None), "value"),
        (("topic", "contain", 1), "value"),
        (("topic", "contain", "x" * 256), "value"),
        (("topic", "contain_in", "x"), "value"),
        (("topic", "contain_in", [1]), "value"),
        (("topic", "contain_in", ["x"] * 101), "value"),
        (("topic", "not_contain_in", ["x" * 205] * 20), "value"),
        (("topic", "exists", "true"), "value"),
        (("topic", "exists", None), "value"),
        (("message.a", "match", []), "value"),
        (("message.a", "match", {}), "value"),
        (("message.a", "match", ["x"]), "value"),
        (("message.a", "match", "x"), "value"),
        (("message.a", "match", {"a": {"$gt": 1}}), "value"),
        (("message.a", "match", {"$or": 1}), "value"),
        (("message.a", "match", {"a.": 1}), "value"),
        (("message.a", "match", {"\0": 1}), "value"),
        (("message.a", "match", {str(number): 1 for number in range(17)}), "value"),
        (("topic", "regex", "("), "value"),
        (("topic", "regex", None), "value"),
        (("topic", "regex_in", ["a", "("]), "value"),
        (("createdAt", "eq", "yesterday"), "value"),
        (("createdAt", "eq", 7), "value"),
        (("createdAt", "gt", True), "value"),
        (("createdAt", "in", ["2026-02-30"]), "value"),
        (("createdAt", "datetime_gt", None), "value"),
        (("createdAt", "datetime_gt", "0001-01-01T00:00+14:00"), "value"),
        (("createdAt", "timediff_gt", "2026-01-31"), "value"),
        (("createdAt", "timediff_gt", "now/y"), "value"),
        (("createdAt", "timediff_gt", "now - 1"), "value"),
        (("createdAt", "timediff_gt", "now - 999999999999w"), "value"),
    ],
)
def test_what_cannot_be_asked_is_told_by_its_field(asked: Asked, field: str) -> None:
    with pytest.raises(Unaskable) as refusal:
        operators.condition(NOTIFICATION, Filter(*asked), now=NOW)

    assert refusal.value.field == field


@pytest.mark.parametrize(
    "asked",
    [
        Question([Filter("topic", "eq", "x" * 4_096)]),
        Question([Filter("topic", "contain", "x" * 255), Filter("topic", "regex", "x" * 255)]),
        Question([Filter("topic", "contain_in", ["x"] * 100), Filter("topic", "contain_in", ["x" * 128] * 32)]),
        Question([Filter("message.a", "match", {str(number): 1 for number in range(16)})]),
        Question([Filter("topic", "eq", "t")] * 25, [Filter("topic", "eq", "t")] * 25),
        Question([Filter("topic", "in", ["t"] * 500)] * 2),
        Question(keyword="x" * 255),
    ],
    ids=["text", "part of a text", "texts", "keys", "filters", "values", "keyword"],
)
def test_as_much_as_its_bounds_say_may_be_asked(asked: Question) -> None:
    assert operators.conditions(NOTIFICATION, asked)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (Question([Filter("topic", "eq", "t")] * 51), "filter.50"),
        (Question([Filter("topic", "eq", "t")] * 26, [Filter("topic", "eq", "t")] * 25), "filterOr.24"),
        (Question([Filter("message.a", "match", dict.fromkeys("abcdefghijklm"))] * 4), "filter.3"),
        (Question([Filter("topic", "in", ["t"] * 501)] * 2), "filter.1.value"),
        (Question([], [Filter("topic", "eq", "t"), Filter("topic", "eq", [])]), "filterOr.1.value"),
        (Question(keyword="x" * 256), "keyword"),
        (Question(keyword="\0"), "keyword"),
    ],
)
def test_a_question_has_its_bounds(asked: Question, field: str) -> None:
    with pytest.raises(Unaskable) as refusal:
        operators.conditions(NOTIFICATION, asked)

    assert refusal.value.field == field
