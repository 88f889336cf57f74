"""What was committed, told to the streams and to the worker: only now, so that whoever reads it finds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from dispatch.hub import Changed, Head, Hub, News
from resolvers.context import Server
from storage import added_rows, feeds, inboxes
from storage.creations import NewNotification
from storage.deliveries import NewDelivery
from storage.inboxes import Owner
from storage.models import InboxKind


@dataclass(frozen=True)
class Reached:
    """What a transaction has added, each beside what was said with it. A record comes first."""

    notifications: Sequence[NewNotification] = ()
    deliveries: Sequence[NewDelivery] = ()


async def announce(server: Server, reached: Reached) -> None:
    hub, added = server.hub, reached.notifications
    await hub.publish_news([*_of_inboxes(hub, added), *_of_domains(hub, added)])
    await announce_deliveries(server, reached.deliveries)


async def announce_deliveries(server: Server, changed: Sequence[Changed]) -> None:
    """The same, where nothing but deliveries has changed."""
    await server.hub.publish_deliveries(changed)
    if changed:
        server.wake_worker()


def _of_inboxes(hub: Hub, added: Sequence[NewNotification]) -> Iterator[News]:
    """What came into the inboxes, and into the projects' feeds, that somebody may watch: the lines of their logs."""
    watched = [(owner, row) for row in added if row.inbox and hub.reaches(owner := _owner(row))]
    for _, together in groupby(watched, key=lambda each: (each[0].kind, each[1].content_id)):
        rows = [*together]
        [((domain_id, kind, _), first), *_] = rows
        heads = [Head(owner.owner_id, row.seq or 0, added_rows.own(row)) for owner, row in rows]
        yield News(domain_id, kind, heads, added_rows.shared(first))


def _of_domains(hub: Hub, added: Sequence[NewNotification]) -> Iterator[News]:
    """The feeds of the domains that these records are in: how far they have come, the stream sees for itself."""
    for domain_id in {row.domain_id for row in added if row.user_id is None}:
        if hub.reaches(inboxes.of_domain(domain_id)):
            yield News(domain_id, InboxKind.DOMAIN, [Head(domain_id, feeds.LAST)])


def _owner(row: NewNotification) -> Owner:
    """Whose inbox, or which project's feed, a row is in."""
    if row.user_id is not None:
        return inboxes.of_user(row.domain_id, row.user_id)
    return inboxes.of_project(row.domain_id, row.project_id or "")
