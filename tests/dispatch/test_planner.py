from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch import planner
from dispatch.planner import DispatchDecision
from dispatch.schedules import Schedule
from storage.models import (
    Channel,
    DayOfWeek,
    Decision,
    DecisionReason,
    DeliveryState,
    LevelMatch,
    NotificationLevel,
    OffHours,
    Protocol,
    ProtocolType,
    ResourceState,
)
from tests.dispatch.rows import SATURDAY_EVENING, channel, protocol

ON_WORKDAYS = Schedule((DayOfWeek.MON, DayOfWeek.FRI), "09:00", "18:00")
LEVELS = [level for level in NotificationLevel if level is not NotificationLevel.ALL]


def plan_one(
    channel: Channel,
    protocol: Protocol,
    *,
    topic: str = "monitoring.alert",
    level: NotificationLevel = NotificationLevel.ALL,
    now: datetime = SATURDAY_EVENING,
) -> DispatchDecision:
    (decision,) = planner.plan(topic=topic, level=level, channels=[(channel, protocol)], now=now)
    return decision


def test_a_channel_without_conditions_gets_everything() -> None:
    taker, through = channel(), protocol()

    assert plan_one(taker, through) == DispatchDecision(taker.channel_id, through.protocol_id, Decision.SEND)


@pytest.mark.parametrize(
    ("channel_fields", "protocol_fields", "reason"),
    [
        ({"state": ResourceState.DISABLED}, {}, DecisionReason.CHANNEL_DISABLED),
        ({}, {"state": ResourceState.DISABLED}, DecisionReason.PROTOCOL_DISABLED),
        ({"topics": []}, {}, DecisionReason.TOPIC),
        ({"notification_level": NotificationLevel.LV2}, {}, DecisionReason.LEVEL),
        ({"schedule": ON_WORKDAYS.to_json()}, {}, DecisionReason.OFF_HOURS),
    ],
)
def test_what_keeps_a_notification_from_a_channel_is_told(
    channel_fields: dict[str, Any], protocol_fields: dict[str, Any], reason: DecisionReason
) -> None:
    decision = plan_one(channel(**channel_fields), protocol(**protocol_fields), level=NotificationLevel.LV1)

    assert (decision.decision, decision.reason) == (Decision.SKIP, reason)
    assert decision.detail


def test_the_first_reason_in_the_order_of_the_rules_is_told() -> None:
    against_everything = {
        "state": ResourceState.DISABLED,
        "topics": [],
        "notification_level": NotificationLevel.LV5,
        "schedule": ON_WORKDAYS.to_json(),
    }
    told = []
    for repaired in (None, "state", "topics", "notification_level", "schedule"):
        if repaired is not None:
            del against_everything[repaired]
        told.append(plan_one(channel(**against_everything), protocol(), level=NotificationLevel.LV1).reason)

    R = DecisionReason
    assert told == [R.CHANNEL_DISABLED, R.TOPIC, R.LEVEL, R.OFF_HOURS, None]


@pytest.mark.parametrize(
    ("pattern", "topic", "takes"),
    [
        ("monitoring.alert", "monitoring.alert", True),
        ("monitoring.alert", "monitoring", False),
        ("monitoring.alert", "Monitoring.alert", False),
        ("monitoring.*", "monitoring.alert", True),
        ("monitoring.*", "monitoring.alert.new", False),
        ("monitoring.*", "monitoring", False),
        ("*.alert", "cost.alert", True),
        ("*.alert.*", "cost.alert.new", True),
        ("*", "cost", True),
        ("*", "cost.alert", False),
        ("mon*", "monitoring", False),
        ("monitoring.*", "monitoring.*", True),
    ],
)
def test_a_star_stands_for_one_segment_of_a_topic(pattern: str, topic: str, takes: bool) -> None:
    assert planner.takes_topic(pattern, topic) is takes


@given(st.text())
def test_every_topic_is_taken_by_itself(topic: str) -> None:
    assert planner.takes_topic(topic, topic)


def test_null_is_every_topic_and_an_empty_list_is_none() -> None:
    assert plan_one(channel(topics=None), protocol()).decision is Decision.SEND
    assert plan_one(channel(topics=[]), protocol()).reason is DecisionReason.TOPIC


