"""Lets a client that asks the same again be told that nothing has changed: ETag and 304 (RFC 9110 8.8.3 and 13.1.2)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from schema.answer import Answer

TAG_BYTES = 16
# Kept by the asking client alone, asked again each time, and never shown for another's token or another media type.
HEADERS = ((b"cache-control", b"private, no-cache"), (b"vary", b"Authorization, Accept"))

_TAG = re.compile(rb'"[^"]*"')


def answer(if_none_match: bytes, given: Answer, *, is_whole: bool) -> Answer:
    """The answer to a GET, with what a client needs to ask again; or, if it has that already, 304.

    One that is not whole, because something went wrong, is never what a client has.
    """
    if not is_whole:
        return replace(given, headers=(*given.headers, *HEADERS))
    tag = b'"%s"' % hashlib.blake2b(given.content, digest_size=TAG_BYTES).hexdigest().encode()
    tagged = (*HEADERS, (b"etag", tag))
    if _has(if_none_match, tag):
        return Answer(304, tagged, b"")
    return replace(given, headers=(*given.headers, *tagged))


def _has(if_none_match: bytes, tag: bytes) -> bool:
    """A tag that a proxy made weak names the same answer."""
    return if_none_match.strip() == b"*" or tag in _TAG.findall(if_none_match)
