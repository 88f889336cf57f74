"""Serves the GraphiQL page and its files, all from this host: nothing is loaded from anywhere else.

It never puts a token into an answer: the page's own script takes it from the address, which no server sees.
"""

from __future__ import annotations

import os
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"

OWN_FILES = frozenset({"graphiql.css", "graphiql.js", "icon.svg"})
VENDORED_FILES = frozenset(
    {
        "node_modules/graphiql/graphiql.min.css",
        "node_modules/graphiql/graphiql.min.js",
        "node_modules/graphql-ws/umd/graphql-ws.min.js",
        "node_modules/react-dom/umd/react-dom.production.min.js",
        "node_modules/react/umd/react.production.min.js",
    }
)

# connect-src 'self' covers the websocket of the same host and port; GraphiQL's fonts and icons are data: addresses.
# Its dialogs also try to add a style element that stops the page behind from scrolling: refused, and nothing is lost.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",  # the same address answers queries
    "X-Content-Type-Options": "nosniff",
}


class _Files(StaticFiles):
    """The files named above and no others, so that a folder of packages is not a public one."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        if path not in OWN_FILES | VENDORED_FILES:
            return "", None
        return super().lookup_path(path)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        headers = MutableHeaders(raw=response.raw_headers)
        headers["Cache-Control"] = "no-cache"  # asked for again each time, and answered 304 by its ETag
        headers["X-Content-Type-Options"] = "nosniff"
        return response


routes: list[BaseRoute] = [Mount("/graphql/static", app=_Files(directory=STATIC))]


def page(request: Request) -> Response:
    """GraphiQL, or, where its files were not installed, a page that says how to get them."""
    return FileResponse(STATIC / ("graphiql.html" if _installed() else "missing.html"), headers=PAGE_HEADERS)


def _installed() -> bool:
    return all((STATIC / name).is_file() for name in VENDORED_FILES)
