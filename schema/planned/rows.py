"""Lists and single reads of rows that were read as text: from the columns straight into the answer.

The resolvers are those of the ordinary path, told by their Info that a plan reads the rows. What a field is made of is
said beside its type (`schema.selection`). What cannot be made of text, and what has arguments, is left to `answers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from graphql import GraphQLObjectType, get_named_type

from resolvers.paging import Listing
from schema import row_source
from schema.notification import DELIVERY, NOTIFICATION
from schema.planned import answers, calls
from schema.planned.answers import Answer
from schema.planned.calls import Run
from schema.projection import Group, Selection, Unknown, name_of
from schema.row_source import RowSource
from schema.selection import CURSORS, ENDS, INBOX, Fields, Made
from storage.selected import Selected

ONE: Mapping[str, Fields] = {"notification": NOTIFICATION, "delivery": DELIVERY}
PAGES: Mapping[str, Fields] = {"notifications": NOTIFICATION, "deliveries": DELIVERY}
TAKEN = ONE.keys() | PAGES.keys()

Read = Callable[[Any], Any]  # of a row, or of a listing
ReadEdge = Callable[[Any, Any], Any]  # of a row and its listing
Make = Callable[[Selected], Read]  # once it is known where in the rows the columns are
Part = tuple[str, Made | str]  # a key of the answer, and how its value is made; or the name of the type

OF_ONE, OF_EACH = "lambda row: {}", "lambda rows: [{} for row in rows]"  # around what a reader makes of a row


def of_root(selection: Selection, root: GraphQLObjectType, details: Group) -> Answer:
    """What is answered for a root field of TAKEN. Raises Unknown."""
    name = name_of(details)
    call, type_ = calls.of(root.fields[name], details), _type(root, details)
    if name in ONE:
        return _one(call, _parts(selection, type_, details, ONE[name]))
    return _page(call, _Page(selection, type_, details, PAGES[name]))


def _one(call: calls.Call, parts: Sequence[Part]) -> Answer:
    selected = Selected(_columns(parts), as_text=True)
    read = _reader(parts, selected, OF_ONE)

    async def answered(value: Any, run: Run) -> Any:
        row = await call(value, run.reading(selected))
        return None if row is None else read(row)

    return answered


def _page(call: calls.Call, page: _Page) -> Answer:
    selected = page.selected
    parts = [(key, make(selected), later) for key, make, later in page.parts]

    async def answered(value: Any, run: Run) -> Any:
        connection = await call(value, run.reading(selected))
        listing, page = connection.listing, {}
        for key, read, later in parts:  # not a display: one that awaits is a coroutine of its own
            page[key] = await later(connection, run) if later else read(listing)
        return page

    return answered


class _Page:
    """What is selected of a connection, part by part."""

    def __init__(self, selection: Selection, type_: GraphQLObjectType, details: Group, fields: Fields) -> None:
        """Raises Unknown."""
        self._selection = selection
        self._fields = fields
        self._columns: frozenset[str] = frozenset()
        self._about: set[str] = set()  # what of a page is asked beside its rows
        self.parts = [(key, *self._part(type_, group)) for key, group in selection.fields(type_, details).items()]

    @property
    def selected(self) -> Selected:
        cursors, beyond = not CURSORS.isdisjoint(self._about), not ENDS.isdisjoint(self._about)
        return Selected(self._columns, as_text=True, cursors=cursors, beyond=beyond, inbox=INBOX in self._about)

    def _part(self, type_: GraphQLObjectType, details: Group) -> tuple[Make, Answer | None]:
        """What of the listing is read at once, or what of the connection is answered later."""
        name = name_of(details)
        if name == "__typename":
            return lambda _selected: _always(type_.name), None
        if name == "nodes":
            return self._nodes(_type(type_, details), details), None
        if name == "edges":
            return self._edges(_type(type_, details), details), None
        if name == "pageInfo":
            return self._page_info(_type(type_, details), details), None
        self._about.add(name)
        return lambda _selected: _always(None), answers.of_field(self._selection, type_, details)

    def _nodes(self, type_: GraphQLObjectType, details: Group) -> Make:
        make = self._made(type_, details, OF_EACH)

        def made(selected: Selected) -> Read:
            read = make(selected)
            return lambda listing: read(listing.page.rows)

        return made

    def _made(self, type_: GraphQLObjectType, details: Group, form: str) -> Make:
        parts = _parts(self._selection, type_, details, self._fields)
        self._columns |= _columns(parts)
        return lambda selected: _reader(parts, selected, form)

    def _edges(self, type_: GraphQLObjectType, details: Group) -> Make:
        parts = [(key, self._of_edge(type_, group)) for key, group in self._selection.fields(type_, details).items()]

        def made(selected: Selected) -> Read:
            reads = [(key, make(selected)) for key, make in parts]
            return lambda listing: [{key: read(row, listing) for key, read in reads} for row in listing.page.rows]

        return made

    def _of_edge(self, type_: GraphQLObjectType, details: Group) -> Callable[[Selected], ReadEdge]:
        name = name_of(details)
        if name == "__typename":
            return lambda _selected: lambda _row, _listing: type_.name
        if name == "cursor":
            self._about.add(name)
            return lambda _selected: lambda row, listing: listing.cursor(row)
        make = self._made(_type(type_, details), details, OF_ONE)

        def made(selected: Selected) -> ReadEdge:
            read = make(selected)
            return lambda row, _listing: read(row)

        return made

    def _page_info(self, type_: GraphQLObjectType, details: Group) -> Make:
        names = {key: name_of(group) for key, group in self._selection.fields(type_, details).items()}
        self._about |= {*names.values()}
        known = {**_PAGE_INFO, "__typename": _always(type_.name)}
        reads = [(key, known[name]) for key, name in names.items()]
        return lambda _selected: lambda listing: {key: read(listing) for key, read in reads}


_PAGE_INFO: Mapping[str, Callable[[Listing[Any]], Any]] = {
    "hasNextPage": lambda listing: listing.page.has_next,
    "hasPreviousPage": lambda listing: listing.page.has_previous,
    "startCursor": lambda listing: listing.cursor(listing.page.rows[0]) if listing.page.rows else None,
    "endCursor": lambda listing: listing.cursor(listing.page.rows[-1]) if listing.page.rows else None,
}


def _always(value: Any) -> Read:
    return lambda _listing: value


def _parts(selection: Selection, type_: GraphQLObjectType, details: Group, fields: Fields) -> list[Part]:
    return [(key, _part(type_, name_of(group), fields)) for key, group in selection.fields(type_, details).items()]


def _part(type_: GraphQLObjectType, name: str, fields: Fields) -> Made | str:
    if name == "__typename":
        return type_.name
    made = fields.named(name)
    if made is None or made.as_text is None:
        raise Unknown
    return made


def _columns(parts: Sequence[Part]) -> frozenset[str]:
    return frozenset().union(*(made.columns for _, made in parts if isinstance(made, Made)))


def _reader(parts: Sequence[Part], selected: Selected, form: str) -> Read:
    """From a row, or from several, to what is answered for each."""
    source = RowSource(selected.positions)
    items = ((key, row_source.text(made) if isinstance(made, str) else source.field(made)) for key, made in parts)
    read: Read = source.compiled(form.format(row_source.display(items)))
    return read


def _type(parent: GraphQLObjectType, details: Group) -> GraphQLObjectType:
    return cast(GraphQLObjectType, get_named_type(parent.fields[name_of(details)].type))
