"""Deliveries through the API: attempts, filters, pages, and what outlives what."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from resolvers.context import Server
from schema.node import global_id
from storage import queue, verdicts
from storage.models import AttemptOutcome, DeliveryState
from storage.queue import Room
from storage.verdicts import Outcome, Tried, Verdict
from tests.conftest import Clock
from tests.resolvers.callers import ADMIN, ALICE
from tests.resolvers.said import log_protocol, of_user, say
from tests.schema.asking import ask
from tests.schema.listed import fields_of
from tests.schema.operations import filled
from tests.schema.world import World

DELIVERY = """
query ($id: ID!) {
  delivery(deliveryId: $id) {
    id deliveryId notificationId channelId part protocolId pluginId state reason detail attemptCount
    nextAttemptAt createdAt finishedAt
    notification { notificationId }
    attempts { startedAt durationMs outcome statusCode error responseExcerpt }
  }
}
"""


async def test_a_delivery_shows_its_attempts_oldest_first(server: Server, clock: Clock) -> None:
    protocol = await log_protocol(server)
    channel = await of_user(server, ALICE, protocol)
    said = await say(server, "alice")
    failed = Verdict(DeliveryState.RETRYING, delay=0)
    await _attempt(server, clock, failed, outcome=AttemptOutcome.RETRY, status_code=503, error="busy", duration_ms=12)
    clock.advance(seconds=5)
    done = Verdict(DeliveryState.DELIVERED)
    id = await _attempt(server, clock, done, outcome=AttemptOutcome.OK, response_excerpt="ok", duration_ms=7)

    shown = (await ask(server, ALICE, DELIVERY, id=id))["delivery"]

    assert shown == {
        "id": global_id("Delivery", id),
        "deliveryId": id,
        "notificationId": said.notification_id,
        "channelId": channel.channel_id,
        "part": 0,
        "protocolId": protocol.protocol_id,
        "pluginId": "log",
        "state": "DELIVERED",
        "reason": None,
        "detail": None,
        "attemptCount": 2,
        "nextAttemptAt": None,
        "createdAt": "2026-01-31T17:12:40.990Z",
        "finishedAt": "2026-01-31T17:12:45.990Z",
        "notification": {"notificationId": said.notification_id},
        "attempts": [
            {
                "startedAt": "2026-01-31T17:12:40.990Z",
                "durationMs": 12,
                "outcome": "RETRY",
                "statusCode": 503,
                "error": "busy",
                "responseExcerpt": None,
            },
            {
                "startedAt": "2026-01-31T17:12:45.990Z",
                "durationMs": 7,
                "outcome": "OK",
                "statusCode": None,
                "error": None,
                "responseExcerpt": "ok",
            },
        ],
    }


async def _attempt(server: Server, clock: Clock, verdict: Verdict, **facts: Any) -> str:
    """Claim the one delivery that is due, and record an attempt of it. Returns its id."""
    claims = await server.database.write(lambda session: queue.claim(session, Room(1), lease=60, now=clock.now))
    delivery = claims.claimed[0].delivery
    attempt = Tried(clock.now, **facts)
    outcomes, patience = [Outcome(delivery, verdict, attempt)], timedelta(hours=120)
    await server.database.write(lambda session: verdicts.record(session, outcomes, now=clock.now, patience=patience))
    return delivery.delivery_id


DELIVERY_FILTERS: dict[str, list[tuple[Any, int]]] = {
    "deliveryIds": [(["@delivery"], 1), ([], 0), (["delivery-000000000000"], 0)],
    "notificationId": [("@notification", 1), ("notification-000000000000", 0)],
    "channelId": [("@userChannel", 2), ("user-ch-000000000000", 0)],
    "protocolId": [("@protocol", 6), ("@unusedProtocol", 0)],
    "states": [(["PENDING", "SKIPPED"], 6), (["SKIPPED"], 2), (["DEAD"], 0), ([], 0)],
    "domainId": [("home", 6)],
    "createdAfter": [("2026-01-31T17:12:40.989Z", 6), ("2026-01-31T17:12:40.990Z", 0)],
    "createdBefore": [("2026-01-31T17:12:40.991Z", 6), ("2026-01-31T17:12:40.990Z", 0)],
}


def test_every_filter_of_deliveries_is_tried() -> None:
    assert set(DELIVERY_FILTERS) == fields_of("DeliveryFilter")


@pytest.mark.parametrize("name", DELIVERY_FILTERS)
async def test_a_filter_of_deliveries_narrows_the_list_and_its_count(world: World, name: str) -> None:
    listing = "query ($filter: DeliveryFilter) { deliveries(filter: $filter) { totalCount nodes { state } } }"

    for value, expected in DELIVERY_FILTERS[name]:
        answer = await world.post(ADMIN, listing, {"filter": {name: filled(value, world.of["alice"])}})
        shown = answer.data["deliveries"]
        assert (len(shown["nodes"]), shown["totalCount"]) == (expected, expected)


async def test_deliveries_are_paged_by_their_cursors(world: World) -> None:
    listing = """
      query ($after: Cursor) {
        deliveries(first: 4, after: $after) { nodes { deliveryId } pageInfo { endCursor hasNextPage } }
      }
    """
    first = (await world.post(ADMIN, listing)).data["deliveries"]
    rest = (await world.post(ADMIN, listing, {"after": first["pageInfo"]["endCursor"]})).data["deliveries"]

    seen = [node["deliveryId"] for node in first["nodes"] + rest["nodes"]]
    assert (len(seen), len(set(seen))) == (6, 6)
    assert (first["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasNextPage"]) == (True, False)


async def test_a_delivery_outlives_its_notification(world: World) -> None:
    things = world.of["alice"]
    delete = "mutation ($id: ID!) { deleteNotification(notificationId: $id) { changedCount inbox { totalCount } } }"
    deleted = (await world.post(ALICE, delete, {"id": things["@notification"]})).data["deleteNotification"]
    shown = (await world.post(ALICE, DELIVERY, {"id": things["@delivery"]})).data["delivery"]

    assert deleted == {"changedCount": 1, "inbox": {"totalCount": 1}}
    assert (shown["notification"], shown["notificationId"]) == (None, things["@notification"])
