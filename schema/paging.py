"""Relay connections over the listings that resolvers return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

import strawberry

from resolvers.paging import Listing, Window
from schema.scalars import Cursor
from storage.selected import ALL, Selected

Node = TypeVar("Node")

First = Annotated[
    int | None, strawberry.argument(description="How many rows, from the start: 0 to 100; 20 when absent.")
]
After = Annotated[Cursor | None, strawberry.argument(description="Only rows that follow this list cursor.")]
Last = Annotated[int | None, strawberry.argument(description="How many rows, from the end: 0 to 100. Not with first.")]
Before = Annotated[Cursor | None, strawberry.argument(description="Only rows that come before this list cursor.")]


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether rows follow this page.")
    has_previous_page: bool = strawberry.field(description="Whether rows come before this page.")
    start_cursor: Cursor | None = strawberry.field(description="The first row's cursor; null on an empty page.")
    end_cursor: Cursor | None = strawberry.field(description="The last row's cursor; null on an empty page.")


@strawberry.type(description="A row of a page, and where it stands.")
class Edge(Generic[Node]):
    node: Node = strawberry.field(description="The row.")
    cursor: Cursor = strawberry.field(description="The row's list cursor, for after and before.")


@strawberry.type(description="A page of a list, newest first unless ordered otherwise.")
class Connection(Generic[Node]):
    nodes: list[Node] = strawberry.field(description="The rows.")
    edges: list[Edge[Node]] = strawberry.field(description="The rows with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where this page stands in its list.")
    listing: strawberry.Private[Listing[Any]]

    @strawberry.field(description="How many rows the whole list has; counted only when asked for.")
    async def total_count(self) -> int:
        return await self.listing.count()


def connection(listing: Listing[Any], node: Callable[[Any], Node], selected: Selected = ALL) -> dict[str, Any]:
    """The arguments of a `Connection` of this listing, its rows mapped by `node`. Cursors are there if selected."""
    rows = listing.page.rows
    if selected.as_text:  # a plan reads them
        return {"nodes": rows, "edges": (), "page_info": None, "listing": listing}
    nodes = [node(row) for row in rows]
    cursors: list[Any] = [Cursor(listing.cursor(row)) for row in rows] if selected.cursors else [None] * len(rows)
    return {
        "nodes": nodes,
        "edges": [Edge(node=node, cursor=cursor) for node, cursor in zip(nodes, cursors, strict=True)],
        "page_info": PageInfo(
            has_next_page=listing.page.has_next,  # type: ignore[arg-type]  # not None where it is selected
            has_previous_page=listing.page.has_previous,  # type: ignore[arg-type]
            start_cursor=cursors[0] if cursors else None,
            end_cursor=cursors[-1] if cursors else None,
        ),
        "listing": listing,
    }


__all__ = ["After", "Before", "Connection", "Edge", "First", "Last", "PageInfo", "Window", "connection"]
