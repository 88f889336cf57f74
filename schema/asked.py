"""What a client asks for, whichever way it came: the document or its name, and the values for it.

It must not know how it came, nor look into the document.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Asked(NamedTuple):
    query: str | None  # None: the document is named by `document_id`, or by the hash in `extensions`
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    extensions: dict[str, Any] | None = None
    document_id: str | None = None
