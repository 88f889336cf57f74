"""Which channels a notification goes through, and why not through the others. Pure: no database, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from dispatch.schedules import Schedule
from storage.models import (
    Channel,
    Decision,
    DecisionReason,
    DeliveryState,
    LevelMatch,
    NotificationLevel,
    OffHours,
    Protocol,
    ResourceState,
)
from storage.routing import Route

LEVELS = tuple(NotificationLevel)  # ascending after ALL
UNLIMITED: Mapping[str, int] = MappingProxyType({})
HELD = frozenset({DecisionReason.OFF_HOURS, DecisionReason.QUOTA})  # wanted, but not now


@dataclass(frozen=True)
class DispatchDecision:
    channel_id: str | None  # null for a push
    protocol_id: str
    decision: Decision
    reason: DecisionReason | None = None  # null for SEND
    detail: str | None = None  # for people
    defer_until: datetime | None = None

    @property
    def delivery_state(self) -> DeliveryState | None:
        """In which state its delivery begins; None: it has none."""
        if self.decision is not Decision.SKIP:
            return DeliveryState.PENDING
        return DeliveryState.SKIPPED if self.reason in HELD else None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> DispatchDecision:
        return cls(
            channel_id=data["channel_id"],
            protocol_id=data["protocol_id"],
            decision=Decision(data["decision"]),
            reason=data["reason"] and DecisionReason(data["reason"]),
            detail=data["detail"],
            defer_until=data["defer_until"] and datetime.fromisoformat(data["defer_until"]),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "channel_id": self.channel_id,
            "protocol_id": self.protocol_id,
            "decision": self.decision.value,
            "reason": self.reason and self.reason.value,
            "detail": self.detail,
            "defer_until": self.defer_until and self.defer_until.isoformat(),
        }


def plan(
    *,
    topic: str,
    level: NotificationLevel,
    channels: Sequence[Route],
    now: datetime,
    remaining: Mapping[str, int] = UNLIMITED,
) -> list[DispatchDecision]:
    """One decision for each channel, in their order. INTERNAL ones are planned like the others.

    `remaining` is how much the quota of each protocol that has one leaves. It is a forecast: what is deferred takes
    nothing of it, and the worker asks the quota itself.
    """
    decisions = [_decide(topic, level, channel, protocol, now) for channel, protocol in channels]
    return _within_quotas(channels, decisions, remaining)


def left(remaining: Mapping[str, int], planned: Iterable[tuple[Route, DispatchDecision]]) -> dict[str, int]:
    """What these decisions leave of what remained: each recipient of a channel takes one."""
    taken: Counter[str] = Counter()
    for (channel, protocol), decision in planned:
        if decision.decision is Decision.SEND:
            taken[protocol.protocol_id] += channel.part_count
    return {protocol_id: max(0, number - taken[protocol_id]) for protocol_id, number in remaining.items()}


def replan(channel: Channel | None, protocol: Protocol, *, waited: bool, now: datetime) -> DispatchDecision:
    """The decision about a delivery that is due: its channel or protocol may have been switched off since.

    The schedule is asked again only for one that `waited` for it: retries, and what is sent late, were wanted then.
    """
    reason = _switched_off(channel, protocol)
    if reason is not None:
        return _skip(channel, protocol, reason)
    if waited and channel is not None:
        return _by_schedule(channel, protocol, now)
    return send(channel, protocol)


def _within_quotas(
    channels: Sequence[Route], decisions: Sequence[DispatchDecision], remaining: Mapping[str, int]
) -> list[DispatchDecision]:
    """What nothing is left for is held. Where not all of a channel's recipients fit, the worker holds the rest."""
    taken: Counter[str] = Counter()
    within = []
    for (channel, protocol), decision in zip(channels, decisions, strict=True):
        if decision.decision is Decision.SEND and protocol.protocol_id in remaining:
            if taken[protocol.protocol_id] >= remaining[protocol.protocol_id]:
                decision = _skip(channel, protocol, DecisionReason.QUOTA)
            taken[protocol.protocol_id] += channel.part_count
        within.append(decision)
    return within


def _decide(
    topic: str, level: NotificationLevel, channel: Channel, protocol: Protocol, now: datetime
) -> DispatchDecision:
    reason = _switched_off(channel, protocol) or _mismatch(topic, level, channel)
    if reason is not None:
        return _skip(channel, protocol, reason)
    return _by_schedule(channel, protocol, now)


def _switched_off(channel: Channel | None, protocol: Protocol) -> DecisionReason | None:
    if channel is not None and channel.state is ResourceState.DISABLED:
        return DecisionReason.CHANNEL_DISABLED
    if protocol.state is ResourceState.DISABLED:
        return DecisionReason.PROTOCOL_DISABLED
    return None


def _mismatch(topic: str, level: NotificationLevel, channel: Channel) -> DecisionReason | None:
    if channel.topics is not None and not any(takes_topic(pattern, topic) for pattern in channel.topics):
        return DecisionReason.TOPIC
    if not _takes_level(channel, level):
        return DecisionReason.LEVEL
    return None


def takes_topic(pattern: str, topic: str) -> bool:
    """Whether they are equal, or differ only where a segment (between dots) of the pattern is `*`."""
    wanted, given = pattern.split("."), topic.split(".")
    return len(wanted) == len(given) and all(
        want in ("*", segment) for want, segment in zip(wanted, given, strict=True)
    )


def _takes_level(channel: Channel, level: NotificationLevel) -> bool:
    if channel.notification_level is None or level is NotificationLevel.ALL:
        return True
    if channel.level_match is LevelMatch.AT_LEAST:
        return LEVELS.index(level) >= LEVELS.index(channel.notification_level)
    return level is channel.notification_level


def _by_schedule(channel: Channel, protocol: Protocol, now: datetime) -> DispatchDecision:
    schedule = None if channel.schedule is None else Schedule.from_json(channel.schedule)
    if schedule is None or schedule.is_open(now):
        return send(channel, protocol)
    opening = schedule.next_opening(now) if schedule.off_hours is OffHours.DEFER else None
    if opening is None:
        return _skip(channel, protocol, DecisionReason.OFF_HOURS)
    return DispatchDecision(
        channel_id=channel.channel_id,
        protocol_id=protocol.protocol_id,
        decision=Decision.DEFER,
        reason=DecisionReason.OFF_HOURS,
        detail="The channel's schedule is closed; it goes out when it opens.",
        defer_until=opening,
    )


DETAILS = {
    DecisionReason.CHANNEL_DISABLED: "The channel is disabled.",
    DecisionReason.PROTOCOL_DISABLED: "The channel's protocol is disabled.",
    DecisionReason.TOPIC: "The channel does not subscribe to this topic.",
    DecisionReason.LEVEL: "The channel does not take this level.",
    DecisionReason.OFF_HOURS: "The channel's schedule is closed.",
    DecisionReason.QUOTA: "The protocol's quota is used up.",
}


def _skip(channel: Channel | None, protocol: Protocol, reason: DecisionReason) -> DispatchDecision:
    return DispatchDecision(
        channel_id=None if channel is None else channel.channel_id,
        protocol_id=protocol.protocol_id,
        decision=Decision.SKIP,
        reason=reason,
        detail=DETAILS[reason],
    )


def send(channel: Channel | None, protocol: Protocol) -> DispatchDecision:
    """The decision that asks for no more than a channel."""
    return DispatchDecision(
        channel_id=None if channel is None else channel.channel_id,
        protocol_id=protocol.protocol_id,
        decision=Decision.SEND,
    )
