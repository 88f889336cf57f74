"""Which argument an expected error blames, and where it is tried."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from resolvers.errors import Refused

# What is refused before the database is asked is refused alike on both.
ON_ONE_ENGINE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def at(field: str) -> Callable[[Refused], bool]:
    """For `pytest.raises(..., check=at("name"))`."""
    return lambda error: error.field == field
