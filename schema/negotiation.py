"""Picks the media type of an answer from what a request accepts (RFC 9110 12.5.1, GraphQL over HTTP)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.requests import Request

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"
HTML = "text/html"

_QUALITY = re.compile(r"\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*", re.IGNORECASE)


def media_type(request: Request) -> str | None:
    """That of a query's or a mutation's answer.

    A client that accepts anything gets application/json, which older ones are sure to read; one that names event
    streams gets one only where it likes JSON less: some name them with every request.
    """
    accepted = _accepted(request)
    plain, preferred = _quality(accepted, JSON), _quality(accepted, GRAPHQL_RESPONSE)
    if accepted.get(EVENT_STREAM, 0.0) > max(plain, preferred):
        return EVENT_STREAM
    if GRAPHQL_RESPONSE in accepted and preferred > 0 and preferred >= plain:
        return GRAPHQL_RESPONSE
    if plain > 0:
        return JSON
    return GRAPHQL_RESPONSE if preferred > 0 else None


def takes_events(request: Request) -> bool:
    """Whether a subscription can be answered."""
    return _accepted(request).get(EVENT_STREAM, 0.0) > 0


def is_for_a_browser(request: Request) -> bool:
    if request.method != "GET" or "query" in request.query_params:
        return False
    accepted = _accepted(request)
    data = max(_quality(accepted, JSON), _quality(accepted, GRAPHQL_RESPONSE))
    return HTML in accepted and accepted[HTML] > data


def _accepted(request: Request) -> dict[str, float]:
    """Media ranges and their quality."""
    accepted: dict[str, float] = {}
    for part in ",".join(request.headers.getlist("accept")).split(","):
        media_range, *parameters = part.split(";")
        if name := media_range.strip().lower():
            found = (_QUALITY.fullmatch(parameter) for parameter in parameters)
            quality = next((float(match[1]) for match in found if match), 1.0)
            accepted[name] = max(quality, accepted.get(name, 0.0))
    return accepted or {"*/*": 1.0}


def _quality(accepted: Mapping[str, float], media_type: str) -> float:
    """That of the most specific range that holds the type."""
    ranges = (media_type, media_type.partition("/")[0] + "/*", "*/*")
    return next((accepted[name] for name in ranges if name in accepted), 0.0)
