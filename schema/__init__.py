"""The public contract: what can be asked, changed and watched, and how it is spelled. `schema.graphql` is its text."""

from __future__ import annotations

from strawberry.schema.config import StrawberryConfig

from schema import event, planned, scalars, trusted
from schema.documents import NOTHING_IS_KNOWN, Documents, Trusted
from schema.execution import Schema
from schema.mutation import Mutation
from schema.query import Query
from schema.subscription import Subscription


def build(known: Trusted = NOTHING_IS_KNOWN, *, answers_kept_bytes: int = 0) -> Schema:
    """The schema that the server serves and `export-schema` prints; one server's, where it keeps answers.

    Raises ValueError for a trusted document that could not be run.
    """
    schema = Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=event.EVENTS,  # no field names them: they come as InboxEvent
        config=StrawberryConfig(scalar_map=scalars.MAP),
    )
    schema.documents = Documents(known, plan=planned.of(schema, answers_kept_bytes=answers_kept_bytes))
    trusted.keep(schema, known)
    return schema
