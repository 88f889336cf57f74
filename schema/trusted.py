"""Documents that are known from the start: reads their file, and refuses to start with one that could not be run.

It must not decide which requests are answered: `schema.documents` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from graphql import GraphQLError, parse

from schema import limits
from schema.documents import Trusted
from schema.execution import Schema, validated

MANIFEST = "apollo-persisted-query-manifest"  # the one format that is more than an object of ids and documents


def read(path: Path) -> Mapping[str, str]:
    """The documents of a file by their ids. Raises ValueError."""
    try:
        content = orjson.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{path} is not JSON") from None
    documents = _listed(content)
    if not isinstance(documents, dict) or not all(isinstance(text, str) for text in documents.values()):
        raise ValueError(f"{path} must be a JSON object of ids and documents")
    return documents


def keep(schema: Schema, trusted: Trusted) -> None:
    """Have all of them kept, each parsed and validated. Raises ValueError."""
    for name, text in trusted.documents.items():
        try:
            parsed = parse(text, **limits.PARSE_OPTIONS)  # type: ignore[arg-type]
            found = validated(schema._schema, parsed)
        except GraphQLError as error:
            found = [error]
        if found:
            raise ValueError(f"The trusted document {name} cannot be run: {found[0].message}")
        schema.documents.keep(text, parsed)


def _listed(content: Any) -> Any:
    if not isinstance(content, dict) or content.get("format") != MANIFEST:
        return content
    try:
        return {each["id"]: each["body"] for each in content["operations"]}
    except (KeyError, TypeError):
        return None
