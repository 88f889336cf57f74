"""Lists of notifications: any filter, order and question, read by the index that leads to their rows."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import Select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import kept_pages, notification_searches, paging
from storage.engine import Database
from storage.kept_pages import KeptPages
from storage.listed import Listed
from storage.notification_filters import ID, LED_BY, NEWEST_FIRST, Filter, conditions, is_indexed
from storage.notifications import NotificationRow, selection, within
from storage.paging import Bounds, Order, Page
from storage.queries import fields, search, sorting
from storage.queries.fields import Fields
from storage.queries.search import InSession
from storage.queries.sorting import Sort
from storage.scope import Scope
from storage.selected import ALL, Selected


@dataclass(frozen=True)
class InScope:
    """Those that a caller may see: what `storage.records` are of other tables, but read by what leads to them."""

    scope: Scope
    usual: Order = NEWEST_FIRST  # the order that they are listed in where no other is asked for
    fields: ClassVar[Fields] = fields.NOTIFICATION

    def order(self, sort: Sequence[Sort]) -> Order:
        """By any of their fields. Raises Unaskable."""
        return sorting.order(self.fields, sort, otherwise=self.usual, unique=(ID,))

    async def page(
        self,
        session: AsyncSession,
        wanted: Filter,
        bounds: Bounds,
        *,
        order: Order | None = None,
        selected: Selected = ALL,
    ) -> Page[NotificationRow]:
        """Raises Unaskable."""
        listed = Listed.of(self.scope, wanted)
        async with search.by_index(session, listed.texts):
            return await notification_searches.page(InSession(session), listed, order or self.usual, bounds, selected)

    async def count(self, session: AsyncSession, wanted: Filter) -> int:
        """Raises Unaskable."""
        return await paging.count(session, await notification_searches.matching(session, self.scope, wanted))


def page_kept(
    database: Database, scope: Scope, wanted: Filter, order: Order, bounds: Bounds, selected: Selected = ALL
) -> Awaitable[Page[NotificationRow]]:
    """A page of those in scope, where no more is asked than the filter's own fields and a keyword. Raises Unaskable."""
    assert wanted.question.is_keyword
    if wanted.is_led:
        return _PAGES.read(database, order, selected, bounds, scope, wanted)
    return notification_searches.page(database, Listed.of(scope, wanted), order, bounds, selected)


def _plain(order: Order, selected: Selected, scope: Scope, wanted: Filter) -> Select[Any]:
    return selection(selected, order, [*within(scope), *conditions(wanted)])


def _led_by(order: Order, bounds: Bounds, scope: Scope, wanted: Filter) -> str | None:
    if not is_indexed(order):
        return None
    return kept_pages.index(LED_BY, bounds, scope, wanted)


_PAGES = KeptPages(_plain, _led_by, NotificationRow)