@pytest.mark.parametrize("match", LevelMatch)
@pytest.mark.parametrize("level", LEVELS)
def test_a_notification_for_all_levels_reaches_every_channel(level: NotificationLevel, match: LevelMatch) -> None:
    taker = channel(notification_level=level, level_match=match)

    assert plan_one(taker, protocol(), level=NotificationLevel.ALL).decision is Decision.SEND


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("own", LEVELS)
def test_levels_match_exactly_or_from_a_channels_own_upwards(own: NotificationLevel, level: NotificationLevel) -> None:
    exact = channel(notification_level=own, level_match=LevelMatch.EXACT)
    at_least = channel(notification_level=own, level_match=LevelMatch.AT_LEAST)

    assert (plan_one(exact, protocol(), level=level).decision is Decision.SEND) is (level is own)
    assert (plan_one(at_least, protocol(), level=level).decision is Decision.SEND) is (level.value >= own.value)


def test_a_users_channel_has_no_level() -> None:
    own = channel(project_id=None, user_id="u", notification_level=None, level_match=None)

    assert plan_one(own, protocol(), level=NotificationLevel.LV4).decision is Decision.SEND


def test_a_closed_channel_that_defers_gets_it_at_its_next_opening() -> None:
    deferring = Schedule((DayOfWeek.MON,), "09:00", "18:00", off_hours=OffHours.DEFER)

    decision = plan_one(channel(schedule=deferring.to_json()), protocol())

    assert (decision.decision, decision.reason) == (Decision.DEFER, DecisionReason.OFF_HOURS)
    assert decision.defer_until == datetime(2026, 2, 2, 9, tzinfo=UTC)


def test_an_internal_channel_is_planned_like_the_others() -> None:
    inside = protocol(protocol_type=ProtocolType.INTERNAL, plugin_id=None)

    assert plan_one(channel(), inside).decision is Decision.SEND
    assert plan_one(channel(topics=["cost.*"]), inside).reason is DecisionReason.TOPIC


def test_there_is_one_decision_for_each_channel_in_their_order() -> None:
    routes = [(channel(channel_id=f"c{number}"), protocol()) for number in range(5)]

    decisions = planner.plan(topic="t", level=NotificationLevel.ALL, channels=routes, now=SATURDAY_EVENING)

    assert [decision.channel_id for decision in decisions] == ["c0", "c1", "c2", "c3", "c4"]


@pytest.mark.parametrize(
    ("decision", "reason", "state"),
    [
        (Decision.SEND, None, DeliveryState.PENDING),
        (Decision.DEFER, DecisionReason.OFF_HOURS, DeliveryState.PENDING),
        (Decision.SKIP, DecisionReason.OFF_HOURS, DeliveryState.SKIPPED),
        (Decision.SKIP, DecisionReason.TOPIC, None),
        (Decision.SKIP, DecisionReason.LEVEL, None),
        (Decision.SKIP, DecisionReason.CHANNEL_DISABLED, None),
        (Decision.SKIP, DecisionReason.PROTOCOL_DISABLED, None),
    ],
)
def test_what_was_wanted_has_a_delivery_and_what_was_not_has_none(
    decision: Decision, reason: DecisionReason | None, state: DeliveryState | None
) -> None:
    assert DispatchDecision("c", "p", decision, reason).delivery_state is state


class TestPlanningAgain:
    """What is due is looked at once more before it is sent."""

    def test_it_is_sent_while_nothing_was_switched_off(self) -> None:
        assert planner.replan(channel(), protocol(), waited=False, now=SATURDAY_EVENING).decision is Decision.SEND

    def test_a_push_has_no_channel_to_ask(self) -> None:
        decision = planner.replan(None, protocol(), waited=False, now=SATURDAY_EVENING)

        assert (decision.channel_id, decision.decision) == (None, Decision.SEND)

    def test_a_channel_or_protocol_that_was_disabled_since_gets_nothing(self) -> None:
        disabled = ResourceState.DISABLED

        of_channel = planner.replan(channel(state=disabled), protocol(), waited=False, now=SATURDAY_EVENING)
        of_protocol = planner.replan(None, protocol(state=disabled), waited=False, now=SATURDAY_EVENING)

        assert of_channel.reason is DecisionReason.CHANNEL_DISABLED
        assert of_protocol.reason is DecisionReason.PROTOCOL_DISABLED

    def test_the_schedule_is_asked_only_for_what_waited_for_it(self) -> None:
        closed = channel(schedule=ON_WORKDAYS.to_json())

        in_time = planner.replan(closed, protocol(), waited=False, now=SATURDAY_EVENING)
        waited = planner.replan(closed, protocol(), waited=True, now=SATURDAY_EVENING)

        assert (in_time.decision, waited.decision) == (Decision.SEND, Decision.SKIP)


decisions = st.builds(
    DispatchDecision,
    channel_id=st.none() | st.text(),
    protocol_id=st.text(),
    decision=st.sampled_from(Decision),
    reason=st.none() | st.sampled_from(DecisionReason),
    detail=st.none() | st.text(),
    defer_until=st.none() | st.datetimes(timezones=st.just(UTC)),
)


