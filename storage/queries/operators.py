"""The SpaceONE query format's filters as conditions in SQL, each with the same meaning on both engines.

`docs/queries.md` has the table of the operators. It knows no table and no order; whose rows are seen is decided before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Double, and_, cast, false, literal, or_, true
from sqlalchemy.sql import operators as sql
from sqlalchemy.sql.elements import UnaryExpression

from storage import kept
from storage.columns import INT64
from storage.errors import StorageError
from storage.queries import json_keys, moments, patterns, texts
from storage.queries.fields import DOCUMENTS, SEPARATOR, Asked, Fields, Kind, UnknownKey, check_length
from storage.queries.json_keys import ANY, KEY, OBJECT, any_key, any_object

MAX_FILTERS = 50  # of one question, filter and filterOr together
MAX_VALUES = 1_000  # of all lists of one question
MAX_TEXTS = 100  # of one list of texts or patterns to be looked for
MAX_SOUGHT_CHARACTERS = 255  # of a text that is looked for in others, and of a keyword
MAX_LIST_CHARACTERS = 4_096  # of all texts of such a list
MAX_VALUE_CHARACTERS = 4_096  # of a text to compare with
MAX_MATCHED_KEYS = 16  # of one match


class Operator(StrEnum):
    EQ = "eq"
    NOT = "not"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NOT_IN = "not_in"
    CONTAIN = "contain"
    NOT_CONTAIN = "not_contain"
    CONTAIN_IN = "contain_in"
    NOT_CONTAIN_IN = "not_contain_in"
    EXISTS = "exists"
    MATCH = "match"
    REGEX = "regex"
    REGEX_IN = "regex_in"
    DATETIME_GT = "datetime_gt"
    DATETIME_GTE = "datetime_gte"
    DATETIME_LT = "datetime_lt"
    DATETIME_LTE = "datetime_lte"
    TIMEDIFF_GT = "timediff_gt"
    TIMEDIFF_GTE = "timediff_gte"
    TIMEDIFF_LT = "timediff_lt"
    TIMEDIFF_LTE = "timediff_lte"


PATTERNS = frozenset({Operator.REGEX, Operator.REGEX_IN})


class Unaskable(StorageError):
    """A filter that means nothing. `field` is the path of what is wrong with it; the message repeats no value."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def within(self, place: str) -> Unaskable:
        return Unaskable(self.message, field=f"{place}.{self.field}")


@dataclass(frozen=True)
class Filter:
    """One condition, as it was asked."""

    key: str
    operator: str
    value: Any = None

    @property
    def weight(self) -> int:
        """How many it counts as: of a match, each key is a condition."""
        return max(1, len(self.value)) if isinstance(self.value, dict) else 1


@dataclass(frozen=True)
class Question:
    """All of `filter`, and, where there are some, one of `filter_or`, and, where it is not blank, the keyword."""

    filter: Sequence[Filter] = ()
    filter_or: Sequence[Filter] = ()
    keyword: str | None = None
    now: datetime = moments.EARLIEST  # what timediff_* counts from

    @cached_property
    def is_empty(self) -> bool:
        return not (self.filter or self.filter_or or self.keyword)

    @cached_property
    def is_keyword(self) -> bool:
        """Whether it asks for nothing but a keyword's words."""
        return not (self.filter or self.filter_or)


EVERYTHING = kept.constant(Question())


def conditions(fields: Fields, question: Question) -> list[ColumnElement[bool]]:
    """What must hold of a row that is asked for. Raises Unaskable."""
    _check_size(question)
    every = _each(fields, question.filter, "filter", question.now)
    either = _each(fields, question.filter_or, "filterOr", question.now)
    return every + ([or_(*either)] if either else []) + _keyword(fields, question.keyword)


def condition(fields: Fields, wanted: Filter, *, now: datetime) -> ColumnElement[bool]:
    """What must hold of a row by one filter. Raises Unaskable, with the field `key`, `operator` or `value`."""
    try:
        asked = fields.resolve(storable(wanted.key, field="key"))
    except UnknownKey as error:
        raise Unaskable(str(error), field="key") from None
    if wanted.operator not in Operator.__members__.values():
        raise Unaskable(f"There is no such operator; there are {', '.join(Operator)}.", field="operator")
    return _MEANINGS[Operator(wanted.operator)](asked, wanted.value, now)


