"""Records that can be listed: how those of one table are asked, ordered, read and counted. It knows no table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import ColumnElement, Select
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from storage import paging
from storage.paging import Bounds, Order, Page
from storage.queries import operators, sorting
from storage.queries.fields import Fields
from storage.queries.operators import Question
from storage.queries.sorting import Sort
from storage.selected import ALL, Row, Selected, fetch


class Narrowed(Protocol):
    """A typed filter of a list, a dataclass, which a question narrows further."""

    @property
    def question(self) -> Question: ...


Wanted = TypeVar("Wanted", bound=Narrowed)


@dataclass(frozen=True)
class Records(Generic[Wanted]):
    """Those of one table that a caller may see. Its typed filters are `Wanted`."""

    entity: Any  # the model, or what stands for it
    columns: Mapping[str, Any]  # what can be read of them, by the names of `storage.selected`
    fields: Fields  # what can be asked of them
    usual: Order  # the order that they are listed in where no other is asked for
    where: Callable[[Wanted], list[ColumnElement[bool]]]  # what holds of those that a filter's own fields want
    unique: int = 1  # how many keys at the end of that order tell them apart

    def order(self, sort: Sequence[Sort]) -> Order:
        """By any of their fields. Raises Unaskable."""
        return sorting.order(self.fields, sort, otherwise=self.usual, unique=self.usual[-self.unique :])

    async def page(
        self,
        session: AsyncSession,
        wanted: Wanted,
        bounds: Bounds,
        *,
        order: Order | None = None,
        selected: Selected = ALL,
    ) -> Page[Row]:
        """Raises Unaskable."""
        order = self.usual if order is None else order
        return await paging.read(session, self.rows(wanted, selected, order=order), order, bounds, selected)

    async def find(self, session: AsyncSession, wanted: Wanted, selected: Selected = ALL) -> Row | None:
        """The one that is wanted, or None when there is none to see."""
        found = await fetch(session, self.rows(wanted, selected))
        return found[0] if found else None

    async def count(self, session: AsyncSession, wanted: Wanted) -> int:
        """Raises Unaskable."""
        return await paging.count(session, self.matching(wanted))

    def matching(self, wanted: Wanted) -> SelectOfScalar[Any]:
        """All that are wanted, as whole rows of the entity. Raises Unaskable."""
        return select(self.entity).where(*self._conditions(wanted))

    def rows(self, wanted: Wanted, selected: Selected, *, order: Order = ()) -> Select[Any]:
        """What is selected of them, and what an order needs, but not in this order. Raises Unaskable."""
        return selected.of(self.entity, self.columns, self._conditions(wanted), order=order)

    def _conditions(self, wanted: Wanted) -> list[ColumnElement[bool]]:
        return self.where(wanted) + operators.conditions(self.fields, wanted.question)


def narrowed(compare: Callable[[Any, Any], Any], *by: tuple[Any, Any]) -> list[ColumnElement[bool]]:
    """That columns compare so with what is given for them: pairs of both. What is None does not narrow."""
    return [compare(column, value) for column, value in by if value is not None]