@given(decisions)
def test_a_decision_survives_json(decision: DispatchDecision) -> None:
    assert DispatchDecision.from_json(decision.to_json()) == decision


channels = st.builds(
    channel,
    state=st.sampled_from(ResourceState),
    topics=st.none() | st.lists(st.sampled_from(["a.b", "a.*", "*", "c"])),
    notification_level=st.sampled_from([None, *LEVELS]),
    level_match=st.sampled_from(LevelMatch),
    schedule=st.none() | st.just(ON_WORKDAYS.to_json()),
)
protocols = st.builds(protocol, state=st.sampled_from(ResourceState), protocol_type=st.sampled_from(ProtocolType))


@given(
    st.lists(st.tuples(channels, protocols)),
    st.sampled_from(["a.b", "a.c", "c"]),
    st.sampled_from(NotificationLevel),
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
)
def test_a_reason_is_given_exactly_where_something_is_not_sent_now(
    routes: list[tuple[Channel, Protocol]], topic: str, level: NotificationLevel, now: datetime
) -> None:
    for decision in planner.plan(topic=topic, level=level, channels=routes, now=now):
        assert (decision.reason is None) is (decision.decision is Decision.SEND)
        assert (decision.defer_until is not None) is (decision.decision is Decision.DEFER)


def plan_many(
    routes: list[tuple[Channel, Protocol]], remaining: dict[str, int], *, topic: str = "monitoring.alert"
) -> list[DispatchDecision]:
    return planner.plan(
        topic=topic, level=NotificationLevel.ALL, channels=routes, now=SATURDAY_EVENING, remaining=remaining
    )


def test_what_goes_beyond_a_quota_is_held_in_the_order_of_the_channels() -> None:
    tight, free = protocol(), protocol()
    routes = [(channel(), through) for through in (tight, free, tight, tight, free)]

    decisions = plan_many(routes, {tight.protocol_id: 2})

    assert [each.reason for each in decisions] == [None, None, None, DecisionReason.QUOTA, None]
    assert decisions[3].decision is Decision.SKIP
    assert decisions[3].delivery_state is DeliveryState.SKIPPED
    assert decisions[3].detail


def test_only_what_is_sent_now_takes_from_a_quota() -> None:
    tight = protocol()
    deferring = Schedule((DayOfWeek.MON,), "09:00", "18:00", off_hours=OffHours.DEFER)
    routes = [
        (channel(schedule=deferring.to_json()), tight),
        (channel(topics=[]), tight),
        (channel(state=ResourceState.DISABLED), tight),
        (channel(), tight),
    ]

    decisions = plan_many(routes, {tight.protocol_id: 1})

    assert [each.decision for each in decisions] == [Decision.DEFER, Decision.SKIP, Decision.SKIP, Decision.SEND]


@given(st.lists(st.sampled_from("abc")), st.dictionaries(st.sampled_from("ab"), st.integers(0, 5)))
def test_a_quota_is_used_up_and_never_overdrawn(ways: list[str], remaining: dict[str, int]) -> None:
    protocols = {name: protocol(protocol_id=name) for name in "abc"}
    decisions = plan_many([(channel(), protocols[way]) for way in ways], remaining)

    for name, wanted in Counter(ways).items():
        sent = sum(each.decision is Decision.SEND for each in decisions if each.protocol_id == name)
        assert sent == min(wanted, remaining.get(name, wanted))


def test_a_channel_takes_as_much_of_a_quota_as_it_has_recipients() -> None:
    tight = protocol()
    routes = [(channel(part_count=recipients), tight) for recipients in (2, 3, 1)]

    decisions = plan_many(routes, {tight.protocol_id: 4})

    # The second is sent to the recipients that the quota is enough for: the worker holds the third one's.
    assert [each.reason for each in decisions] == [None, None, DecisionReason.QUOTA]
    assert planner.left({tight.protocol_id: 4}, zip(routes[:1], decisions[:1], strict=True)) == {tight.protocol_id: 2}


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3))),
    st.dictionaries(st.sampled_from("ab"), st.integers(0, 5)),
    st.integers(0, 9),
)
def test_planning_in_two_parts_decides_the_same(
    ways: list[tuple[str, int]], remaining: dict[str, int], cut: int
) -> None:
    protocols = {name: protocol(protocol_id=name) for name in "abc"}
    routes = [(channel(part_count=recipients), protocols[way]) for way, recipients in ways]

    first = plan_many(routes[:cut], remaining)
    second = plan_many(routes[cut:], planner.left(remaining, zip(routes[:cut], first, strict=True)))

    assert first + second == plan_many(routes, remaining)
