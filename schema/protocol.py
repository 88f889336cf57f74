"""Protocols and plugins in the API: types, inputs and root fields. No rules: those are the resolvers'."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import strawberry
from strawberry import ID, argument

from dispatch.plugins import Verification
from resolvers import channel_data, plugins, protocols
from resolvers.paging import Window
from resolvers.plugins import InstalledPlugin
from schema import paging, selection
from schema.asking import Query, asked
from schema.context import Info
from schema.deletion import DeletePayload
from schema.enums import ProtocolType, ResourceState
from schema.node import Node
from schema.paging import After, Connection, First
from schema.scalars import JSON
from schema.selection import Fields, Made, column, relay_id
from storage import models
from storage.protocols import Filter
from storage.secrets import MASK
from storage.selected import Row


def _masked(row: Any) -> str | None:
    return None if row.secret_data is None else MASK


PROTOCOL = Fields(
    {
        "id": relay_id("Protocol", "protocol_id"),
        "protocol_id": column("protocol_id"),
        "name": column("name"),
        "state": column("state"),
        "protocol_type": column("protocol_type"),
        "plugin_id": column("plugin_id"),
        "options": column("options"),
        "secret_data": Made(("secret_data",), _masked),
        "data_schema": Made(("protocol_type", "plugin_id", "options")),
        "tags": column("tags"),
        "domain_id": column("domain_id"),
        "created_at": column("created_at"),
    }
)


@strawberry.type(description="The code that reaches one kind of external system.")
class Plugin:
    plugin_id: ID = strawberry.field(description="The name that a protocol chooses it by.")
    name: str = strawberry.field(description="Its name for people.")
    data_schema: JSON = strawberry.field(description="JSON Schema of a channel's data.")
    options_schema: JSON = strawberry.field(description="JSON Schema of a protocol's options.")
    secret_schema: JSON = strawberry.field(description="JSON Schema of a protocol's secret data.")
    data_is_secret: bool = strawberry.field(description="Whether channels' data is encrypted, and shown as a mask.")

    @classmethod
    def from_installed(cls, installed: InstalledPlugin) -> Plugin:
        info = installed.info
        return cls(
            plugin_id=ID(installed.plugin_id),
            name=info.name,
            data_schema=JSON(info.data_schema),
            options_schema=JSON(info.options_schema),
            secret_schema=JSON(info.secret_schema),
            data_is_secret=info.data_is_secret,
        )


@strawberry.type(description="In what way something is sent: a plugin, its options and its secret.")
class Protocol(Node):
    protocol_id: ID = strawberry.field(description="Its id, for arguments and filters.")
    name: str = strawberry.field(description="Its name, unique in the domain.")
    state: ResourceState = strawberry.field(description="Whether anything is sent through it.")
    protocol_type: ProtocolType = strawberry.field(description="INTERNAL leads to inboxes, EXTERNAL to a plugin.")
    plugin_id: ID | None = strawberry.field(description="Its plugin; null for INTERNAL.")
    options: JSON = strawberry.field(description="What the plugin is set to.")
    secret_data: JSON | None = strawberry.field(description='"********" where a secret is kept, else null.')
    tags: JSON = strawberry.field(description="Labels of your own.")
    domain_id: ID = strawberry.field(description="Its domain.")
    created_at: datetime = strawberry.field(
        description="When it was made; of the INTERNAL one always 1970-01-01T00:00:00.000Z."
    )

    @strawberry.field(description="JSON Schema of its channels' data; null while its plugin cannot be asked.")
    async def data_schema(self, info: Info) -> JSON | None:
        schema = await channel_data.schema(
            info.context.server, self.protocol_type, plugin_id=self.plugin_id, options=self.options
        )
        return None if schema is None else JSON(schema)

    @classmethod
    def from_row(cls, row: models.Protocol | Row) -> Protocol:
        return PROTOCOL.instance(cls, row)


@strawberry.type(description="The protocol after the change.")
class ProtocolPayload:
    protocol: Protocol = strawberry.field(description="The protocol.")

    @classmethod
    def from_row(cls, row: models.Protocol) -> ProtocolPayload:
        return cls(protocol=Protocol.from_row(row))


@strawberry.type(description="What a plugin found.")
class VerifyPayload:
    ok: bool = strawberry.field(description="Whether the protocol's settings work.")
    detail: str | None = strawberry.field(description="What the plugin says about it.")

    @classmethod
    def from_verification(cls, verification: Verification) -> VerifyPayload:
        return cls(ok=verification.ok, detail=verification.detail)


@strawberry.input(description="Which plugin, and how it is set.")
class PluginInput:
    plugin_id: ID = strawberry.field(description="One of the query plugins.")
    options: JSON | None = strawberry.field(default=None, description="What the plugin is set to.")
    secret_data: JSON | None = strawberry.field(default=None, description="Credentials: encrypted, never shown again.")


@strawberry.input(description="A new EXTERNAL protocol.")
class CreateProtocolInput:
    name: str = strawberry.field(description="Its name, unique in the domain; 255 characters at most.")
    plugin: PluginInput = strawberry.field(description="Which plugin, and how it is set.")
    tags: JSON | None = strawberry.field(default=None, description="Labels of your own, as an object.")
    domain_id: ID | None = strawberry.field(default=None, description="Its domain; the caller's when absent.")
    verify: bool | None = strawberry.field(
        default=True, description="Whether the plugin first tries the settings; nothing is stored if they fail."
    )


@strawberry.input(description="A change of a protocol. What is absent or null stays.")
class UpdateProtocolInput:
    protocol_id: ID = strawberry.field(description="Which protocol.")
    name: str | None = strawberry.field(default=None, description="Its new name, unique in the domain.")
    tags: JSON | None = strawberry.field(default=None, description="Its new labels, all of them.")


@strawberry.input(description="A change of a protocol's plugin settings. What is absent or null stays.")
class UpdateProtocolPluginInput:
    protocol_id: ID = strawberry.field(description="Which protocol; not an INTERNAL one.")
    options: JSON | None = strawberry.field(default=None, description="The new options, all of them.")
    secret_data: JSON | None = strawberry.field(
        default=None,
        description='The new secret, all of it. "********" stands for what is kept: for all of it, or for the value '
        "of one of its keys. {} means that there is none any more.",
    )
    verify: bool | None = strawberry.field(
        default=True, description="Whether the plugin first tries the settings; nothing is changed if they fail."
    )


@strawberry.input(description="Which protocols; what is absent or null does not narrow.")
class ProtocolFilter:
    protocol_id: ID | None = strawberry.field(default=None, description="Only this one.")
    name: str | None = strawberry.field(default=None, description="Only of exactly this name.")
    state: ResourceState | None = strawberry.field(default=None, description="Only in this state.")
    protocol_type: ProtocolType | None = strawberry.field(default=None, description="Only of this type.")
    domain_id: ID | None = strawberry.field(default=None, description="The domain; the caller's when absent.")

    def wanted(self) -> Filter:
        return Filter(
            protocol_id=self.protocol_id,
            name=self.name,
            state=self.state,
            protocol_type=self.protocol_type,
        )


ProtocolId = Annotated[ID, argument(description="Which protocol.")]


@strawberry.type
class ProtocolQuery:
    @strawberry.field(description="The plugins that protocols can be made of. Administrators only.")
    async def plugins(self, info: Info) -> list[Plugin]:
        installed = await plugins.installed(info.context.server, info.context.caller)
        return [Plugin.from_installed(plugin) for plugin in installed]

    @strawberry.field(description="One protocol; null when there is none to see. Administrators only.")
    async def protocol(self, info: Info, protocol_id: ProtocolId) -> Protocol | None:
        selected = selection.of_one(info, PROTOCOL)
        row = await protocols.find(info.context.server, info.context.caller, protocol_id, selected=selected)
        return None if row is None else Protocol.from_row(row)

    @strawberry.field(
        description="A domain's protocols, newest first; the INTERNAL one is the last. Administrators only."
    )
    async def protocols(
        self,
        info: Info,
        filter: Annotated[ProtocolFilter | None, argument(description="Which protocols.")] = None,
        query: Query = None,
        first: First = None,
        after: After = None,
    ) -> Connection[Protocol]:
        wanted, selected = filter or ProtocolFilter(), selection.of_connection(info, PROTOCOL)
        listing = await protocols.page(
            info.context.server,
            info.context.caller,
            wanted=wanted.wanted(),
            window=Window(first=first, after=after),
            domain_id=wanted.domain_id,
            asking=asked(query),
            selected=selected,
        )
        return Connection(**paging.connection(listing, Protocol.from_row, selected))


@strawberry.type
class ProtocolMutation:
    @strawberry.mutation(description="Make a protocol of a plugin. Administrators only.")
    async def create_protocol(
        self,
        info: Info,
        input: Annotated[CreateProtocolInput, argument(description="The protocol.")],
    ) -> ProtocolPayload:
        row = await protocols.create(
            info.context.server,
            info.context.caller,
            name=input.name,
            plugin_id=input.plugin.plugin_id,
            options=input.plugin.options,
            secret_data=input.plugin.secret_data,
            tags=input.tags,
            domain_id=input.domain_id,
            verify=input.verify is not False,
        )
        return ProtocolPayload.from_row(row)

    @strawberry.mutation(description="Change a protocol's name or labels. Administrators only.")
    async def update_protocol(
        self, info: Info, input: Annotated[UpdateProtocolInput, argument(description="The change.")]
    ) -> ProtocolPayload:
        row = await protocols.update(
            info.context.server,
            info.context.caller,
            protocol_id=input.protocol_id,
            name=input.name,
            tags=input.tags,
        )
        return ProtocolPayload.from_row(row)

    @strawberry.mutation(description="Change a protocol's options or secret. Administrators only.")
    async def update_protocol_plugin(
        self, info: Info, input: Annotated[UpdateProtocolPluginInput, argument(description="The change.")]
    ) -> ProtocolPayload:
        row = await protocols.update_plugin(
            info.context.server,
            info.context.caller,
            protocol_id=input.protocol_id,
            options=input.options,
            secret_data=input.secret_data,
            verify=input.verify is not False,
        )
        return ProtocolPayload.from_row(row)

    @strawberry.mutation(description="Let a protocol be used again. Administrators only.")
    async def enable_protocol(self, info: Info, protocol_id: ProtocolId) -> ProtocolPayload:
        return await _set_state(info, protocol_id, ResourceState.ENABLED)

    @strawberry.mutation(description="Send nothing through a protocol until it is enabled. Administrators only.")
    async def disable_protocol(self, info: Info, protocol_id: ProtocolId) -> ProtocolPayload:
        return await _set_state(info, protocol_id, ResourceState.DISABLED)

    @strawberry.mutation(description="Delete a protocol that no channel uses. Administrators only.")
    async def delete_protocol(self, info: Info, protocol_id: ProtocolId) -> DeletePayload:
        deleted = await protocols.delete(info.context.server, info.context.caller, protocol_id=protocol_id)
        return DeletePayload(deleted_id=ID(deleted))

    @strawberry.mutation(description="Ask a protocol's plugin whether its settings work now. Administrators only.")
    async def verify_protocol(self, info: Info, protocol_id: ProtocolId) -> VerifyPayload:
        verification = await protocols.verify(info.context.server, info.context.caller, protocol_id=protocol_id)
        return VerifyPayload.from_verification(verification)


async def _set_state(info: Info, protocol_id: str, state: ResourceState) -> ProtocolPayload:
    row = await protocols.set_state(info.context.server, info.context.caller, protocol_id=protocol_id, state=state)
    return ProtocolPayload.from_row(row)
