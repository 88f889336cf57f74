"""Which argument an expected error blames."""

from __future__ import annotations

from collections.abc import Callable

from resolvers.errors import Refused


def at(field: str) -> Callable[[Refused], bool]:
    """For `pytest.raises(..., check=at("name"))`."""
    return lambda error: error.field == field
