"""The answer to deleting one thing by its id."""

from __future__ import annotations

import strawberry


@strawberry.type(description="What was deleted.")
class DeletePayload:
    deleted_id: strawberry.ID = strawberry.field(description="The id as it was given.")
