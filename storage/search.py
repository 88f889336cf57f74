"""Narrowing what is asked of notifications down by an index of their contents' texts: FTS5 on SQLite, pg_trgm else.

It narrows only, so answers are the same without it: the conditions of `storage.operators` still hold of every row. It
is asked where it helps: a scope of few rows is read through faster, and so is the list of what nearly everything
contains, which has a page together soon.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import Boolean, ColumnElement, Executable, literal, or_, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from storage import fields, folding, search_texts
from storage.columns import Text
from storage.models import Content, Notification
from storage.operators import Filter, Operator, Question
from storage.scope import Scope

# Checking so many one by one takes about 50 ms.
FEW_ROWS = 5_000  # of a scope, which is read through
MANY_FOUND = 5_000  # contents, with which a list is soon full as it goes

Alternatives = list[str]  # texts of which one has to be there

_SEARCHED = {(asked.field.name, asked.path) for asked in map(fields.NOTIFICATION.resolve, fields.NOTIFICATION.keyword)}
_SEARCHED_COLUMN: ColumnElement[str] = Content.__table__.c.searched  # type: ignore[attr-defined]
_MATCH = text("SELECT rowid FROM content_search WHERE content_search MATCH :match LIMIT :limit")


def conditions(question: Question) -> list[ColumnElement[bool]]:
    """What holds of all contents that the question finds, and costs far less to check than what it asks.

    The question has to be one that can be asked.
    """
    return [
        or_(*(_has(_SEARCHED_COLUMN, literal(folding.fold(each), Text())) for each in one)) for one in _sought(question)
    ]


async def candidates(
    session: AsyncSession, question: Question, scope: Scope, within: Sequence[ColumnElement[bool]]
) -> list[int] | None:
    """The contents among which all is that the question asks for; None where the index is of no use.

    `within` are the conditions of the scope. The question has to be one that can be asked.
    """
    sought = [each for each in _sought(question) if all(map(search_texts.trigrams, each))]
    if not sought:
        return None
    if session.get_bind().dialect.name == "sqlite":
        return await _within_bounds(session, _sqlite_matches(sought, scope), within)
    # What contains a text, or who has many rows, is not foreseen well: a table would be read through for nothing.
    await session.exec(text("SET LOCAL enable_seqscan = off"))  # type: ignore[call-overload]
    found = await _within_bounds(session, _postgresql_matches(sought, scope), within)
    await session.exec(text("SET LOCAL enable_seqscan TO DEFAULT"))  # type: ignore[call-overload]
    return found


async def _within_bounds(
    session: AsyncSession, matches: Executable, within: Sequence[ColumnElement[bool]]
) -> list[int] | None:
    """The contents that match, if there are not too many of them, and the scope has many rows."""
    if not await _has_many(session, within):
        return None
    found = [row[0] for row in (await session.exec(matches)).all()]  # type: ignore[call-overload]
    return found if len(found) <= MANY_FOUND else None


async def _has_many(session: AsyncSession, within: Sequence[ColumnElement[bool]]) -> bool:
    beyond = select(Notification.notification_id).where(*within).offset(FEW_ROWS).limit(1)
    return (await session.exec(beyond)).first() is not None


def _sqlite_matches(sought: Sequence[Alternatives], scope: Scope) -> Executable:
    conditions = [] if scope.domain_id is None else [_quoted(search_texts.mark(scope.domain_id))]
    conditions += [f"({' OR '.join(map(_all_trigrams, each))})" for each in sought]
    return _MATCH.bindparams(match=" AND ".join(conditions), limit=MANY_FOUND + 1)


def _postgresql_matches(sought: Sequence[Alternatives], scope: Scope) -> Executable:
    conditions: list[ColumnElement[bool]] = [
        or_(*(_SEARCHED_COLUMN.like(_pattern(each), escape="\\") for each in one)) for one in sought
    ]
    if scope.domain_id is not None:
        conditions.append(col(Content.domain_id) == scope.domain_id)
    return sqlalchemy.select(col(Content.content_id)).where(*conditions).limit(MANY_FOUND + 1)


def _sought(question: Question) -> list[Alternatives]:
    """Texts of which one has to be in contents that are asked for, for each condition that is a matter of texts."""
    every = [_alternatives(each) for each in question.filter]
    either = [_alternatives(each) for each in question.filter_or]
    words = (question.keyword or "").split()
    conditions = [*every, [text for one in either for text in one] if all(either) else [], words]
    return [each for each in conditions if each]


def _alternatives(wanted: Filter) -> Alternatives:
    """The texts of which a content has to have one to be found by a filter; none where that is no matter of texts."""
    asked = fields.NOTIFICATION.resolve(wanted.key)
    if (asked.field.name, asked.path) not in _SEARCHED:
        return []
    if wanted.operator == Operator.CONTAIN:
        return [wanted.value]
    return list(wanted.value) if wanted.operator == Operator.CONTAIN_IN else []


def _all_trigrams(sought: str) -> str:
    return " AND ".join(map(_quoted, search_texts.trigrams(sought)))


def _quoted(trigram: str) -> str:
    return '"{}"'.format(trigram.replace('"', '""'))


def _pattern(sought: str) -> str:
    escaped = "".join(f"\\{character}" if character in "\\%_" else character for character in folding.fold(sought))
    return f"%{escaped}%"


class _has(FunctionElement[bool]):
    """Whether a text is a part of the first one: no pattern, and nothing that a database would ask an index for."""

    type = Boolean()
    inherit_cache = True


@compiles(_has, "sqlite")
def _sqlite_has(element: _has, compiler: SQLCompiler, **options: Any) -> str:
    return f"(instr({compiler.process(element.clauses, **options)}) > 0)"


@compiles(_has, "postgresql")
def _postgresql_has(element: _has, compiler: SQLCompiler, **options: Any) -> str:
    return f"(strpos({compiler.process(element.clauses, **options)}) > 0)"