def words(keyword: str | None) -> list[str]:
    """The texts of which a keyword asks that one is there. Raises Unaskable."""
    found = storable(keyword or "", field="keyword").split()
    if len(keyword or "") > MAX_SOUGHT_CHARACTERS:
        raise Unaskable(f"A keyword has {MAX_SOUGHT_CHARACTERS} characters at most.", field="keyword")
    return found


def _each(fields: Fields, wanted: Iterable[Filter], place: str, now: datetime) -> list[ColumnElement[bool]]:
    found = []
    for at, each in _placed(wanted, place):
        try:
            found.append(condition(fields, each, now=now))
        except Unaskable as error:
            raise error.within(at) from None
    return found


def _keyword(fields: Fields, keyword: str | None) -> list[ColumnElement[bool]]:
    """One of the keyword's words is in one of the texts that keywords are looked for in."""
    sought = words(keyword)
    return [or_(*(_contains(fields.resolve(key), sought) for key in fields.keyword))] if sought else []


def _check_size(question: Question) -> None:
    every = [*_placed(question.filter, "filter"), *_placed(question.filter_or, "filterOr")]
    filters = values = 0
    for place, each in every:
        filters += each.weight
        if filters > MAX_FILTERS:
            raise Unaskable(f"A query has {MAX_FILTERS} filters at most; each key of a match is one.", field=place)
        values += len(each.value) if isinstance(each.value, list) else 0
        if values > MAX_VALUES:
            message = f"The lists of a query have {MAX_VALUES} values at most, all in all."
            raise Unaskable(message, field=f"{place}.value")


def _placed(wanted: Iterable[Filter], name: str) -> list[tuple[str, Filter]]:
    return [(f"{name}.{index}", each) for index, each in enumerate(wanted)]


# Each operator's meaning: what holds of an asked field, by a value.

Meaning = Callable[[Asked, Any, datetime], ColumnElement[bool]]
Comparison = Callable[[Any, Any], Any]


def _equal(asked: Asked, value: Any, _now: datetime) -> ColumnElement[bool]:
    return _is(asked, _operand(asked, value))


def _in(asked: Asked, value: Any, _now: datetime) -> ColumnElement[bool]:
    values = [_operand(asked, each) for each in _list(value)]
    kind = asked.field.kind
    found: ColumnElement[bool]
    if kind in DOCUMENTS:
        keys = sorted({json_keys.key(each) for each in values if each is not None})
        found = any_key(asked.field.column, asked.path, KEY.in_(keys)) if keys else false()
    elif kind is Kind.BOOLEAN:
        return or_(false(), *(_is(asked, each) for each in (None, False, True) if _among(each, values)))
    else:
        found = or_(false(), *(_is(asked, each) for each in values if isinstance(each, float)))
        others = [each for each in values if _is_of(kind, each) and not isinstance(each, float)]
        found = or_(found, asked.field.comparable.in_(others)) if others else found
    return or_(found, _is(asked, None)) if None in values else found


def _compared(compare: Comparison) -> Meaning:
    def meaning(asked: Asked, value: Any, _now: datetime) -> ColumnElement[bool]:
        operand = _operand(asked, value)
        if operand is None:
            raise Unaskable("There is no order to null: this must be a text, a number, true or false.", field="value")
        return _beside(asked, compare, operand)

    return meaning


def _contain(asked: Asked, value: Any, _now: datetime) -> ColumnElement[bool]:
    return _contains(asked, [_sought(value)])


def _contain_in(asked: Asked, value: Any, _now: datetime) -> ColumnElement[bool]:
    return _contains(asked, _sought_texts(value))


def _contains(asked: Asked, sought: Sequence[str]) -> ColumnElement[bool]:
    """Whether one of these is a part of the text. The one place from which texts are searched."""
    return _of_text(asked, lambda text: texts.contains(text, sought)) if sought else false()


def _regex(asked: Asked, value: Any, _now: datetime) -> ColumnElement[bool]:
    return _matches(asked, [_sought(value)])


def _regex_in(asked: Asked, value: Any, _now: datetime) -> ColumnElement[bool]:
    return _matches(asked, _sought_texts(value))


