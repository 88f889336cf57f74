"""Lets a client that asks the same again be told that nothing has changed: ETag and 304 (RFC 9110 8.8.3 and 13.1.2)."""

from __future__ import annotations

import hashlib
import re

from starlette.requests import Request
from starlette.responses import Response

TAG_BYTES = 16
# Kept by the asking client alone, asked again each time, and never shown for another's token or another media type.
HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept"}

_TAG = re.compile(r'"[^"]*"')


def answer(request: Request, response: Response, *, is_whole: bool) -> Response:
    """The response to a GET, with what a client needs to ask again; or, if it has that already, 304.

    One that is not whole, because something went wrong, is never what a client has.
    """
    response.headers.update(HEADERS)
    if not is_whole:
        return response
    tag = f'"{hashlib.blake2b(response.body, digest_size=TAG_BYTES).hexdigest()}"'
    if _has(request, tag):
        return Response(status_code=304, headers={**HEADERS, "ETag": tag})
    response.headers["ETag"] = tag
    return response


def _has(request: Request, tag: str) -> bool:
    """A tag that a proxy made weak names the same answer."""
    given = ",".join(request.headers.getlist("if-none-match"))
    return given.strip() == "*" or tag in _TAG.findall(given)
