"""Statements that are built and compiled once for each shape of what they are given, and asked again with its values.

A shape is what is given, not with which values: which fields of a scope or filter, how many values of a list, which
way a page goes. The functions that build statements for sessions build these too. They are given stand-ins: the same
dataclasses, with bound parameters in the place of values. It knows no table and no connection.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any, TypeVar

from sqlalchemy import BigInteger, BindParameter, Dialect, Select, bindparam
from sqlalchemy.types import TypeEngine

from storage.columns import Text, UtcDateTime
from storage.selected import Row, row_class

MAX_KEPT = 512  # statements of one database
MAX_BOUND = 64  # parameters of one that is kept: a list of ids may have a thousand, and another number each time

Read = Callable[[Any], Any]
Value = TypeVar("Value")
Path = tuple[int | str, ...]  # from all that is given to a value: positions and names of fields


_constants: dict[int, tuple[Any, Any]] = {}  # values that were said to be constant, by their ids, and their shapes


def unbounded(*_given: Any) -> None:
    """No index says how much is read."""


@dataclass(frozen=True, eq=False)
class Kind:
    """One thing that is asked.

    `build` makes the statement of what is given and of what is fixed. `led_by` says of the same which index leads to
    the rows where no more of it is read than they are, whatever the values; None where that may be, and then PostgreSQL
    plans it `by_values`, if so it is said. What is given `has_one_shape` where it never lacks a part and never holds a
    number.
    """

    build: Callable[..., Select[Any]]
    led_by: Callable[..., str | None] = unbounded
    row: type[Row] = Row
    has_one_shape: bool = False
    by_values: bool = False


class Statement:
    """A compiled one: its text, how its parameters are read off what is given, and what becomes of its rows."""

    def __init__(self, select: Select[Any], paths: dict[str, Path], dialect: Dialect, kind: Any) -> None:
        compiled = select.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        self.text = str(compiled)
        # The dialects of both engines are positional.
        self.bound = [_reader(compiled.binds[name], paths, dialect) for name in compiled.positiontup or ()]
        self._results = [_result_processor(column.type, dialect) for column in select.selected_columns]
        self.is_raw = not any(self._results)  # a driver's values are those of the rows
        self._kind, self._names = kind, tuple(select.selected_columns.keys())
        self._row = row_class(kind, tuple, self._names)

    def parameters(self, given: Sequence[Any]) -> tuple[Any, ...]:
        return tuple([read(given) for read in self.bound])

    def rows(self, fetched: Iterable[Sequence[Any]]) -> list[Any]:
        """What a driver fetched, as rows."""
        return list(map(self._row, fetched if self.is_raw else map(self._processed, fetched)))

    def record_class(self, base: type) -> type[Any] | None:
        """The class of rows, for a driver that makes them itself; None where their values are processed first."""
        return row_class(self._kind, base, self._names) if self.is_raw else None

    def _processed(self, fetched: Sequence[Any]) -> list[Any]:
        pairs = zip(self._results, fetched, strict=True)
        return [value if process is None else process(value) for process, value in pairs]


@dataclass(frozen=True, eq=False)
class Kept:
    statement: Statement
    index: str | None  # that leads to its rows
    is_planned_by_values: bool


class Statements:
    """Those of one database. The ones that were made the longest ago go first, and are made again: that is rare."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._kept: dict[Any, Kept] = {}

    def of(self, kind: Kind, given: Sequence[Any], fixed: Hashable) -> Kept:
        key = kind, fixed, None if kind.has_one_shape else shape(given)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._made(kind, given, fixed)
            self._keep(key, kept)
        return kept

    def _keep(self, key: Any, kept: Kept) -> None:
        if len(kept.statement.bound) <= MAX_BOUND:
            self._kept[key] = kept
        if len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]

    def _made(self, kind: Kind, given: Sequence[Any], fixed: Hashable) -> Kept:
        paths: dict[str, Path] = {}
        select = kind.build(fixed, *_stand_in(tuple(given), (), paths))
        index = kind.led_by(fixed, *given)
        return Kept(Statement(select, paths, self._dialect, kind.row), index, kind.by_values and index is None)


def shape(value: Any) -> Any:
    """What is given, without its values. 0 and truths are shapes: statements differ by them."""
    kind: Any = type(value)
    if kind is str or kind is datetime:
        return kind
    if value is None or kind is bool:
        return value
    if kind is int:
        return int if value else 0
    if id(value) in _constants:
        return _constants[id(value)][1]
    parts = _parts(kind)
    # Most fields of a filter are not given: nothing is called for those.
    return kind if parts is None else tuple([part if part is None else shape(part) for part in parts(value)])


def constant(value: Value) -> Value:
    """The same value: one that is given again and again, for as long as the process lives. Its shape is kept."""
    _constants[id(value)] = value, shape(value)
    return value


@lru_cache
def _parts(kind: type) -> Callable[[Any], Iterable[Any]] | None:
    """What reads the parts of a value of this class, if it has some: a dataclass's fields, a list's or tuple's."""
    if is_dataclass(kind):
        return attrgetter(*(field.name for field in fields(kind)))
    return tuple if issubclass(kind, (list, tuple)) else None


def _stand_in(value: Any, path: Path, paths: dict[str, Path]) -> Any:
    """The same with parameters in the place of values; where each one's value is found is added to `paths`."""
    kind = type(value)
    if value is None or kind is bool or (kind is int and not value):
        return value
    if is_dataclass(kind):
        return kind(
            **{each.name: _stand_in(getattr(value, each.name), (*path, each.name), paths) for each in fields(value)}
        )
    if isinstance(value, (list, tuple)):
        parts = [_stand_in(part, (*path, number), paths) for number, part in enumerate(value)]
        return kind._make(parts) if hasattr(kind, "_make") else kind(parts)
    name = "_".join(map(str, ("given", *path)))
    paths[name] = path
    return bindparam(name, type_=_type(value), required=False)


def _type(value: Any) -> TypeEngine[Any]:
    if isinstance(value, datetime):
        return UtcDateTime()
    return Text() if isinstance(value, str) else BigInteger()


def _reader(bound: BindParameter[Any], paths: dict[str, Path], dialect: Dialect) -> Read:
    """From all that is given to a parameter as the driver takes it."""
    process = bound.type.dialect_impl(dialect).bind_processor(dialect)
    if bound.key not in paths:
        constant = bound.effective_value if process is None else process(bound.effective_value)
        return lambda _given: constant
    steps = [itemgetter(step) if isinstance(step, int) else attrgetter(step) for step in paths[bound.key]]
    return _composed([*steps, process] if process else steps)


def _composed(steps: Sequence[Read]) -> Read:
    first, *others = steps
    if not others:
        return first
    then = _composed(others)
    return lambda given: then(first(given))


def _result_processor(kind: TypeEngine[Any], dialect: Dialect) -> Read | None:
    return kind.dialect_impl(dialect).result_processor(dialect, None)
