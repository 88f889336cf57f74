"""Quotas and usages in the API: types, inputs and root fields. No rules: those are the resolvers'."""

from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry import ID, Maybe, argument

from resolvers import quotas
from resolvers.paging import Window
from schema import paging, selection
from schema.asking import Query, asked
from schema.context import Info
from schema.deletion import DeletePayload
from schema.node import Node
from schema.paging import After, Connection, First
from schema.selection import Fields, column, relay_id
from storage import models
from storage.quotas import Filter
from storage.selected import Row
from storage.usages import Filter as UsageRows

QUOTA = Fields(
    {
        "id": relay_id("Quota", "quota_id"),
        "quota_id": column("quota_id"),
        "protocol_id": column("protocol_id"),
        "day": column("day"),
        "month": column("month"),
        "domain_id": column("domain_id"),
    }
)

NOTIFICATION_USAGE = Fields(
    {
        "protocol_id": column("protocol_id"),
        "date": column("date"),
        "usage_month": column("usage_month"),
        "usage_date": column("usage_date"),
        "count": column("count"),
        "fail_count": column("fail_count"),
        "domain_id": column("domain_id"),
    }
)


@strawberry.type(description="How much may go through a protocol.")
class Quota(Node):
    quota_id: ID = strawberry.field(description="Its id, for arguments and filters.")
    protocol_id: ID = strawberry.field(description="Which protocol it limits.")
    day: int | None = strawberry.field(description="Deliveries on a UTC day; null: unlimited, 0: none.")
    month: int | None = strawberry.field(description="Deliveries in a UTC month; null: unlimited, 0: none.")
    domain_id: ID = strawberry.field(description="Its domain.")

    @classmethod
    def from_row(cls, row: models.Quota | Row) -> Quota:
        return QUOTA.instance(cls, row)


@strawberry.type(description="What went through a protocol on one day.")
class NotificationUsage:
    protocol_id: ID = strawberry.field(description="Which protocol; it may have been deleted since.")
    date: str = strawberry.field(description="The UTC day: 2026-01-31.")
    usage_month: str = strawberry.field(description="The day's month, as the original has it: 2026-01.")
    usage_date: str = strawberry.field(description="The day of the month, as the original has it: 31.")
    count: int = strawberry.field(
        description="Deliveries that count against the quota: each once, unless it ended before it was delivered."
    )
    fail_count: int = strawberry.field(description="Deliveries that died; they do not count against the quota.")
    domain_id: ID = strawberry.field(description="Its domain.")

    @classmethod
    def from_row(cls, row: Row) -> NotificationUsage:
        return NOTIFICATION_USAGE.instance(cls, row)


@strawberry.type(description="The quota after the change.")
class QuotaPayload:
    quota: Quota = strawberry.field(description="The quota.")

    @classmethod
    def from_row(cls, row: models.Quota) -> QuotaPayload:
        return cls(quota=Quota.from_row(row))


@strawberry.input(description="A new quota, of a protocol that has none.")
class CreateQuotaInput:
    protocol_id: ID = strawberry.field(description="Which EXTERNAL protocol it limits.")
    day: int | None = strawberry.field(default=None, description="Deliveries on a UTC day; null: unlimited, 0: none.")
    month: int | None = strawberry.field(
        default=None, description="Deliveries in a UTC month; null: unlimited, 0: none."
    )
    domain_id: ID | None = strawberry.field(default=None, description="The domain; null: the caller's.")


@strawberry.input(description="A change of a quota. What is absent stays.")
class UpdateQuotaInput:
    quota_id: ID = strawberry.field(description="Which quota.")
    day: Maybe[int | None] = strawberry.field(
        default=None, description="Deliveries on a UTC day; null: unlimited, 0: none."
    )
    month: Maybe[int | None] = strawberry.field(
        default=None, description="Deliveries in a UTC month; null: unlimited, 0: none."
    )

    def limits(self) -> dict[str, int | None]:
        """Those that are given."""
        given = {"day": self.day, "month": self.month}
        return {period: limit.value for period, limit in given.items() if limit is not None}


