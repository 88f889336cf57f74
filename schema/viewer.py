"""Who the server takes the caller to be."""

from __future__ import annotations

from datetime import datetime

import strawberry
from strawberry import ID

from schema.context import Info
from schema.enums import Role


@strawberry.type(description="Who is asking, as the bearer token says.")
class Viewer:
    user_id: ID = strawberry.field(description="The user, or the service's name.")
    domain_id: ID = strawberry.field(description="The domain.")
    role: Role = strawberry.field(description="What the caller may do.")
    expires_at: datetime = strawberry.field(description="When the token ends.")


@strawberry.type
class ViewerQuery:
    @strawberry.field(description="Who is asking.")
    def viewer(self, info: Info) -> Viewer:
        caller = info.context.caller
        return Viewer(
            user_id=ID(caller.user_id),
            domain_id=ID(caller.domain_id),
            role=caller.role,
            expires_at=caller.expires_at,
        )