def _matches(asked: Asked, given: Sequence[str]) -> ColumnElement[bool]:
    try:
        pattern = patterns.either([patterns.read(each) for each in given])
    except patterns.Unsupported as error:
        raise Unaskable(str(error), field="value") from None
    return _of_text(asked, lambda text: texts.matches(text, pattern)) if given else false()


def _exists(asked: Asked, value: Any, _now: datetime) -> ColumnElement[bool]:
    if not isinstance(value, bool):
        raise Unaskable("This must be true or false.", field="value")
    found = _is_there(asked)
    return found if value else _fails(found)


def _match(asked: Asked, value: Any, _now: datetime) -> ColumnElement[bool]:
    if asked.field.kind not in DOCUMENTS:
        raise Unaskable("match is for lists in JSON.", field="operator")
    if not isinstance(value, dict) or not 0 < len(value) <= MAX_MATCHED_KEYS:
        raise Unaskable(f"This must be an object of 1 to {MAX_MATCHED_KEYS} keys.", field="value")
    return any_object(asked.field.column, asked.path, and_(*(_element_has(key, each) for key, each in value.items())))


def _element_has(key: str, value: Any) -> ColumnElement[bool]:
    path = storable(key, field="value").split(SEPARATOR)
    if key.startswith("$") or not all(path):
        raise Unaskable("The keys of this lead to values, and none of them is an operator.", field="value")
    try:
        check_length(key)
    except UnknownKey as error:
        raise Unaskable(str(error), field="value") from None
    return _document_has(OBJECT, path, _scalar(value))


def _by_date(compare: Comparison) -> Meaning:
    def meaning(asked: Asked, value: Any, _now: datetime) -> ColumnElement[bool]:
        _require_date(asked)
        return _beside(asked, compare, _moment(lambda: moments.parse(_text(value))))

    return meaning


def _by_distance(compare: Comparison) -> Meaning:
    def meaning(asked: Asked, value: Any, now: datetime) -> ColumnElement[bool]:
        _require_date(asked)
        return _beside(asked, compare, _moment(lambda: moments.from_now(_text(value), now)))

    return meaning


def _negated(meaning: Meaning) -> Meaning:
    def negated(asked: Asked, value: Any, now: datetime) -> ColumnElement[bool]:
        return _fails(meaning(asked, value, now))

    return negated


_MEANINGS: Mapping[Operator, Meaning] = {
    Operator.EQ: _equal,
    Operator.NOT: _negated(_equal),
    Operator.GT: _compared(sql.gt),
    Operator.GTE: _compared(sql.ge),
    Operator.LT: _compared(sql.lt),
    Operator.LTE: _compared(sql.le),
    Operator.IN: _in,
    Operator.NOT_IN: _negated(_in),
    Operator.CONTAIN: _contain,
    Operator.NOT_CONTAIN: _negated(_contain),
    Operator.CONTAIN_IN: _contain_in,
    Operator.NOT_CONTAIN_IN: _negated(_contain_in),
    Operator.EXISTS: _exists,
    Operator.MATCH: _match,
    Operator.REGEX: _regex,
    Operator.REGEX_IN: _regex_in,
    Operator.DATETIME_GT: _by_date(sql.gt),
    Operator.DATETIME_GTE: _by_date(sql.ge),
    Operator.DATETIME_LT: _by_date(sql.lt),
    Operator.DATETIME_LTE: _by_date(sql.le),
    Operator.TIMEDIFF_GT: _by_distance(sql.gt),
    Operator.TIMEDIFF_GTE: _by_distance(sql.ge),
    Operator.TIMEDIFF_LT: _by_distance(sql.lt),
    Operator.TIMEDIFF_LTE: _by_distance(sql.le),
}


# Conditions on a column, or on what a path leads to in one.


def _is(asked: Asked, value: Any) -> ColumnElement[bool]:
    if asked.field.kind in DOCUMENTS:
        return _document_has(asked.field.column, asked.path, value)
    if value is None:
        return asked.field.column.is_(None)
    if asked.field.kind is Kind.BOOLEAN and isinstance(value, bool):
        # As the partial indexes spell it, which neither engine recognises by `is_read = false`.
        column = asked.field.column
        return column if value else UnaryExpression(column, operator=sql.inv, type_=column.type)
    return _beside(asked, sql.eq, value)


