"""What a list of notifications has: whose they are, what they are narrowed by, and which texts are sought in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement

from storage.notification_filters import Filter, conditions
from storage.notifications import within
from storage.queries import search
from storage.queries.search import Texts
from storage.scope import Scope


@dataclass(frozen=True)
class Listed:
    """Its question's keyword is among the texts."""

    scope: Scope
    wanted: Filter
    texts: Texts

    @classmethod
    def of(cls, scope: Scope, wanted: Filter) -> Listed:
        """Raises Unaskable."""
        texts = search.texts(wanted.question, wanted.topics)
        return cls(scope, replace(wanted, question=replace(wanted.question, keyword=None)), texts)

    def asked(self) -> list[ColumnElement[bool]]:
        """What is asked of each row, the cheap conditions first."""
        return [*self.texts.conditions(), *conditions(self.wanted)]

    def leading(self, *, is_led: bool = True) -> list[ColumnElement[bool]]:
        """The conditions that an index answers together, and which lead to the rows, unless something else does."""
        return [*within(self.scope, is_led=is_led), *conditions(self.narrowing())]

    def narrowing(self) -> Filter:
        """What leads to the rows beside the scope: what a user has not read; of a whole domain's, one field more."""
        scope, wanted = self.scope, self.wanted
        if scope.user_id is not None:
            return Filter(is_read=False) if wanted.is_read is False else Filter()
        if scope.created_by is not None:
            return Filter()
        names = ("parent_notification_id", "user_id", "project_id")
        given = {name: getattr(wanted, name) for name in names if getattr(wanted, name) is not None}
        return Filter(**dict([*given.items()][:1]))
