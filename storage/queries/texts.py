"""Searching in texts, in SQL: parts of them and patterns, without case and with the same result on both engines."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Boolean, ColumnElement, func, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from storage.columns import Text
from storage.queries import folding, patterns
from storage.queries.patterns import Pattern


def contains(text: ColumnElement[str], sought: Sequence[str]) -> ColumnElement[bool]:
    """Whether one of these is a part of the text. There has to be one."""
    folded = orjson.dumps([folding.fold(each) for each in sought]).decode()
    pattern = "|".join(map(patterns.literal, sought))
    return _contains(text, literal(folded, Text()), literal(pattern, Text()))


def matches(text: ColumnElement[str], pattern: Pattern) -> ColumnElement[bool]:
    return _matches(text, literal(pattern.re2, Text()), literal(pattern.postgresql, Text()))


def behind_first(text: ColumnElement[str]) -> ColumnElement[str]:
    """The text but for its first character."""
    return func.substr(text, 2, type_=Text())


# Functions of the SQLite connections, which `storage.engine` registers by these names.


def sqlite_casefold(text: str | None) -> str | None:
    return None if text is None else folding.fold(text)


def sqlite_contains(text: str | None, sought: str) -> bool:
    """Whether one of the texts of a JSON list is a part of this one; all are folded."""
    return text is not None and any(each in text for each in _texts(sought))


sqlite_matches = patterns.found


@functools.lru_cache(maxsize=256)
def _texts(listed: str) -> list[str]:
    texts: list[str] = orjson.loads(listed)
    return texts


class _InText(FunctionElement[bool]):
    """Each engine takes what is sought in its own spelling."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, text: ColumnElement[str], for_sqlite: Any, for_postgresql: Any) -> None:
        super().__init__(text, for_sqlite, for_postgresql)


class _contains(_InText):
    inherit_cache = True


class _matches(_InText):
    inherit_cache = True


@compiles(_contains, "sqlite")
def _sqlite_contains(element: _contains, compiler: SQLCompiler, **options: Any) -> str:
    text, sought, _ = element.clauses
    return f"text_contains(casefold({compiler.process(text, **options)}), {compiler.process(sought, **options)})"


@compiles(_matches, "sqlite")
def _sqlite_matches(element: _matches, compiler: SQLCompiler, **options: Any) -> str:
    text, pattern, _ = element.clauses
    return f"text_matches({compiler.process(text, **options)}, {compiler.process(pattern, **options)})"


@compiles(_contains, "postgresql")
@compiles(_matches, "postgresql")
def _postgresql_matches(element: _InText, compiler: SQLCompiler, **options: Any) -> str:
    text, _, pattern = element.clauses
    return f'(({compiler.process(text, **options)}) COLLATE "C" ~ {compiler.process(pattern, **options)})'
