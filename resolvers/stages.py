"""Reads the stages of a pipeline as callers give them, within bounds. What their keys lead to, storage finds out.

A stage comes as the mapping of what was given in it, by the names of the API. Keys, names and operators have a short
spelling each; errors name the one that was used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resolvers import asking, checks
from resolvers.asking import Given
from resolvers.errors import InvalidArgument
from storage.pipelines import dates
from storage.pipelines.stages import (
    Count,
    Group,
    GroupField,
    GroupOperator,
    Key,
    Limit,
    Match,
    Member,
    Operand,
    Project,
    ProjectOperator,
    Skip,
    Sort,
    Stage,
    Unwind,
)
from storage.queries import sorting
from storage.queries.fields import MAX_KEY_CHARACTERS, SEPARATOR
from storage.queries.operators import MAX_FILTERS, MAX_VALUES, Filter, Question
from storage.queries.sorting import MAX_SORT_KEYS

MAX_STAGES = 20
MAX_UNWINDS = 5  # each can make a thousand rows of one
MAX_KEYS = 10  # of a group
MAX_FIELDS = 100  # of all groups and projections
MAX_MEMBERS = 20  # of the objects that push makes
MAX_OPERANDS = 10  # so the product of all stays within what a double holds
MAX_NESTED = 3  # operators within operators
MAX_NAME_CHARACTERS = 100
MAX_FORMAT_CHARACTERS = 64

SHORT = {"key": "k", "name": "n", "operator": "o"}
_OF_ONE_KEY = frozenset({ProjectOperator.SIZE, ProjectOperator.ARRAY_TO_OBJECT, ProjectOperator.OBJECT_TO_ARRAY})
_OF_TWO = frozenset({ProjectOperator.SUBTRACT, ProjectOperator.DIVIDE})


@dataclass
class Reader:
    """Reads the stages of one query. `spelled` are the paths of fields, to their paths as they were given."""

    spelled: dict[str, str] = field(default_factory=dict)
    fields: int = 0
    filters: int = 0
    values: int = 0

    def stages(self, given: Sequence[Given]) -> list[Stage]:
        """Raises InvalidArgument: `query.aggregate.0.group.fields.1.operator`."""
        _at_most(MAX_STAGES, given, "aggregate", "stages")
        stages = [self._stage(each, f"aggregate.{index}") for index, each in enumerate(given)]
        unwinds = [index for index, stage in enumerate(stages) if isinstance(stage, Unwind)]
        if len(unwinds) > MAX_UNWINDS:
            raise _invalid(f"At most {MAX_UNWINDS} lists can be unwound.", f"aggregate.{unwinds[MAX_UNWINDS]}.unwind")
        return stages

    def _stage(self, given: Given, place: str) -> Stage:
        readers: Mapping[str, Callable[[Any, str], Stage]] = {
            "group": self._group,
            "sort": self._sort,
            "limit": _limit,
            "skip": _skip,
            "count": self._count,
            "unwind": self._unwind,
            "project": self._project,
            "match": self._match,
        }
        [(name, stage)] = given.items()
        return readers[name](stage, f"{place}.{name}")

    def _group(self, given: Given, place: str) -> Group:
        keys, fields = given.get("keys") or [], given.get("fields") or []
        if not keys and not fields:
            raise _invalid("A group has keys, fields or both.", f"{place}.keys")
        _at_most(MAX_KEYS, keys, f"{place}.keys", "keys")
        group = Group(
            [self._group_key(each, f"{place}.keys.{index}") for index, each in enumerate(keys)],
            [self._group_field(each, f"{place}.fields.{index}") for index, each in enumerate(fields)],
        )
        self._check_names([key.name for key in group.keys], f"{place}.keys")
        self._check_names([each.name for each in group.fields], f"{place}.fields", {key.name for key in group.keys})
        return group

    def _group_key(self, given: Given, place: str) -> Key:
        form = given.get("dateFormat")
        if form is not None:
            checks.text(form, f"query.{place}.dateFormat", longest=MAX_FORMAT_CHARACTERS)
            if form not in dates.PARTS and not dates.is_format(form):
                known = ", ".join([*dates.PARTS, *dates.TOKENS])
                raise _invalid(f"A format is made of text and of these: {known}.", f"{place}.dateFormat")
        return Key(self._key(given, place), self._name(given, place), form)

    def _group_field(self, given: Given, place: str) -> GroupField:
        self._count_field(place)
        operator = GroupOperator(self._operator(given, GroupOperator, place))
        members = given.get("fields") or []
        if members and operator is not GroupOperator.PUSH:
            raise _invalid("Only push makes objects of fields.", f"{place}.fields")
        _at_most(MAX_MEMBERS, members, f"{place}.fields", "fields")
        key = None
        if members:
            self._refuse(given, "key", place, "push takes a key or fields, not both.")
        elif operator is not GroupOperator.COUNT:
            key = self._key(given, place)
        return GroupField(
            self._name(given, place),
            operator,
            key,
            self._members(members, f"{place}.fields"),
            self._filters(given.get("conditions"), f"{place}.conditions"),
        )

    def _members(self, given: Sequence[Given], place: str) -> list[Member]:
        members = []
        for index, each in enumerate(given):
            self._count_field(f"{place}.{index}")
            for unused in ("operator", "fields", "conditions"):
                self._refuse(each, unused, f"{place}.{index}", "The members of a pushed object have a key and a name.")
            members.append(Member(self._key(each, f"{place}.{index}"), self._name(each, f"{place}.{index}")))
        self._check_names([member.name for member in members], place)
        return members

    def _project(self, given: Given, place: str) -> Project:
        fields, excluded = given.get("fields") or [], given.get("excludeKeys") or []
        only = given.get("onlyKeys")
        if not fields and not excluded and only is None:
            raise _invalid("A projection has fields, or keys to exclude or to keep.", f"{place}.fields")
        read = []
        for index, each in enumerate(fields):
            inside = f"{place}.fields.{index}"
            read.append((self._name(each, inside), self._operand(each, inside, nested=1)))
        self._check_names([name for name, _ in read], f"{place}.fields")
        return Project(
            read,
            self._keys(excluded, f"{place}.excludeKeys"),
            None if only is None else self._keys(only, f"{place}.onlyKeys"),
        )

    def _operand(self, given: Given, place: str, *, nested: int) -> Operand:
        self._count_field(place)
        self._refuse(given, "conditions", place, "Only the fields of groups have conditions.")
        operands = given.get("fields") or []
        if self._given(given, "operator", place) is None:
            self._refuse(given, "fields", place, "These need an operator.")
            return Operand(self._key(given, place))
        operator = ProjectOperator(self._operator(given, ProjectOperator, place))
        if operator in _OF_ONE_KEY or (operator is ProjectOperator.SUM and not operands):
            self._refuse(given, "fields", place, "This operator takes a key.")
            return Operand(self._key(given, place), operator)
        self._refuse(given, "key", place, "This operator takes fields.")
        self._check_operands(operator, operands, f"{place}.fields", nested)
        inner = [self._operand(e, f"{place}.fields.{i}", nested=nested + 1) for i, e in enumerate(operands)]
        return Operand(None, operator, inner)

    def _check_operands(self, operator: ProjectOperator, operands: Sequence[Given], place: str, nested: int) -> None:
        if operator in _OF_TWO and len(operands) != 2:
            raise _invalid("This operator takes two fields.", place)
        if not operands:
            raise _invalid("This operator takes fields.", place)
        _at_most(MAX_OPERANDS, operands, place, "fields")
        if nested > MAX_NESTED:
            raise _invalid(f"Operators can be nested {MAX_NESTED} deep at most.", place)

    def _sort(self, given: Given, place: str) -> Sort:
        keys = given.get("keys") or []
        if given.get("key") is None:
            self._refuse(given, "desc", place, "This goes with key; among keys, each has its own.")
            if not keys:
                raise _invalid("What to sort by is required.", f"{place}.key")
            _at_most(MAX_SORT_KEYS, keys, f"{place}.keys", "keys")
            return Sort([self._sort_key(each, f"{place}.keys.{index}") for index, each in enumerate(keys)])
        if keys:
            raise _invalid("Sort by one key or by several, not by both.", f"{place}.key")
        self.spelled[f"{place}.keys.0.key"] = f"{place}.key"
        return Sort([self._sort_key(given, place)])

    def _sort_key(self, given: Given, place: str) -> sorting.Sort:
        return sorting.Sort(self._path(given["key"], f"{place}.key"), bool(given.get("desc")))

    def _count(self, given: Given, place: str) -> Count:
        return Count(_name(given["name"], f"{place}.name"))

    def _unwind(self, given: Given, place: str) -> Unwind:
        return Unwind(self._path(given["path"], f"{place}.path"))

    def _match(self, given: Given, place: str) -> Match:
        every = self._filters(given.get("filter"), f"{place}.filter")
        either = self._filters(given.get("filterOr"), f"{place}.filterOr")
        if not every and not either:
            raise _invalid("What has to match is required.", f"{place}.filter")
        return Match(Question(every, either))

    def _filters(self, given: Sequence[Given] | None, place: str) -> list[Filter]:
        filters, spelled = asking.filters(given or [], place)
        self.spelled |= spelled
        self.filters += sum(each.weight for each in filters)
        if self.filters > MAX_FILTERS:
            raise _invalid(f"The stages of a query have {MAX_FILTERS} filters at most, all in all.", place)
        self.values += sum(len(each.value) for each in filters if isinstance(each.value, list))
        if self.values > MAX_VALUES:
            raise _invalid(f"The lists of a query have {MAX_VALUES} values at most, all in all.", place)
        return filters

    def _given(self, given: Given, name: str, place: str) -> Any:
        """What was given by either spelling; errors name that one from then on."""
        short = SHORT[name]
        if given.get(short) is None:
            return given.get(name)
        if given.get(name) is not None:
            raise _invalid(f"Give {name} or {short}, not both.", f"{place}.{short}")
        self.spelled[f"{place}.{name}"] = f"{place}.{short}"
        return given[short]

    def _required(self, given: Given, name: str, place: str) -> str:
        value = self._given(given, name, place)
        if value is None:
            used = SHORT[name] if SHORT[name] in given else name
            raise _invalid("This is required.", f"{place}.{used}")
        return str(value)

    def _place(self, place: str) -> str:
        return self.spelled.get(place, place)

    def _key(self, given: Given, place: str) -> str:
        key = self._required(given, "key", place)
        return self._path(key, self._place(f"{place}.key"))

    def _keys(self, given: Sequence[str], place: str) -> list[str]:
        _at_most(MAX_FIELDS, given, place, "keys")
        return [self._path(key, f"{place}.{index}") for index, key in enumerate(given)]

    def _path(self, key: str, place: str) -> str:
        return checks.text(key, f"query.{place}", longest=MAX_KEY_CHARACTERS)

    def _name(self, given: Given, place: str) -> str:
        name = self._required(given, "name", place)
        return _name(name, self._place(f"{place}.name"))

    def _operator(self, given: Given, known: type[GroupOperator] | type[ProjectOperator], place: str) -> str:
        operator = self._required(given, "operator", place)
        if operator not in known.__members__.values():
            place = self._place(f"{place}.operator")
            raise _invalid(f"There is no such operator here; there are {', '.join(known)}.", place)
        return operator

    def _refuse(self, given: Given, name: str, place: str, why: str) -> None:
        for spelling in (name, SHORT.get(name, name)):
            if given.get(spelling) not in (None, []):
                raise _invalid(why, f"{place}.{spelling}")

    def _count_field(self, place: str) -> None:
        self.fields += 1
        if self.fields > MAX_FIELDS:
            raise _invalid(f"A query has {MAX_FIELDS} fields at most, all in all.", place)

    def _check_names(self, names: Sequence[str], place: str, taken: set[str] | None = None) -> None:
        seen = set(taken or ())
        for index, name in enumerate(names):
            if name in seen:
                raise _invalid("There is another field of this name.", self._place(f"{place}.{index}.name"))
            seen.add(name)


def _limit(given: int, place: str) -> Limit:
    if given < 1:
        raise _invalid("This must be 1 at least.", place)
    return Limit(given)


def _skip(given: int, place: str) -> Skip:
    if given < 0:
        raise _invalid("This must be 0 at least.", place)
    return Skip(given)


def _name(name: str, place: str) -> str:
    checks.text(name, f"query.{place}", longest=MAX_NAME_CHARACTERS)
    if SEPARATOR in name or name.startswith("$"):
        raise _invalid("A name has no dot, and does not begin with $: later stages ask by it.", place)
    return name


def _at_most(most: int, given: Sequence[Any], place: str, what: str) -> None:
    if len(given) > most:
        raise _invalid(f"There are {most} {what} here at most.", place)


def _invalid(message: str, place: str) -> InvalidArgument:
    return InvalidArgument(message, field=f"query.{place}")
