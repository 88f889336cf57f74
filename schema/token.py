"""Bearer tokens: refusing those that are out. No rules."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import ID, argument

from resolvers import revocations
from schema.context import Info


@strawberry.type(description="What revoking a user's tokens came to.")
class RevokeTokensPayload:
    revoked_at: datetime = strawberry.field(
        description="Tokens that were issued until then, or that do not say when, are refused from now on."
    )


@strawberry.type
class TokenMutation:
    @strawberry.mutation(
        description="Refuse every token that was issued to a user or a service so far, whatever its role, and end its "
        "sockets with 4403, on every process. Tokens issued later work. Administrators only."
    )
    async def revoke_tokens(
        self,
        info: Info,
        user_id: Annotated[ID, argument(description="Whose tokens: the user, or the service's name.")],
        domain_id: Annotated[ID | None, argument(description="The domain they are for; null: the caller's.")] = None,
    ) -> RevokeTokensPayload:
        revoked_at = await revocations.revoke(
            info.context.server, info.context.caller, user_id=user_id, domain_id=domain_id
        )
        return RevokeTokensPayload(revoked_at=revoked_at)
