"""Statistics in the API: the inputs of pipelines, and a root field for each kind of record. No rules."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry
from strawberry import UNSET, argument
from strawberry.types import get_object_definition, has_object_definition
from strawberry.utils.str_converters import to_camel_case

from resolvers import statistics
from resolvers.statistics import StatisticsQuery
from schema.asking import QueryFilter, QueryPage, QuerySort
from schema.context import Info
from schema.scalars import JSON
from storage.statistics import Record


@strawberry.input(description="What a group is made by: rows that are alike in all of its keys are in one.")
class StatKey:
    k: str | None = strawberry.field(default=UNSET, description="The same as key.")
    key: str | None = strawberry.field(default=UNSET, description="A field, spelled as in a filter. Required.")
    n: str | None = strawberry.field(default=UNSET, description="The same as name.")
    name: str | None = strawberry.field(default=UNSET, description="What it is called in the result. Required.")
    date_format: str | None = strawberry.field(
        default=UNSET,
        description="Of a date: year, month or day, as numbers, or a text of %Y, %m, %d, %H, %M, %S, %L, %j, %u, %G, "
        "%V and %%, in UTC.",
    )


@strawberry.input(description="What is made of a group, or of a row.")
class StatField:
    k: str | None = strawberry.field(default=UNSET, description="The same as key.")
    key: str | None = strawberry.field(default=UNSET, description="A field, spelled as in a filter.")
    n: str | None = strawberry.field(default=UNSET, description="The same as name.")
    name: str | None = strawberry.field(
        default=UNSET, description="What it is called in the result. Required, but for what an operator takes."
    )
    o: str | None = strawberry.field(default=UNSET, description="The same as operator.")
    operator: str | None = strawberry.field(
        default=UNSET,
        description="In a group: count, sum, average, max, min, first, last, push, add_to_set or merge_objects. In a "
        "projection: size, sum, add, subtract, multiply, divide, array_to_object, object_to_array; absent: the value.",
    )
    fields: list[StatField] | None = strawberry.field(
        default=UNSET, description="What push makes objects of, or what an operator of a projection takes."
    )
    conditions: list[QueryFilter] | None = strawberry.field(
        default=UNSET, description="Which rows of the group count: those for which all hold."
    )


@strawberry.input(description="One row for each group. With no keys, all rows are one group.")
class StatGroup:
    keys: list[StatKey] | None = strawberry.field(default=UNSET, description="What groups are made by: 10 at most.")
    fields: list[StatField] | None = strawberry.field(default=UNSET, description="What is made of each group.")


@strawberry.input(description="One row, which says how many there were; none where there were none.")
class StatCount:
    name: str = strawberry.field(description="What the number is called in the result.")


@strawberry.input(description="One row for each element of a list, which takes the list's place.")
class StatUnwind:
    path: str = strawberry.field(description="The list, spelled as a key is. A row where it is empty or missing goes.")


@strawberry.input(description="Other fields for each row: those that are made here, besides the keys of groups.")
class StatProject:
    fields: list[StatField] | None = strawberry.field(default=UNSET, description="What is made of each row.")
    exclude_keys: list[str] | None = strawberry.field(
        default=UNSET, description="Fields that go: keys of groups, or, where no fields are made, any."
    )
    only_keys: list[str] | None = strawberry.field(default=UNSET, description="The fields that stay, in their order.")


@strawberry.input(description="Only some of the rows.")
class StatMatch:
    filter: list[QueryFilter] | None = strawberry.field(default=UNSET, description="Conditions that all hold.")
    filter_or: list[QueryFilter] | None = strawberry.field(default=UNSET, description="Conditions of which one holds.")


@strawberry.input(one_of=True, description="One stage, which takes the rows of the stage before it.")
class StatStage:
    group: StatGroup | None = strawberry.field(default=UNSET, description="Rows that are alike become one.")
    sort: QuerySort | None = strawberry.field(default=UNSET, description="The rows in an order.")
    limit: int | None = strawberry.field(default=UNSET, description="Only so many rows, from the first.")
    skip: int | None = strawberry.field(default=UNSET, description="All but so many rows, from the first.")
    count: StatCount | None = strawberry.field(default=UNSET, description="How many rows there are.")
    unwind: StatUnwind | None = strawberry.field(default=UNSET, description="A list's elements become rows.")
    project: StatProject | None = strawberry.field(default=UNSET, description="Other fields for each row.")
    match: StatMatch | None = strawberry.field(default=UNSET, description="Only some of the rows.")


@strawberry.input(
    description="The statistics format of the SpaceONE API: which records, and what to make of them. Either stages, or "
    "distinct."
)
class StatisticsQueryInput:
    filter: list[QueryFilter] | None = strawberry.field(default=None, description="Conditions that all hold.")
    filter_or: list[QueryFilter] | None = strawberry.field(default=None, description="Conditions of which one holds.")
    keyword: str | None = strawberry.field(
        default=None, description="Words, of which one has to be in the record's main texts, in whatever case."
    )
    aggregate: list[StatStage] | None = strawberry.field(
        default=None, description="The stages, in their order: 20 at most. The first takes the records, oldest first."
    )
    distinct: str | None = strawberry.field(
        default=None, description="A field, whose different values are the results, in order; of lists, the elements."
    )
    page: QueryPage | None = strawberry.field(
        default=None, description="Which of the results; null: all, up to 10,000."
    )

    def to_query(self) -> StatisticsQuery:
        return StatisticsQuery(
            filter=[each.given() for each in self.filter or []],
            filter_or=[each.given() for each in self.filter_or or []],
            keyword=self.keyword,
            aggregate=[_given(stage) for stage in self.aggregate or []],
            distinct=self.distinct,
            page=None if self.page is None else self.page.slice(),
        )


def _given(value: Any) -> Any:
    """An input as the mapping of what was given in it, by the names of the API."""
    if isinstance(value, list):
        return [_given(item) for item in value]
    if not has_object_definition(value):
        return value
    fields = get_object_definition(type(value), strict=True).fields
    given = {to_camel_case(field.python_name): getattr(value, field.python_name) for field in fields}
    return {name: _given(item) for name, item in given.items() if item is not UNSET}


@strawberry.type(description="What came of the records.")
class StatResult:
    results: list[JSON] = strawberry.field(
        description="Objects, by the names of their fields; of distinct, the values themselves."
    )
    total_count: int | None = strawberry.field(
        description="How many results there are on all pages; null where no page was asked for."
    )


StatQuery = Annotated[StatisticsQueryInput, argument(description="Which records, and what to make of them.")]


async def _read(info: Info, record: Record, query: StatisticsQueryInput) -> StatResult:
    found = await statistics.read(info.context.server, info.context.caller, record, query.to_query())
    return StatResult(results=found.results, total_count=found.total_count)


@strawberry.type
class StatisticsQueries:
    @strawberry.field(description="Statistics of the notifications that the caller may list. Marks none as read.")
    async def notification_stat(self, info: Info, query: StatQuery) -> StatResult:
        return await _read(info, Record.NOTIFICATION, query)

    @strawberry.field(description="Statistics of the deliveries that the caller may list.")
    async def delivery_stat(self, info: Info, query: StatQuery) -> StatResult:
        return await _read(info, Record.DELIVERY, query)

    @strawberry.field(description="Statistics of a domain's protocols. Administrators only.")
    async def protocol_stat(self, info: Info, query: StatQuery) -> StatResult:
        return await _read(info, Record.PROTOCOL, query)

    @strawberry.field(description="Statistics of a domain's project channels. Administrators only.")
    async def project_channel_stat(self, info: Info, query: StatQuery) -> StatResult:
        return await _read(info, Record.PROJECT_CHANNEL, query)

    @strawberry.field(description="Statistics of the user channels that the caller may list.")
    async def user_channel_stat(self, info: Info, query: StatQuery) -> StatResult:
        return await _read(info, Record.USER_CHANNEL, query)

    @strawberry.field(description="Statistics of a domain's quotas. Administrators only.")
    async def quota_stat(self, info: Info, query: StatQuery) -> StatResult:
        return await _read(info, Record.QUOTA, query)

    @strawberry.field(description="Statistics of what went through a domain's protocols, by day. Administrators only.")
    async def notification_usage_stat(self, info: Info, query: StatQuery) -> StatResult:
        return await _read(info, Record.NOTIFICATION_USAGE, query)
