"""Channels in the API, of projects and of users: types, inputs and root fields. No rules: those are the resolvers'.

The two families share what they have in common through bases that are no types of the API themselves.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import strawberry
from strawberry import ID, argument

from resolvers import channels
from resolvers.paging import Window
from schema import paging, selection
from schema.asking import Query, asked
from schema.context import Info
from schema.deletion import DeletePayload
from schema.enums import LevelMatch, NotificationLevel, ResourceState
from schema.node import Node
from schema.paging import After, Connection, First
from schema.scalars import JSON
from schema.schedule import Schedule, ScheduleInput
from schema.selection import Fields, Made, column, relay_id
from storage import models
from storage.channels import Filter, Kind
from storage.secrets import MASK
from storage.selected import Row


def _data(row: Any) -> Any:
    return MASK if row.data is None else row.data


def _schedule(row: Any) -> Schedule | None:
    return None if row.schedule is None else Schedule.from_json(row.schedule)


_SHARED = {
    "name": column("name"),
    "state": column("state"),
    "data": Made(("data",), _data),
    "topics": column("topics"),
    "schedule": Made(("schedule",), _schedule),
    "tags": column("tags"),
    "protocol_id": column("protocol_id"),
    "domain_id": column("domain_id"),
    "created_at": column("created_at"),
}

PROJECT_CHANNEL = Fields(
    {
        "id": relay_id("ProjectChannel", "channel_id"),
        "project_channel_id": column("channel_id"),
        "notification_level": column("notification_level"),
        "level_match": column("level_match"),
        "project_id": column("project_id"),
        **_SHARED,
    }
)

USER_CHANNEL = Fields(
    {
        "id": relay_id("UserChannel", "channel_id"),
        "user_channel_id": column("channel_id"),
        "user_id": column("user_id"),
        **_SHARED,
    }
)


@strawberry.type
class _Channel(Node):
    name: str = strawberry.field(description="Its name.")
    state: ResourceState = strawberry.field(description="Whether anything is sent through it.")
    data: JSON = strawberry.field(
        description='The address, as its protocol\'s dataSchema says; "********" where secret.'
    )
    topics: list[str] | None = strawberry.field(description="The topics that it takes; null: every one, []: none.")
    schedule: Schedule | None = strawberry.field(description="When it is open; null: always.")
    tags: JSON = strawberry.field(description="Labels of your own.")
    protocol_id: ID = strawberry.field(description="In what way it sends.")
    domain_id: ID = strawberry.field(description="Its domain.")
    created_at: datetime = strawberry.field(description="When it was made.")


@strawberry.type(description="Where a project's notifications are sent to.")
class ProjectChannel(_Channel):
    project_channel_id: ID = strawberry.field(description="Its id, for arguments and filters.")
    notification_level: NotificationLevel = strawberry.field(description="Its level: LV1 to LV5.")
    level_match: LevelMatch = strawberry.field(description="How a notification's level is compared with its own.")
    project_id: ID = strawberry.field(description="Whose channel it is.")

    @classmethod
    def from_row(cls, row: models.Channel | Row) -> ProjectChannel:
        return PROJECT_CHANNEL.instance(cls, row)


@strawberry.type(description="Where a user's notifications are sent to, beside the inbox.")
class UserChannel(_Channel):
    user_channel_id: ID = strawberry.field(description="Its id, for arguments and filters.")
    user_id: ID = strawberry.field(description="Whose channel it is.")

    @classmethod
    def from_row(cls, row: models.Channel | Row) -> UserChannel:
        return USER_CHANNEL.instance(cls, row)


@strawberry.type(description="The project channel after the change.")
class ProjectChannelPayload:
    project_channel: ProjectChannel = strawberry.field(description="The channel.")

    @classmethod
    def from_row(cls, row: models.Channel) -> ProjectChannelPayload:
        return cls(project_channel=ProjectChannel.from_row(row))


@strawberry.type(description="The user channel after the change.")
class UserChannelPayload:
    user_channel: UserChannel = strawberry.field(description="The channel.")

    @classmethod
    def from_row(cls, row: models.Channel) -> UserChannelPayload:
        return cls(user_channel=UserChannel.from_row(row))


@strawberry.input
class _CreateChannelInput:
    protocol_id: ID = strawberry.field(description="In what way it sends.")
    name: str = strawberry.field(description="Its name, of 255 characters at most.")
    data: JSON = strawberry.field(description="The address, as the protocol's dataSchema asks for it.")
    topics: list[str] | None = strawberry.field(
        default=None, description="The topics that it takes; * stands for a segment. Null: every one, []: none."
    )
    schedule: ScheduleInput | None = strawberry.field(default=None, description="When it is open; null: always.")
    tags: JSON | None = strawberry.field(default=None, description="Labels of your own, as an object.")
    domain_id: ID | None = strawberry.field(default=None, description="Its domain; null: the caller's.")

    def shared(self) -> dict[str, Any]:
        return {
            "protocol_id": self.protocol_id,
            "name": self.name,
            "data": self.data,
            "topics": self.topics,
            "schedule": None if self.schedule is None else self.schedule.value(),
            "tags": self.tags,
            "domain_id": self.domain_id,
        }


@strawberry.input(description="A new channel of a project.")
class CreateProjectChannelInput(_CreateChannelInput):
    project_id: ID = strawberry.field(description="Whose channel it is: any project's id.")
    notification_level: NotificationLevel | None = strawberry.field(
        default=NotificationLevel.LV1, description="Its level: LV1 to LV5."
    )
    level_match: LevelMatch | None = strawberry.field(
        default=LevelMatch.EXACT, description="How a notification's level is compared with its own."
    )


@strawberry.input(description="A new channel of a user, of an EXTERNAL protocol.")
class CreateUserChannelInput(_CreateChannelInput):
    user_id: ID | None = strawberry.field(default=None, description="Whose channel it is; null: the caller's.")


@strawberry.input
class _UpdateChannelInput:
    name: str | None = strawberry.field(default=None, description="Its new name.")
    data: JSON | None = strawberry.field(
        default=None,
        description='The new address, all of it. Where it is secret, "********" stands for what is kept: for all of '
        "it, or for the value of one of its keys.",
    )
    tags: JSON | None = strawberry.field(default=None, description="Its new labels, all of them.")


@strawberry.input(description="A change of a project channel. What is absent or null stays.")
class UpdateProjectChannelInput(_UpdateChannelInput):
    project_channel_id: ID = strawberry.field(description="Which channel.")
    notification_level: NotificationLevel | None = strawberry.field(
        default=None, description="Its new level: LV1 to LV5."
    )
    level_match: LevelMatch | None = strawberry.field(
        default=None, description="How a notification's level is compared with its own from now on."
    )


@strawberry.input(description="A change of a user channel. What is absent or null stays.")
class UpdateUserChannelInput(_UpdateChannelInput):
    user_channel_id: ID = strawberry.field(description="Which channel.")


@strawberry.input
class _ChannelFilter:
    name: str | None = strawberry.field(default=None, description="Only of exactly this name.")
    state: ResourceState | None = strawberry.field(default=None, description="Only in this state.")
    protocol_id: ID | None = strawberry.field(default=None, description="Only of this protocol.")
    domain_id: ID | None = strawberry.field(default=None, description="The domain; null: the caller's.")


@strawberry.input(description="Which project channels; what is absent or null does not narrow.")
class ProjectChannelFilter(_ChannelFilter):
    project_channel_id: ID | None = strawberry.field(default=None, description="Only this one.")
    notification_level: NotificationLevel | None = strawberry.field(default=None, description="Only of this level.")
    project_id: ID | None = strawberry.field(default=None, description="Only of this project.")

    def wanted(self) -> Filter:
        return Filter(
            channel_id=self.project_channel_id,
            owner_id=self.project_id,
            name=self.name,
            state=self.state,
            notification_level=self.notification_level,
            protocol_id=self.protocol_id,
        )


@strawberry.input(description="Which user channels; what is absent or null does not narrow.")
class UserChannelFilter(_ChannelFilter):
    user_channel_id: ID | None = strawberry.field(default=None, description="Only this one.")
    user_id: ID | None = strawberry.field(default=None, description="Only of this user.")

    def wanted(self) -> Filter:
        return Filter(
            channel_id=self.user_channel_id,
            owner_id=self.user_id,
            name=self.name,
            state=self.state,
            protocol_id=self.protocol_id,
        )


ChannelId = Annotated[ID, argument(description="Which channel.")]
Opening = Annotated[ScheduleInput | None, argument(description="When it is open; null: always.")]
Topics = Annotated[
    list[str] | None,
    argument(description="The topics that it takes; * stands for a segment. Null: every one, []: none."),
]


@strawberry.type
class ChannelQuery:
    @strawberry.field(description="One project channel; null when there is none to see. Administrators only.")
    async def project_channel(self, info: Info, project_channel_id: ChannelId) -> ProjectChannel | None:
        selected = selection.of_one(info, PROJECT_CHANNEL)
        row = await channels.find(
            info.context.server, info.context.caller, Kind.PROJECT, project_channel_id, selected=selected
        )
        return None if row is None else ProjectChannel.from_row(row)

    @strawberry.field(description="A domain's project channels, newest first. Administrators only.")
    async def project_channels(
        self,
        info: Info,
        filter: Annotated[ProjectChannelFilter | None, argument(description="Which channels.")] = None,
        query: Query = None,
        first: First = None,
        after: After = None,
    ) -> Connection[ProjectChannel]:
        wanted, selected = filter or ProjectChannelFilter(), selection.of_connection(info, PROJECT_CHANNEL)
        listing = await channels.page(
            info.context.server,
            info.context.caller,
            Kind.PROJECT,
            wanted=wanted.wanted(),
            window=Window(first=first, after=after),
            domain_id=wanted.domain_id,
            asking=asked(query),
            selected=selected,
        )
        return Connection(**paging.connection(listing, ProjectChannel.from_row, selected))

    @strawberry.field(description="One user channel; null when there is none to see.")
    async def user_channel(self, info: Info, user_channel_id: ChannelId) -> UserChannel | None:
        selected = selection.of_one(info, USER_CHANNEL)
        row = await channels.find(
            info.context.server, info.context.caller, Kind.USER, user_channel_id, selected=selected
        )
        return None if row is None else UserChannel.from_row(row)

    @strawberry.field(
        description="The caller's channels, newest first; for administrators, those of the domain's users."
    )
    async def user_channels(
        self,
        info: Info,
        filter: Annotated[UserChannelFilter | None, argument(description="Which channels.")] = None,
        query: Query = None,
        first: First = None,
        after: After = None,
    ) -> Connection[UserChannel]:
        wanted, selected = filter or UserChannelFilter(), selection.of_connection(info, USER_CHANNEL)
        listing = await channels.page(
            info.context.server,
            info.context.caller,
            Kind.USER,
            wanted=wanted.wanted(),
            window=Window(first=first, after=after),
            domain_id=wanted.domain_id,
            asking=asked(query),
            selected=selected,
        )
        return Connection(**paging.connection(listing, UserChannel.from_row, selected))


@strawberry.type
class ProjectChannelMutation:
    @strawberry.mutation(description="Make a channel of a project. Administrators only.")
    async def create_project_channel(
        self, info: Info, input: Annotated[CreateProjectChannelInput, argument(description="The channel.")]
    ) -> ProjectChannelPayload:
        row = await channels.create(
            info.context.server,
            info.context.caller,
            Kind.PROJECT,
            owner_id=input.project_id,
            notification_level=input.notification_level,
            level_match=input.level_match,
            **input.shared(),
        )
        return ProjectChannelPayload.from_row(row)

    @strawberry.mutation(description="Change a project channel. Administrators only.")
    async def update_project_channel(
        self, info: Info, input: Annotated[UpdateProjectChannelInput, argument(description="The change.")]
    ) -> ProjectChannelPayload:
        row = await channels.update(
            info.context.server,
            info.context.caller,
            Kind.PROJECT,
            channel_id=input.project_channel_id,
            name=input.name,
            data=input.data,
            notification_level=input.notification_level,
            level_match=input.level_match,
            tags=input.tags,
        )
        return ProjectChannelPayload.from_row(row)

    @strawberry.mutation(description="Say when a project channel is open. Administrators only.")
    async def set_project_channel_schedule(
        self, info: Info, project_channel_id: ChannelId, schedule: Opening = None
    ) -> ProjectChannelPayload:
        return ProjectChannelPayload.from_row(await _set_schedule(info, Kind.PROJECT, project_channel_id, schedule))

    @strawberry.mutation(description="Say which topics a project channel takes. Administrators only.")
    async def set_project_channel_subscription(
        self, info: Info, project_channel_id: ChannelId, topics: Topics = None
    ) -> ProjectChannelPayload:
        return ProjectChannelPayload.from_row(await _set_subscription(info, Kind.PROJECT, project_channel_id, topics))

    @strawberry.mutation(description="Let a project channel be used again. Administrators only.")
    async def enable_project_channel(self, info: Info, project_channel_id: ChannelId) -> ProjectChannelPayload:
        row = await _set_state(info, Kind.PROJECT, project_channel_id, ResourceState.ENABLED)
        return ProjectChannelPayload.from_row(row)

    @strawberry.mutation(description="Send nothing through a project channel until it is enabled. Administrators only.")
    async def disable_project_channel(self, info: Info, project_channel_id: ChannelId) -> ProjectChannelPayload:
        row = await _set_state(info, Kind.PROJECT, project_channel_id, ResourceState.DISABLED)
        return ProjectChannelPayload.from_row(row)

    @strawberry.mutation(description="Delete a project channel; its open deliveries are held. Administrators only.")
    async def delete_project_channel(self, info: Info, project_channel_id: ChannelId) -> DeletePayload:
        return await _delete(info, Kind.PROJECT, project_channel_id)


@strawberry.type
class UserChannelMutation:
    @strawberry.mutation(description="Make a channel of the caller's, or, for administrators, of any user's.")
    async def create_user_channel(
        self, info: Info, input: Annotated[CreateUserChannelInput, argument(description="The channel.")]
    ) -> UserChannelPayload:
        row = await channels.create(
            info.context.server, info.context.caller, Kind.USER, owner_id=input.user_id, **input.shared()
        )
        return UserChannelPayload.from_row(row)

    @strawberry.mutation(description="Change a user channel.")
    async def update_user_channel(
        self, info: Info, input: Annotated[UpdateUserChannelInput, argument(description="The change.")]
    ) -> UserChannelPayload:
        row = await channels.update(
            info.context.server,
            info.context.caller,
            Kind.USER,
            channel_id=input.user_channel_id,
            name=input.name,
            data=input.data,
            tags=input.tags,
        )
        return UserChannelPayload.from_row(row)

    @strawberry.mutation(description="Say when a user channel is open.")
    async def set_user_channel_schedule(
        self, info: Info, user_channel_id: ChannelId, schedule: Opening = None
    ) -> UserChannelPayload:
        return UserChannelPayload.from_row(await _set_schedule(info, Kind.USER, user_channel_id, schedule))

    @strawberry.mutation(description="Say which topics a user channel takes.")
    async def set_user_channel_subscription(
        self, info: Info, user_channel_id: ChannelId, topics: Topics = None
    ) -> UserChannelPayload:
        return UserChannelPayload.from_row(await _set_subscription(info, Kind.USER, user_channel_id, topics))

    @strawberry.mutation(description="Let a user channel be used again.")
    async def enable_user_channel(self, info: Info, user_channel_id: ChannelId) -> UserChannelPayload:
        return UserChannelPayload.from_row(await _set_state(info, Kind.USER, user_channel_id, ResourceState.ENABLED))

    @strawberry.mutation(description="Send nothing through a user channel until it is enabled.")
    async def disable_user_channel(self, info: Info, user_channel_id: ChannelId) -> UserChannelPayload:
        return UserChannelPayload.from_row(await _set_state(info, Kind.USER, user_channel_id, ResourceState.DISABLED))

    @strawberry.mutation(description="Delete a user channel; its open deliveries are held.")
    async def delete_user_channel(self, info: Info, user_channel_id: ChannelId) -> DeletePayload:
        return await _delete(info, Kind.USER, user_channel_id)


@strawberry.type
class ChannelMutation(ProjectChannelMutation, UserChannelMutation):
    pass


async def _set_schedule(info: Info, kind: Kind, channel_id: str, schedule: ScheduleInput | None) -> models.Channel:
    value = None if schedule is None else schedule.value()
    return await channels.set_schedule(
        info.context.server, info.context.caller, kind, channel_id=channel_id, schedule=value
    )


async def _set_subscription(info: Info, kind: Kind, channel_id: str, topics: list[str] | None) -> models.Channel:
    return await channels.set_subscription(
        info.context.server, info.context.caller, kind, channel_id=channel_id, topics=topics
    )


async def _set_state(info: Info, kind: Kind, channel_id: str, state: ResourceState) -> models.Channel:
    return await channels.set_state(info.context.server, info.context.caller, kind, channel_id=channel_id, state=state)


async def _delete(info: Info, kind: Kind, channel_id: str) -> DeletePayload:
    deleted = await channels.delete(info.context.server, info.context.caller, kind, channel_id=channel_id)
    return DeletePayload(deleted_id=ID(deleted))
