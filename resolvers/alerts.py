"""Telling people about their channels: a notification like any other, that the server itself creates."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import structlog

from resolvers import checks, notifications
from resolvers.access import Caller, Role
from resolvers.context import Server
from resolvers.errors import InvalidArgument
from resolvers.notifications import Creation
from storage import channels
from storage.errors import DatabaseUnavailable
from storage.models import Channel, NotificationType

CHANNEL_DISABLED = "tocsin.channel.disabled"
SENDER = "tocsin"  # who creates them
BATCH = 100  # channels that are read at once

log = structlog.get_logger()


def resource(text: str) -> tuple[str, str]:
    """The type and the id in a spelling such as `identity.Project:ops`. Raises InvalidArgument."""
    resource_type, _, resource_id = text.partition(":")
    if resource_type not in ("identity.Project", "identity.User"):
        raise InvalidArgument("This must be identity.Project:... or identity.User:...", field="resource")
    return resource_type, checks.identifier(resource_id, "resource")


async def tell(server: Server, *, operators: str | None) -> bool:
    """Tell the owners of channels that were disabled, and say whether there may be more of them.

    A channel's user is told, or, of a project's channel, `operators` (a resource). What is due is a row until it is
    done: whoever is killed on the way is told once all the same, since a repeat carries the same idempotency key.
    """
    async with server.database.read() as session:
        due = await channels.to_alert(session, limit=BATCH)
    for channel in due:
        await _tell(server, channel, operators)
        await server.database.write(partial(channels.alerted, channel=channel))
    return len(due) == BATCH


async def _tell(server: Server, channel: Channel, operators: str | None) -> None:
    told = f"identity.User:{channel.user_id}" if channel.user_id is not None else operators
    if told is None:
        return
    sender = Caller(channel.domain_id, SENDER, Role.SYSTEM, server.clock() + timedelta(minutes=1))
    try:
        await notifications.create(server, sender, _alert(channel, told))
    except DatabaseUnavailable:  # it stays due
        raise
    except Exception as error:  # it would fail again: the channel is disabled all the same, and others are told
        log.error("alert_failed", channel_id=channel.channel_id, error=type(error).__name__)


def _alert(channel: Channel, told: str) -> Creation:
    resource_type, resource_id = resource(told)
    since = "" if channel.failing_since is None else f" since {channel.failing_since:%Y-%m-%d %H:%M} UTC"
    return Creation(
        resource_type=resource_type,
        resource_id=resource_id,
        topic=CHANNEL_DISABLED,
        message={
            "title": f"The channel {channel.name} was disabled",
            "description": f"Nothing has arrived through it{since}. Enable it again once its destination works.",
            "channelId": channel.channel_id,
        },
        notification_type=NotificationType.ERROR,
        domain_id=channel.domain_id,
        idempotency_key=f"{channel.channel_id} {channel.alert_due_at}",
    )
