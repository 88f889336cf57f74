"""The values in a pipeline: an expression and its kind, and the ways to read it. It knows neither rows nor stages."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import case, type_coerce

from storage.columns import Text
from storage.pipelines import documents
from storage.pipelines.documents import Expression
from storage.queries import json_keys
from storage.queries.fields import DOCUMENTS, Asked, Field, Kind
from storage.queries.operators import Unaskable

OURS = {  # the keys of a schedule as they are shown, and as they are stored
    "dayOfWeek": "day_of_week",
    "start": "start",
    "end": "end",
    "timeZone": "time_zone",
    "offHours": "off_hours",
}


@dataclass(frozen=True)
class Value:
    expression: Expression
    kind: Kind

    @property
    def spelled(self) -> Expression:
        """As the API spells it."""
        return documents.moment(self.expression) if self.kind is Kind.DATE else self.expression

    @property
    def document(self) -> Expression:
        """As JSON."""
        match self.kind:
            case Kind.JSON:
                return self.expression
            case Kind.NUMBER:
                return documents.number(self.expression)
            case Kind.BOOLEAN:
                return documents.truth(self.expression)
        return documents.text(self.spelled)

    @property
    def rank(self) -> Expression:
        """What it is ordered by."""
        return json_keys.sorted_by(self.expression, ()) if self.kind is Kind.JSON else self.expression

    def amount(self, place: str) -> Expression:
        """As a number to calculate with; of a date, its milliseconds. What is JSON, but no number, is NULL.

        Raises Unaskable, at this place.
        """
        match self.kind:
            case Kind.NUMBER:
                return documents.amount(self.expression)
            case Kind.JSON:
                return documents.amount(documents.number_of(self.expression))
            case Kind.DATE:
                return documents.milliseconds(self.expression)
        raise Unaskable("This is no number.", field=place)


def value_of(asked: Asked) -> Value:
    field = asked.field
    if field.kind is Kind.ENUM:
        return Value(type_coerce(field.column, Text()), Kind.TEXT)
    if field.kind not in DOCUMENTS:
        return Value(field.column, field.kind)
    if asked.path:
        return Value(documents.at(field.column, asked.path), Kind.JSON)
    return Value(whole(field), Kind.JSON)


def whole(field: Field) -> Expression:
    """All that a field of JSON holds, as it is shown."""
    if field.is_ours:
        shown = {name: documents.at(field.column, [stored]) for name, stored in OURS.items()}
        return case((field.column.is_not(None), documents.obj(shown)))
    return stored(field)


def stored(field: Field) -> Expression:
    """All that a field of JSON holds, as it is stored."""
    return field.column if field.column.type is documents.TYPE else documents.whole(field.column)
