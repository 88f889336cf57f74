"""A destination that fails at first: it is tried again, later each time, until it takes what it is sent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import pairwise

from dispatch.retry import JITTER
from resolvers.access import Role
from tests.server import ServerProcess
from tests.sink import Answer, Sink

SCHEDULE = (0.05, 0.1, 0.2)
ROUNDING_S = 0.001  # times are kept to the millisecond


async def test_a_delivery_is_tried_until_it_is_taken(serve: Callable[..., ServerProcess], sink: Sink) -> None:
    sink.script += [Answer(500, b"broken"), Answer(500, b"still broken"), Answer(200, b"thanks")]
    server = serve(dispatch_retry_schedule=",".join(map(str, SCHEDULE)))
    admin = server.client("admin", Role.DOMAIN_ADMIN)
    await admin.channel("project-1", await admin.protocol("webhook"), {"url": sink.url()})

    created = await admin.create("identity.Project", "project-1")

    [delivery] = created["deliveries"]
    delivered = await admin.settled(delivery["deliveryId"])
    attempts = delivered["attempts"]
    assert (delivered["state"], delivered["attemptCount"], delivered["nextAttemptAt"]) == ("DELIVERED", 3, None)
    assert [(each["outcome"], each["statusCode"], each["responseExcerpt"]) for each in attempts] == [
        ("RETRY", 500, "broken"),
        ("RETRY", 500, "still broken"),
        ("OK", 200, "thanks"),
    ]
    assert {request.headers["webhook-id"] for request in sink.received} == {delivery["deliveryId"]}
    starts = [datetime.fromisoformat(each["startedAt"]).timestamp() for each in attempts]
    waits = [later - earlier for earlier, later in pairwise(starts)]
    assert all(wait >= least * (1 - JITTER) - ROUNDING_S for wait, least in zip(waits, SCHEDULE, strict=False)), waits
