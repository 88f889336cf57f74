"""What a list call asks in the SpaceONE query format, and reading what it asks for. Whose rows: that is decided before.

A filter comes as the mapping of its fields that were given, each of which has two spellings: `k` or `key`, `v` or
`value`, `o` or `operator`. Errors name the one that was used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, Protocol, TypeVar

from sqlmodel.ext.asyncio.session import AsyncSession

from resolvers import paging
from resolvers.context import Server
from resolvers.errors import InvalidArgument
from resolvers.paging import Listing, Window
from storage.errors import TooCostly
from storage.paging import Bounds, Order, Page
from storage.queries import operators
from storage.queries.fields import Fields
from storage.queries.operators import PATTERNS, Filter, Question, Unaskable
from storage.queries.sorting import Sort
from storage.records import Narrowed
from storage.selected import Selected

Each = TypeVar("Each")
Wanted = TypeVar("Wanted", bound=Narrowed)
Taken = TypeVar("Taken", bound=Narrowed, contravariant=True)

QUERY_AT_MOST = timedelta(seconds=5)  # for one statement, on PostgreSQL
SPELLINGS = {"key": ("key", "k"), "value": ("value", "v"), "operator": ("operator", "o")}

Given = Mapping[str, Any]
Spelled = Mapping[str, str]  # paths by storage's names of fields -> as they were given, where that is not the same


@dataclass(frozen=True)
class Slice:
    """Rows by their numbers: `limit` of them from `start` on, which counts from 1."""

    start: int
    limit: int


@dataclass(frozen=True)
class Asking:
    """All that the argument `query` of a list asks for."""

    question: Question = operators.EVERYTHING
    sort: Sequence[Sort] = ()
    slice: Slice | None = None
    count_only: bool = False
    spelled: Spelled = field(default_factory=dict)

    @cached_property
    def is_plain(self) -> bool:
        """Whether it asks for no more than a list without a query, which indexes answer."""
        return self.question.is_empty and not self.sort

    @cached_property
    def is_keyword(self) -> bool:
        """Whether it asks for no more than a keyword's words."""
        return self.question.is_keyword and not self.sort

    @property
    def place(self) -> str:
        """What there would be less to answer without."""
        return "filter" if self.is_plain else "query"


NOTHING = Asking()


class Listed(Protocol[Taken, Each]):
    """What a list is of: `storage.records.Records`, or what is listed like them."""

    @property
    def fields(self) -> Fields: ...

    def order(self, sort: Sequence[Sort]) -> Order:
        """Raises Unaskable."""

    def page(
        self, session: AsyncSession, wanted: Taken, bounds: Bounds, *, order: Order, selected: Selected
    ) -> Awaitable[Page[Each]]: ...

    def count(self, session: AsyncSession, wanted: Taken) -> Awaitable[int]: ...


async def listing(
    server: Server,
    asking: Asking,
    window: Window,
    records: Listed[Wanted, Each],
    wanted: Wanted,
    *,
    selected: Selected,
    kept: Callable[[Wanted, Order, Bounds], Awaitable[Page[Each]]] | None = None,
) -> Listing[Each]:
    """The page that is asked for, or none of its rows where only their count is. Raises InvalidArgument.

    `records` get what is `wanted` with the question in it. So does `kept`, which reads the page where it is given.
    """
    question = asking.question
    if not question.is_empty:
        question = replace(question, now=server.clock())
    if kept is None or asking.count_only:
        with Explained(question, asking.spelled):
            operators.conditions(records.fields, question)
    ordered = _order(asking, records.order)
    bounds = _bounds(asking, window, ordered)
    asked = wanted if question.is_empty else replace(wanted, question=question)  # type: ignore[type-var]

    async def counted() -> int:
        async with reading(server, asking) as session:
            return await records.count(session, asked)

    if asking.count_only:
        return Listing(Page([], has_next=False, has_previous=False), ordered, counted)
    if kept is not None:
        with Explained(question, asking.spelled, place=asking.place):
            return Listing(await kept(asked, ordered, bounds), ordered, counted)
    async with reading(server, asking) as session:
        page = await records.page(session, asked, bounds, order=ordered, selected=selected)
        return Listing(page, ordered, counted)


