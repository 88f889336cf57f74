"""Picks the media type of an answer from what a request accepts (RFC 9110 12.5.1, GraphQL over HTTP)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"
HTML = "text/html"

KEPT = 256  # different Accept headers: each client library has its own, and each browser
MAX_KEPT_BYTES = 1024  # of one; what is longer is read each time

_QUALITY = re.compile(r"\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*", re.IGNORECASE)


class Accepted(NamedTuple):
    media_type: str | None  # that of a query's or a mutation's answer; None: none that there is
    takes_events: bool  # whether a subscription can be answered
    prefers_pages: bool  # as browsers do


def accepted(header: bytes) -> Accepted:
    """What a request with this Accept header takes."""
    return _kept(header) if len(header) <= MAX_KEPT_BYTES else _read(header)


def _read(header: bytes) -> Accepted:
    qualities = _qualities(header.decode("latin-1"))
    data = max(_quality(qualities, JSON), _quality(qualities, GRAPHQL_RESPONSE))
    return Accepted(
        _media_type(qualities),
        takes_events=qualities.get(EVENT_STREAM, 0.0) > 0,
        prefers_pages=qualities.get(HTML, 0.0) > data,
    )


_kept = lru_cache(KEPT)(_read)


def _media_type(qualities: Mapping[str, float]) -> str | None:
    """A client that accepts anything gets application/json, which older ones are sure to read.

    One that names event streams gets one only where it likes JSON less: some name them with every request.
    """
    plain, preferred = _quality(qualities, JSON), _quality(qualities, GRAPHQL_RESPONSE)
    if qualities.get(EVENT_STREAM, 0.0) > max(plain, preferred):
        return EVENT_STREAM
    if GRAPHQL_RESPONSE in qualities and preferred > 0 and preferred >= plain:
        return GRAPHQL_RESPONSE
    if plain > 0:
        return JSON
    return GRAPHQL_RESPONSE if preferred > 0 else None


def _qualities(header: str) -> dict[str, float]:
    """Media ranges and their quality."""
    qualities: dict[str, float] = {}
    for part in header.split(","):
        media_range, *parameters = part.split(";")
        if name := media_range.strip().lower():
            found = (_QUALITY.fullmatch(parameter) for parameter in parameters)
            quality = next((float(match[1]) for match in found if match), 1.0)
            qualities[name] = max(quality, qualities.get(name, 0.0))
    return qualities or {"*/*": 1.0}


def _quality(qualities: Mapping[str, float], media_type: str) -> float:
    """That of the most specific range that holds the type."""
    ranges = (media_type, media_type.partition("/")[0] + "/*", "*/*")
    return next((qualities[name] for name in ranges if name in qualities), 0.0)
