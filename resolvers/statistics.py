"""Statistics of what the caller may list: each record's rows are scoped as its list scopes them, before all else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from resolvers import access, asking, checks, paging
from resolvers.access import Caller, Role
from resolvers.asking import Given, Slice
from resolvers.context import Server
from resolvers.errors import InvalidArgument
from resolvers.stages import Reader
from storage import statistics
from storage.queries.fields import MAX_KEY_CHARACTERS
from storage.queries.operators import Filter, Operator, Question
from storage.statistics import Record, Result, Wanted

AT_MOST = timedelta(seconds=10)  # for one statement

_EVERYBODY = frozenset(Role)
ROLES: Mapping[Record, frozenset[Role]] = {
    Record.NOTIFICATION: _EVERYBODY,
    Record.DELIVERY: _EVERYBODY,
    Record.PROTOCOL: access.ADMINS,
    Record.PROJECT_CHANNEL: access.ADMINS,
    Record.USER_CHANNEL: access.PEOPLE,
    Record.QUOTA: access.ADMINS,
    Record.NOTIFICATION_USAGE: access.ADMINS,
}
_DOMAIN_KEYS = ("domainId", "domain_id")


@dataclass(frozen=True)
class StatisticsQuery:
    """What was asked, as it was given: filters and stages are mappings of what was given in them."""

    filter: Sequence[Given] = ()
    filter_or: Sequence[Given] = ()
    keyword: str | None = None
    aggregate: Sequence[Given] = ()
    distinct: str | None = None
    page: Slice | None = None


async def read(server: Server, caller: Caller, record: Record, query: StatisticsQuery) -> Result:
    """Raises InvalidArgument, whose field begins with `query.`."""
    access.require(caller, ROLES[record])
    every, spelled = asking.filters(query.filter, "filter")
    either, spelled_or = asking.filters(query.filter_or, "filterOr")
    reader = Reader(spelled=spelled | spelled_or)
    question = Question(every, either, query.keyword, now=server.clock())
    wanted = _wanted(query, question, reader)
    scope = access.scope(caller, _domain(caller, every, reader.spelled))
    with asking.Explained(question, reader.spelled):
        async with server.database.read(at_most=AT_MOST) as session:
            return await statistics.read(session, record, scope, wanted)


def _wanted(query: StatisticsQuery, question: Question, reader: Reader) -> Wanted:
    if not query.aggregate and query.distinct is None:
        raise InvalidArgument("What to make of the records is required: stages, or distinct.", field="query.aggregate")
    if query.aggregate and query.distinct is not None:
        raise InvalidArgument("Give stages or distinct, not both.", field="query.distinct")
    if query.distinct is not None:
        checks.text(query.distinct, "query.distinct", longest=MAX_KEY_CHARACTERS)
    page = query.page
    if page is not None and not 1 <= page.limit <= paging.MAX_PAGE:
        raise InvalidArgument(f"A page has between 1 and {paging.MAX_PAGE} rows.", field="query.page.limit")
    return Wanted(
        question,
        reader.stages(query.aggregate),
        query.distinct,
        limit=None if page is None else page.limit,
        offset=0 if page is None else max(page.start, 1) - 1,
    )


def _domain(caller: Caller, filters: Sequence[Filter], spelled: Mapping[str, str]) -> str | None:
    """The domain that SYSTEM names by a filter. Anybody else's filters can only narrow what is in their own."""
    if caller.role is not Role.SYSTEM:
        return None
    for index, each in enumerate(filters):
        if each.key in _DOMAIN_KEYS and each.operator == Operator.EQ and isinstance(each.value, str):
            place = f"filter.{index}.value"
            return checks.identifier(each.value, f"query.{spelled.get(place, place)}")
    return None
