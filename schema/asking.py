"""The SpaceONE query format in the API: the inputs of lists' `query`, which statistics share. No rules.

Exactly one spelling of each field of a filter is given, which the resolvers see to.
"""

from __future__ import annotations

from typing import Annotated, Any

import strawberry
from strawberry import UNSET, argument

from resolvers import asking
from resolvers.asking import Asking, Slice
from schema.scalars import JSON
from storage.queries.operators import Question


@strawberry.input(description="One condition. Of the two spellings of a field, one is given.")
class QueryFilter:
    k: str | None = strawberry.field(default=UNSET, description="The same as key.")
    key: str | None = strawberry.field(
        default=UNSET,
        description="A field, as the API (isRead) or as the SpaceONE API (is_read) spells it; dots lead into JSON: "
        "message.tags.urgency.",
    )
    v: JSON | None = strawberry.field(default=UNSET, description="The same as value.")
    value: JSON | None = strawberry.field(default=UNSET, description="What to compare with; absent: null.")
    o: str | None = strawberry.field(default=UNSET, description="The same as operator.")
    operator: str | None = strawberry.field(
        default=UNSET,
        description="eq, not, gt, gte, lt, lte, in, not_in, contain, not_contain, contain_in, not_contain_in, exists, "
        "match, regex, regex_in, datetime_gt, datetime_gte, datetime_lt, datetime_lte, timediff_gt, timediff_gte, "
        "timediff_lt or timediff_lte.",
    )

    def given(self) -> dict[str, Any]:
        """Its fields that are given, by their names."""
        return {name: value for name, value in vars(self).items() if value is not UNSET}


@strawberry.input(description="A key to sort by.")
class QuerySortKey:
    key: str = strawberry.field(description="A field, spelled as in a filter.")
    desc: bool | None = strawberry.field(default=False, description="Whether the largest comes first.")


@strawberry.input(description="What to sort by: one key, or several.")
class QuerySort:
    key: str | None = strawberry.field(default=None, description="The one key, spelled as in a filter.")
    desc: bool | None = strawberry.field(default=None, description="Whether the largest comes first; goes with key.")
    keys: list[QuerySortKey] | None = strawberry.field(
        default=None,
        description="Several keys, 8 at most: each decides among what those before it find alike.",
    )


@strawberry.input(description="A page by its rows' numbers.")
class QueryPage:
    start: int | None = strawberry.field(default=1, description="The first row, which is 1.")
    limit: int = strawberry.field(description="How many rows: 1 to 100.")

    def slice(self) -> Slice:
        return Slice(start=1 if self.start is None else self.start, limit=self.limit)


@strawberry.input(
    description="The query format of the SpaceONE API. A row is found if all of filter hold, one of filterOr does, and "
    "one of the keyword's words is found in it; what is absent or empty does not narrow."
)
class QueryInput:
    filter: list[QueryFilter] | None = strawberry.field(default=None, description="Conditions that all hold.")
    filter_or: list[QueryFilter] | None = strawberry.field(
        default=None, description="Conditions of which one holds. At most 50, together with filter."
    )
    sort: QuerySort | None = strawberry.field(default=None, description="In which order; null: the newest first.")
    page: QueryPage | None = strawberry.field(
        default=None, description="Which rows, by number. Not together with first, after, last or before."
    )
    keyword: str | None = strawberry.field(
        default=None, description="Words, of which one has to be in the record's main texts, in whatever case."
    )
    only: list[str] | None = strawberry.field(
        default=None, description="Accepted, without effect: what is selected is what is answered."
    )
    minimal: bool | None = strawberry.field(default=None, description="Accepted, without effect, as only is.")
    count_only: bool | None = strawberry.field(default=None, description="Whether no rows are wanted, but totalCount.")

    def asking(self) -> Asking:
        every, spelled = asking.filters([each.given() for each in self.filter or []], "filter")
        either, spelled_or = asking.filters([each.given() for each in self.filter_or or []], "filterOr")
        sort = self.sort or QuerySort()
        keys = [(each.key, bool(each.desc)) for each in sort.keys or []]
        if sort.key is not None:
            spelled["sort.keys.0.key"] = "sort.key"
        return Asking(
            question=Question(every, either, self.keyword),
            sort=asking.sort_keys(keys, key=sort.key, descending=sort.desc),
            slice=None if self.page is None else self.page.slice(),
            count_only=bool(self.count_only),
            spelled=spelled | spelled_or,
        )


Query = Annotated[QueryInput | None, argument(description="The same and more in the query format of SpaceONE.")]


def asked(query: QueryInput | None) -> Asking:
    return asking.NOTHING if query is None else query.asking()
