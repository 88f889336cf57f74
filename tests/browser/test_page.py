"""What the server sends for the page, without a browser: headers, an allowlist of files, and no files at all."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from schema import graphiql

FILES = sorted(graphiql.OWN_FILES | graphiql.VENDORED_FILES)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=[*graphiql.routes, Route("/graphql", graphiql.page)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


def linked_files(html: str) -> set[str]:
    return set(re.findall(r'(?:src|href)="graphql/static/([^"]+)"', html))


async def test_the_page_and_its_files_forbid_what_they_do_not_need(client: httpx.AsyncClient) -> None:
    headers = (await client.get("/graphql")).headers

    policy = dict(directive.split(" ", 1) for directive in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Vary"] == "Accept"


async def test_the_page_has_no_script_of_its_own_and_links_to_what_is_served(client: httpx.AsyncClient) -> None:
    html = (await client.get("/graphql")).text

    assert linked_files(html) == set(FILES)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|https?:", html)


@pytest.mark.parametrize("name", FILES)
async def test_each_file_is_served_and_then_only_compared(client: httpx.AsyncClient, name: str) -> None:
    first = await client.get(f"/graphql/static/{name}")
    again = await client.get(f"/graphql/static/{name}", headers={"If-None-Match": first.headers["ETag"]})

    assert first.status_code == 200
    assert first.headers["Cache-Control"] == again.headers["Cache-Control"] == "no-cache"
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "graphiql.html",
        "package.json",
        "package-lock.json",
        ".npmrc",
        "node_modules",
        "node_modules/react/package.json",
        "../graphiql.py",
        "%2e%2e/graphiql.py",
        "node_modules/react/umd/../package.json",
        "%00",
    ],
)
async def test_no_other_file_is_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(f"/graphql/static/{path}")).status_code == 404


async def test_without_the_vendored_files_the_page_says_how_to_get_them(
    client: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    static = tmp_path / "static"
    shutil.copytree(graphiql.STATIC, static, ignore=shutil.ignore_patterns("node_modules"))
    monkeypatch.setattr(graphiql, "STATIC", static)

    response = await client.get("/graphql")

    assert response.status_code == 200
    assert response.headers["Content-Security-Policy"] == graphiql.CONTENT_SECURITY_POLICY
    assert "make graphiql" in response.text
    assert linked_files(response.text) <= graphiql.OWN_FILES


def test_the_lock_holds_hashes_and_no_download_address() -> None:
    text = (graphiql.STATIC / "package-lock.json").read_text()
    packages = json.loads(text)["packages"]

    assert all(package["integrity"].startswith("sha512-") for path, package in packages.items() if path)
    assert "://" not in text