def _document_has(document: ColumnElement[Any], path: Sequence[str], value: Any) -> ColumnElement[bool]:
    found = any_key(document, path, sql.eq(KEY, json_keys.key(value)))
    return found if value is not None else or_(found, _fails(any_key(document, path, ANY)))


def _beside(asked: Asked, compare: Comparison, value: Any) -> ColumnElement[bool]:
    """The comparison, which fails between types."""
    kind = asked.field.kind
    if kind in DOCUMENTS:
        key = json_keys.key(value)
        return any_key(asked.field.column, asked.path, and_(compare(KEY, key), json_keys.is_of(key[0])))
    if not _is_of(kind, value):
        return false()
    column = asked.field.comparable
    if isinstance(value, float):
        column, value = cast(column, Double), literal(value, Double)
    return compare(column, int(value) if kind is Kind.BOOLEAN else value)  # type: ignore[no-any-return]


def _of_text(asked: Asked, holds: Callable[[ColumnElement[str]], ColumnElement[bool]]) -> ColumnElement[bool]:
    """Whether it holds for the text. What is no text is not found."""
    if asked.field.kind in DOCUMENTS:
        is_text = json_keys.is_of(json_keys.Type.TEXT)
        return any_key(asked.field.column, asked.path, and_(is_text, holds(texts.behind_first(KEY))))
    return holds(asked.field.comparable) if asked.field.kind in (Kind.TEXT, Kind.ENUM) else false()


def _is_there(asked: Asked) -> ColumnElement[bool]:
    if asked.path:
        return any_key(asked.field.column, asked.path, ANY)
    return asked.field.column.is_not(None)


def _fails(holds: ColumnElement[bool]) -> ColumnElement[bool]:
    """Neither true nor, of what is null, unknown."""
    return holds.is_not(true())


def _is_of(kind: Kind, value: Any) -> bool:
    """Whether a value can be one of this kind's: a text is no number, and true is not 1."""
    if kind is Kind.NUMBER:
        return isinstance(value, int | float) and not isinstance(value, bool)
    types = {Kind.BOOLEAN: bool, Kind.DATE: datetime}
    return isinstance(value, types.get(kind, str))


def _among(value: bool | None, values: Sequence[Any]) -> bool:
    return any(each is value for each in values)


# What a value has to be.


def _operand(asked: Asked, value: Any) -> Any:
    """The value to compare with; for dates, the moment that it spells."""
    scalar = _scalar(value)
    if asked.field.kind is Kind.DATE and scalar is not None:
        return _moment(lambda: moments.parse(_text(scalar)))
    return scalar


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool | float):
        return value
    if not isinstance(value, int):
        raise Unaskable("This must be one value: a text, a number, true, false or null.", field="value")
    if value not in INT64:
        raise Unaskable("Integers must fit into 64 bits.", field="value")
    return value


def _text(value: Any, *, longest: int = MAX_VALUE_CHARACTERS) -> str:
    if not isinstance(value, str):
        raise Unaskable("This must be a text.", field="value")
    if len(value) > longest:
        raise Unaskable(f"This may have {longest} characters at most.", field="value")
    return storable(value, field="value")


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Unaskable("This must be a list.", field="value")
    return value


def _sought(value: Any) -> str:
    return _text(value, longest=MAX_SOUGHT_CHARACTERS)


def _sought_texts(value: Any) -> list[str]:
    sought = [_sought(each) for each in _list(value)]
    if len(sought) > MAX_TEXTS or sum(map(len, sought)) > MAX_LIST_CHARACTERS:
        raise Unaskable(
            f"This may have {MAX_TEXTS} texts at most, of {MAX_LIST_CHARACTERS} characters together.", field="value"
        )
    return sought


def _moment(read: Callable[[], datetime]) -> datetime:
    try:
        return read()
    except moments.NoMoment as error:
        raise Unaskable(str(error), field="value") from None


def _require_date(asked: Asked) -> None:
    if asked.field.kind is not Kind.DATE:
        raise Unaskable("This operator is for dates.", field="operator")


def storable(text: str, *, field: str) -> str:
    """No row holds these, and PostgreSQL would not take the question."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Unaskable("This contains what is not a character that can be stored.", field=field)
    return text
