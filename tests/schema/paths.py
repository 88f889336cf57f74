"""The two paths that an operation can take, each by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from graphql import GraphQLError, parse
from strawberry.http import process_result

from schema import build, limits
from schema.asked import Asked
from schema.context import Context
from schema.documents import Document, Documents
from schema.execution import Schema, validated

PLANNED = build()
KEEPING = build(answers_kept_bytes=16 * 1024 * 1024)  # answers of lists
ORDINARY = build()
ORDINARY.documents = Documents()  # without plans


def keep(text: str) -> bool:
    """Have a document kept by all, for only such a one is planned; False if it is not valid."""
    try:
        parsed = parse(text, **limits.PARSE_OPTIONS)  # type: ignore[arg-type]
    except GraphQLError:
        return False
    if validated(PLANNED._schema, parsed):
        return False
    for api in (PLANNED, KEEPING, ORDINARY):
        api.documents.keep(text, parsed)
    return True


async def planned(context: Context, text: str, values: Mapping[str, Any], *, api: Schema = PLANNED) -> bytes | None:
    """The answer of the planned path; None where it steps aside."""
    asked = Asked(text, dict(values))
    document = api.documents.of(asked)
    assert isinstance(document, Document)
    return await document.planned(asked, context)


async def ordinary(context: Context, text: str, values: Mapping[str, Any]) -> tuple[bytes, list[str]]:
    """The answer of the ordinary path, and the codes of its errors."""
    result = await ORDINARY.execute(text, dict(values), context_value=context)
    codes = [(error.extensions or {})["code"] for error in result.errors or ()]
    return orjson.dumps(process_result(result)), codes