@strawberry.input(description="Which quotas; what is absent or null does not narrow.")
class QuotaFilter:
    quota_id: ID | None = strawberry.field(default=None, description="Only this one.")
    protocol_id: ID | None = strawberry.field(default=None, description="Only that of this protocol.")
    domain_id: ID | None = strawberry.field(default=None, description="The domain; null: the caller's.")

    def wanted(self) -> Filter:
        return Filter(quota_id=self.quota_id, protocol_id=self.protocol_id)


@strawberry.input(description="Which usages; what is absent or null does not narrow.")
class UsageFilter:
    protocol_id: ID | None = strawberry.field(default=None, description="Only of this protocol.")
    domain_id: ID | None = strawberry.field(default=None, description="The domain; null: the caller's.")
    date_from: str | None = strawberry.field(default=None, description="From this UTC day on, such as 2026-01-31.")
    date_to: str | None = strawberry.field(default=None, description="Up to this UTC day, with it.")

    def wanted(self) -> UsageRows:
        return UsageRows(protocol_id=self.protocol_id, date_from=self.date_from, date_to=self.date_to)


@strawberry.type
class QuotaQuery:
    @strawberry.field(description="A domain's quotas, newest first. Administrators only.")
    async def quotas(
        self,
        info: Info,
        filter: Annotated[QuotaFilter | None, argument(description="Which quotas.")] = None,
        query: Query = None,
        first: First = None,
        after: After = None,
    ) -> Connection[Quota]:
        wanted, selected = filter or QuotaFilter(), selection.of_connection(info, QUOTA)
        listing = await quotas.page(
            info.context.server,
            info.context.caller,
            wanted=wanted.wanted(),
            window=Window(first=first, after=after),
            domain_id=wanted.domain_id,
            asking=asked(query),
            selected=selected,
        )
        return Connection(**paging.connection(listing, Quota.from_row, selected))

    @strawberry.field(
        description="What went through a domain's protocols, by day, the latest first. Administrators only."
    )
    async def notification_usages(
        self,
        info: Info,
        filter: Annotated[UsageFilter | None, argument(description="Which usages.")] = None,
        query: Query = None,
        first: First = None,
        after: After = None,
    ) -> Connection[NotificationUsage]:
        wanted, selected = filter or UsageFilter(), selection.of_connection(info, NOTIFICATION_USAGE)
        listing = await quotas.page_usages(
            info.context.server,
            info.context.caller,
            wanted=wanted.wanted(),
            window=Window(first=first, after=after),
            domain_id=wanted.domain_id,
            asking=asked(query),
            selected=selected,
        )
        return Connection(**paging.connection(listing, NotificationUsage.from_row, selected))


@strawberry.type
class QuotaMutation:
    @strawberry.mutation(description="Limit what goes through a protocol. Administrators only.")
    async def create_quota(
        self, info: Info, input: Annotated[CreateQuotaInput, argument(description="The quota.")]
    ) -> QuotaPayload:
        row = await quotas.create(
            info.context.server,
            info.context.caller,
            protocol_id=input.protocol_id,
            day=input.day,
            month=input.month,
            domain_id=input.domain_id,
        )
        return QuotaPayload.from_row(row)

    @strawberry.mutation(description="Change what may go through a protocol. Administrators only.")
    async def update_quota(
        self, info: Info, input: Annotated[UpdateQuotaInput, argument(description="The change.")]
    ) -> QuotaPayload:
        row = await quotas.update(
            info.context.server, info.context.caller, quota_id=input.quota_id, limits=input.limits()
        )
        return QuotaPayload.from_row(row)

    @strawberry.mutation(description="Limit a protocol no longer. Administrators only.")
    async def delete_quota(
        self, info: Info, quota_id: Annotated[ID, argument(description="Which quota.")]
    ) -> DeletePayload:
        deleted = await quotas.delete(info.context.server, info.context.caller, quota_id=quota_id)
        return DeletePayload(deleted_id=ID(deleted))
