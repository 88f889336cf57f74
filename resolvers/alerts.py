"""Telling people about their channels: a notification like any other, that the server itself creates."""

from __future__ import annotations

from datetime import timedelta

import structlog

from resolvers import checks, notifications
from resolvers.access import Caller, Role
from resolvers.context import Server
from resolvers.errors import InvalidArgument
from resolvers.notifications import Creation
from storage.models import Channel, NotificationType

CHANNEL_DISABLED = "tocsin.channel.disabled"
SENDER = "tocsin"  # who creates them

log = structlog.get_logger()


def resource(text: str) -> tuple[str, str]:
    """The type and the id in a spelling such as `identity.Project:ops`. Raises InvalidArgument."""
    resource_type, _, resource_id = text.partition(":")
    if resource_type not in ("identity.Project", "identity.User"):
        raise InvalidArgument("This must be identity.Project:... or identity.User:...", field="resource")
    return resource_type, checks.identifier(resource_id, "resource")


async def channel_disabled(server: Server, channel: Channel, *, operators: str | None) -> None:
    """Tell whose channel it is that it was disabled: its user, or `operators` (a resource) for a project's."""
    told = f"identity.User:{channel.user_id}" if channel.user_id is not None else operators
    if told is None:
        return
    resource_type, resource_id = resource(told)
    since = "" if channel.failing_since is None else f" since {channel.failing_since:%Y-%m-%d %H:%M} UTC"
    creation = Creation(
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
    )
    sender = Caller(channel.domain_id, SENDER, Role.SYSTEM, server.clock() + timedelta(minutes=1))
    try:
        await notifications.create(server, sender, creation)
    except Exception as error:  # the channel is disabled all the same, and the deliveries go on
        log.error("alert_failed", channel_id=channel.channel_id, error=type(error).__name__)
