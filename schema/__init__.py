"""The public contract: what can be asked, changed and watched, and how it is spelled. `schema.graphql` is its text."""

from __future__ import annotations

from strawberry.schema.config import StrawberryConfig

from schema import event, scalars
from schema.execution import Schema
from schema.mutation import Mutation
from schema.query import Query
from schema.subscription import Subscription


def build() -> Schema:
    """The schema that the server serves and `export-schema` prints."""
    return Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=event.EVENTS,  # no field names them: they come as InboxEvent
        config=StrawberryConfig(scalar_map=scalars.MAP),
    )
