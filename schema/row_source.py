"""Python source for what is answered of a row of text, and its compiling.

One dictionary display takes a third of the time that a call for each field does, and lists and live events are mostly
that. Keys are names of GraphQL's, of letters, digits and underscores. It must not know what is selected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from schema.selection import Made, as_it_is


class RowSource:
    """Spells fields of rows whose texts are at these positions; what it spells is compiled by it."""

    def __init__(self, positions: Mapping[str, int]) -> None:
        self._positions = positions
        self._functions: dict[str, Any] = {}

    def field(self, made: Made, subject: str = "row") -> str:
        """What is answered for a field, which is made of the subject, or of a text of its `row`."""
        given = f"row[{self._positions[made.columns[0]]}]" if made.is_column else subject
        return given if made.as_text is as_it_is else self._called(made.as_text, given)

    def compiled(self, source: str) -> Any:
        return eval(source, self._functions)

    def _called(self, function: Callable[[Any], Any] | None, given: str) -> str:
        name = f"_{len(self._functions)}"
        self._functions[name] = function
        return f"{name}({given})"


def text(value: str) -> str:
    return f'"{value}"'


def display(items: Iterable[tuple[str, str]]) -> str:
    """A dictionary of values that are spelled already, by their keys."""
    return f"{{{', '.join(f'{text(key)}: {value}' for key, value in items)}}}"
