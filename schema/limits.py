"""Says how much one request may ask for, and refuses more before it costs anything.

It must not know the transport it serves, nor a type of the API: every bound here holds for any schema, whose lists are
pages where they take Relay's arguments.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from graphql import (
    SKIP,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValidationRule,
    VisitorAction,
    get_named_type,
)
from graphql.validation.validation_context import ValidationContext

from resolvers import paging

# The JSON text of a request.
MAX_BODY_BYTES = 1024 * 1024  # a hundred notifications of 10 kB each in one call
MAX_JSON_NESTING = 100  # orjson, which writes answers and columns, stops at 254
MAX_INTEGER_DIGITS = 1_000  # parsing and printing take time with the square of it

# The document in it. Values belong into variables, so a document is as long as its author made it.
MAX_DOCUMENT_CHARACTERS = 64 * 1024
MAX_TOKENS = 4_000  # GraphiQL's introspection query has 183, a hundred small inputs written out some 2,500
MAX_COMMENTS = 200
MAX_OPERATIONS = 50  # each is validated with all the fragments that it uses
MAX_COMPARISONS = 50_000  # of fields with one name, each with each: a tenth of a second, where graphql-core takes one
MAX_ERRORS = 10  # validation stops there: an author mends the first ones, an attacker wants them all

# What the document asks for once its fragments are put in place.
MAX_DEPTH = 15
MAX_INTROSPECTION_DEPTH = 20  # introspection follows wrapped types: GraphiQL's is 15 deep
MAX_FIELDS = 500  # GraphiQL's introspection query has 232
MAX_ROOT_FIELDS = 50  # each is a page or a transaction of its own
MAX_ALIASES = 100  # aliases are how one field is asked for many times
MAX_DIRECTIVES = 50
MAX_ROWS = 20_000  # page sizes multiplied down the tree: a second's work, and twice a full page of full pages

PARSE_OPTIONS = {
    "max_lexical_tokens": MAX_TOKENS,
    "max_comments": MAX_COMMENTS,
    "max_source_length": MAX_DOCUMENT_CHARACTERS,
    "allow_empty_selection_sets": False,  # graphql-core is ahead of the specification here
}


def json_value(text: str) -> object:
    """The value of a JSON text (RFC 8259), if it can be written again as it was.

    Raises ValueError, whose message holds nothing of the text. The standard library reads it because
    orjson turns integers over 64 bits into floats.
    """
    try:
        value, end = _DECODER.raw_decode(text, len(text) - len(text.lstrip(_BLANK)))
    except RecursionError:
        raise _too_deep() from None
    if text[end:].strip(_BLANK):
        raise ValueError("something follows its value")
    # Counting is cheap, walking is not: most texts have fewer brackets than the bound.
    if text.count("[") + text.count("{") > MAX_JSON_NESTING and _is_deeper_than(MAX_JSON_NESTING, value):
        raise _too_deep()
    return value


def _too_deep() -> ValueError:
    return ValueError(f"more than {MAX_JSON_NESTING} levels of nesting")


def _is_deeper_than(levels: int, value: object) -> bool:
    level = [value]
    for _ in range(levels):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return False
    return True


def _children(parent: object) -> Iterator[object]:
    """Those that can have children themselves."""
    children = parent.values() if isinstance(parent, dict) else parent if isinstance(parent, list) else ()
    return (child for child in children if isinstance(child, dict | list))


def _integer(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        raise ValueError(f"an integer of more than {MAX_INTEGER_DIGITS} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number that no double can hold")
    return value


def _constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


_BLANK = " \t\n\r"
_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_constant)


class _Size(NamedTuple):
    """What a part of a document asks for, fragments put in place."""

    depth: int = 0
    introspection_depth: int = 0
    root_fields: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0
    rows: int = 0

    def beside(self, other: _Size) -> _Size:
        return _Size(
            max(self.depth, other.depth),
            max(self.introspection_depth, other.introspection_depth),
            self.root_fields + other.root_fields,
            self.fields + other.fields,
            self.aliases + other.aliases,
            self.directives + other.directives,
            self.rows + other.rows,
        )

    def under(self, field: FieldNode, page: int | None) -> _Size:
        """The size of a field whose selections have this size, for each row of its page if it is one."""
        size = self._replace(
            root_fields=1,
            fields=self.fields + 1,
            aliases=self.aliases + (field.alias is not None),
            directives=self.directives + len(field.directives or ()),
            rows=self.rows if page is None else page * (1 + self.rows),
        )
        if field.name.value in ("__schema", "__type"):
            return size._replace(depth=1, introspection_depth=self.depth + 1)
        return size._replace(depth=self.depth + 1)


_BOUNDS = (  # in the order of _Size
    (MAX_DEPTH, "levels of nesting"),
    (MAX_INTROSPECTION_DEPTH, "levels of introspection"),
    (MAX_ROOT_FIELDS, "root fields"),
    (MAX_FIELDS, "fields"),
    (MAX_ALIASES, "aliases"),
    (MAX_DIRECTIVES, "directives"),
    (MAX_ROWS, "rows"),
)

_SIZES = frozenset({"first", "last", "query"})  # the arguments that say how long a page is


class LimitsRule(ValidationRule):
    """Measures each fragment once, so that no document costs more than its length.

    To be run before the rules of the specification, some of which are costly on what this one refuses.
    """

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self.fragments: dict[str, _Size] = {}

    def enter_operation_definition(self, node: OperationDefinitionNode, *_args: Any) -> VisitorAction:
        root = self.context.schema.get_root_type(node.operation)
        self._check(_directed(self._selections(node.selection_set, root), node), node)
        return SKIP

    def enter_fragment_definition(self, node: FragmentDefinitionNode, *_args: Any) -> VisitorAction:
        """One that no operation uses costs as much to validate."""
        self._check(self._fragment(node.name.value)._replace(root_fields=0), node)
        return SKIP

    def _check(self, size: _Size, node: OperationDefinitionNode | FragmentDefinitionNode) -> None:
        for value, (bound, what) in zip(size, _BOUNDS, strict=True):
            if value > bound:
                self.report_error(GraphQLError(f"The document asks for more than {bound} {what}.", node))

    def _selections(self, selection_set: SelectionSetNode | None, type_: GraphQLNamedType | None) -> _Size:
        """Of a value of this type; None for what the schema does not have, which other rules report."""
        size = _Size()
        for selection in selection_set.selections if selection_set else ():
            size = size.beside(self._selection(selection, type_))
        return size

    def _selection(self, node: SelectionNode, type_: GraphQLNamedType | None) -> _Size:
        if isinstance(node, FieldNode):
            field = _field(type_, node.name.value)
            inner = None if field is None else get_named_type(field.type)
            return self._selections(node.selection_set, inner).under(node, _page(field, node))
        if isinstance(node, InlineFragmentNode):
            return _directed(self._selections(node.selection_set, self._condition(node) or type_), node)
        assert isinstance(node, FragmentSpreadNode)
        return _directed(self._fragment(node.name.value), node)

    def _fragment(self, name: str) -> _Size:
        if name not in self.fragments:
            self.fragments[name] = _Size()  # what a cycle finds; another rule reports it
            fragment = self.context.get_fragment(name)
            if fragment is not None:  # nor is an unknown fragment this rule's to report
                self.fragments[name] = self._selections(fragment.selection_set, self._condition(fragment))
        return self.fragments[name]

    def _condition(self, node: InlineFragmentNode | FragmentDefinitionNode) -> GraphQLNamedType | None:
        return self.context.schema.get_type(node.type_condition.name.value) if node.type_condition else None


def _field(type_: GraphQLNamedType | None, name: str) -> GraphQLField | None:
    return type_.fields.get(name) if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) else None


def _page(field: GraphQLField | None, node: FieldNode) -> int | None:
    """How many rows a field's page has at most; None where it has no pages."""
    if field is None or "first" not in field.args:
        return None
    given = {each.name.value: each.value for each in node.arguments or ()}
    if given.keys().isdisjoint(_SIZES):
        default = field.args["first"].default_value
        return default if isinstance(default, int) else paging.DEFAULT_PAGE
    size = given.get("first") or given.get("last")
    # What a variable holds is not known when a document is judged, nor where a query pages by numbers.
    if not isinstance(size, IntValueNode) or len(size.value) >= len(str(paging.MAX_PAGE)):
        return paging.MAX_PAGE
    return max(int(size.value), 0)


def _directed(size: _Size, node: OperationDefinitionNode | InlineFragmentNode | FragmentSpreadNode) -> _Size:
    return size._replace(directives=size.directives + len(node.directives or ()))
