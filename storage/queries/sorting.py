"""Orders by what is asked of a record: any field, or what a key leads to in its JSON.

Every key of an order is never null, as pages need it: one that may be null is led by one that says whether it is. What
is null or missing comes before everything else, and in JSON numbers, texts, objects, lists and booleans follow in this
order; lists are all alike, and so are objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import orjson
from sqlalchemy import BigInteger, ColumnElement, case, func, literal

from storage.paging import Order, SortKey
from storage.queries import json_keys
from storage.queries.fields import DOCUMENTS, SEPARATOR, Asked, Fields, Kind, UnknownKey
from storage.queries.operators import Unaskable, storable

MAX_SORT_KEYS = 8
STAND_INS: dict[Kind, Any] = {Kind.NUMBER: 0, Kind.DATE: datetime(1970, 1, 1, tzinfo=UTC)}  # elsewhere ""


@dataclass(frozen=True)
class Sort:
    """One key to sort by, as it was asked."""

    key: str
    descending: bool = False


def order(fields: Fields, sort: Sequence[Sort], *, otherwise: Order, unique: Order) -> Order:
    """The order that is asked for, made total by the `unique` keys. Raises Unaskable: `keys.0.key`."""
    if not sort:
        return otherwise
    if len(sort) > MAX_SORT_KEYS:
        raise Unaskable(f"A list is sorted by {MAX_SORT_KEYS} keys at most.", field=f"keys.{MAX_SORT_KEYS}")
    asked = [_resolve(fields, each.key, index) for index, each in enumerate(sort)]
    for index, each in enumerate(asked):
        if each in asked[:index]:
            raise Unaskable("A field can be sorted by once.", field=f"keys.{index}.key")
    keys = [key for one, how in zip(asked, sort, strict=True) for key in _keys(one, how.descending)]
    return (*keys, *(replace(key, descending=sort[-1].descending) for key in unique))


def _resolve(fields: Fields, key: str, index: int) -> Asked:
    try:
        return fields.resolve(storable(key, field="key"))
    except UnknownKey as error:
        raise Unaskable(str(error), field=f"keys.{index}.key") from None
    except Unaskable as error:
        raise error.within(f"keys.{index}") from None


def _document(value: Any) -> Any:
    return orjson.loads(value) if isinstance(value, str) else value  # of a row that was read as text


def _keys(asked: Asked, descending: bool) -> Iterator[SortKey]:
    field, name = asked.field, SEPARATOR.join((asked.field.name, *asked.path))

    def value(row: Any) -> Any:
        return reduce(getattr, field.attributes, row)

    def key(name: str, column: ColumnElement[Any], value: Callable[[Any], Any]) -> SortKey:
        return SortKey(name, column, value, descending, attribute=field.attributes[-1])

    if field.kind in DOCUMENTS:
        in_json = json_keys.sorted_by(field.column, asked.path)
        yield key(name, in_json, lambda row: json_keys.sort_key(_document(value(row)), asked.path))
    elif field.kind is Kind.BOOLEAN:
        yield key(name, field.comparable, lambda row: int(value(row)))
    elif not field.is_nullable:
        yield key(name, field.comparable, value)
    else:
        stand_in = STAND_INS.get(field.kind, "")
        is_given = case((field.column.is_(None), literal(0, BigInteger)), else_=1)
        yield key(f"{name}?", is_given, lambda row: int(value(row) is not None))
        filled = func.coalesce(field.comparable, literal(stand_in, field.comparable.type))
        yield key(name, filled, lambda row: stand_in if value(row) is None else value(row))
