"""What statistics are made of: the stages of a pipeline as callers name them, and the operators. No SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from storage.queries import sorting
from storage.queries.operators import Filter, Question


class GroupOperator(StrEnum):
    COUNT = "count"
    SUM = "sum"
    AVERAGE = "average"
    MAX = "max"
    MIN = "min"
    FIRST = "first"
    LAST = "last"
    PUSH = "push"
    ADD_TO_SET = "add_to_set"
    MERGE_OBJECTS = "merge_objects"


class ProjectOperator(StrEnum):
    SIZE = "size"
    SUM = "sum"
    ADD = "add"
    SUBTRACT = "subtract"
    MULTIPLY = "multiply"
    DIVIDE = "divide"
    ARRAY_TO_OBJECT = "array_to_object"
    OBJECT_TO_ARRAY = "object_to_array"


@dataclass(frozen=True)
class Key:
    """What a group is made by."""

    key: str
    name: str
    date_format: str | None = None


@dataclass(frozen=True)
class GroupField:
    """What is made of a group."""

    name: str
    operator: GroupOperator
    key: str | None = None
    members: Sequence[Member] = ()  # of the objects that push makes
    conditions: Sequence[Filter] = ()


@dataclass(frozen=True)
class Member:
    key: str
    name: str


@dataclass(frozen=True)
class Operand:
    """A value: what a key leads to, or what an operator makes of it or of other values."""

    key: str | None = None
    operator: ProjectOperator | None = None
    operands: Sequence[Operand] = ()


@dataclass(frozen=True)
class Group:
    keys: Sequence[Key]
    fields: Sequence[GroupField]


@dataclass(frozen=True)
class Sort:
    keys: Sequence[sorting.Sort]


@dataclass(frozen=True)
class Limit:
    rows: int


@dataclass(frozen=True)
class Skip:
    rows: int


@dataclass(frozen=True)
class Count:
    name: str


@dataclass(frozen=True)
class Unwind:
    path: str


@dataclass(frozen=True)
class Project:
    fields: Sequence[tuple[str, Operand]]
    excluded: Sequence[str] = ()
    only: Sequence[str] | None = None


@dataclass(frozen=True)
class Match:
    question: Question


Stage = Group | Sort | Limit | Skip | Count | Unwind | Project | Match