def filters(given: Sequence[Given], place: str) -> tuple[list[Filter], dict[str, str]]:
    """Filters as they were given, and how their fields were spelled. Raises InvalidArgument: `query.<place>.0.k`."""
    read: list[Filter] = []
    spelled: dict[str, str] = {}
    for index, each in enumerate(given):
        used = {name: _spelling(each, name, f"{place}.{index}") for name in SPELLINGS}
        spelled |= {f"{place}.{index}.{name}": f"{place}.{index}.{how}" for name, how in used.items()}
        read.append(Filter(each[used["key"]], each[used["operator"]], each.get(used["value"])))
    return read, spelled


def sort_keys(given: Sequence[tuple[str, bool]], *, key: str | None, descending: bool | None) -> tuple[Sort, ...]:
    """What to sort by: the one `key`, or the keys that are `given`. Raises InvalidArgument."""
    if key is None:
        if descending is not None:
            raise InvalidArgument("This goes with key; among keys, each has its own.", field="query.sort.desc")
        return tuple(Sort(name, downwards) for name, downwards in given)
    if given:
        raise InvalidArgument("Sort by one key or by several, not by both.", field="query.sort.key")
    return (Sort(key, bool(descending)),)


@asynccontextmanager
async def reading(server: Server, asking: Asking) -> AsyncIterator[AsyncSession]:
    """A session for what is asked, whose statements may not take for ever. Raises InvalidArgument."""
    with Explained(asking.question, asking.spelled, place=asking.place):
        async with server.database.read(at_most=QUERY_AT_MOST) as session:
            yield session


class Explained:
    """Raises InvalidArgument for what storage finds that it cannot answer, with the field as it was spelled.

    A class, for every list enters it: @contextmanager takes twice as long.
    """

    def __init__(self, question: Question, spelled: Spelled, *, place: str = "query") -> None:
        self._question = question
        self._spelled = spelled
        self._place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, Unaskable):
            raise _refusal(error.message, error.field, self._spelled) from error
        if isinstance(error, TooCostly):
            if pattern := _pattern(self._question):
                raise _refusal("Searching for this costs too much.", pattern, self._spelled) from error
            raise InvalidArgument("This costs too much: narrow it down by other filters.", field=self._place) from error


def _order(asking: Asking, order: Callable[[Sequence[Sort]], Order]) -> Order:
    try:
        return order(asking.sort)
    except Unaskable as error:
        raise _refusal(error.message, f"sort.{error.field}", asking.spelled) from error


def _bounds(asking: Asking, window: Window, order: Order) -> Bounds:
    bounds = paging.bounds(window, order)
    if asking.slice is None:
        return bounds
    if window != Window():
        raise InvalidArgument("Page by numbers or by cursors, not by both.", field="query.page")
    if not 1 <= asking.slice.limit <= paging.MAX_PAGE:
        raise InvalidArgument(f"A page has between 1 and {paging.MAX_PAGE} rows.", field="query.page.limit")
    return Bounds(limit=asking.slice.limit, offset=max(asking.slice.start, 1) - 1)


def _spelling(given: Given, name: str, place: str) -> str:
    """Which of its two spellings a field was given by; where neither was and none has to be, the first."""
    long, short = SPELLINGS[name]
    if long in given and short in given:
        raise InvalidArgument(f"Give {long} or {short}, not both.", field=f"query.{place}.{short}")
    used = short if short in given else long
    if name != "value" and given.get(used) is None:
        raise InvalidArgument("This is required.", field=f"query.{place}.{used}")
    return used


def _pattern(question: Question) -> str | None:
    """Where a question's first regular expression is."""
    places = (("filter", question.filter), ("filterOr", question.filter_or))
    found = (f"{name}.{i}.value" for name, given in places for i, each in enumerate(given) if each.operator in PATTERNS)
    return next(found, None)


def _refusal(message: str, place: str, spelled: Spelled) -> InvalidArgument:
    return InvalidArgument(message, field=f"query.{spelled.get(place, place)}")
