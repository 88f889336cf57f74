"""A server process of its own, and a real browser that can reach nothing but that server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, Route, WebSocket, sync_playwright

ROOT = Path(__file__).parents[2]
START_DEADLINE_S = 60
STOP_DEADLINE_S = 30
POLL_S = 0.1
# A new machine runs this as root in a container, where Chromium's own sandbox cannot start.
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@dataclass(frozen=True)
class Server:
    url: str
    token: str

    def post(self, query: str, **variables: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.post(f"{self.url}/graphql", headers=headers, json={"query": query, "variables": variables})


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`main.py serve` on a free port and a new data folder, and a token for the user that the examples name."""
    folder = tmp_path_factory.mktemp("server")
    port = _free_port()
    settings = {"TOCSIN_DATA_DIR": str(folder / "data"), "TOCSIN_PORT": str(port)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")} | settings
    url = f"http://127.0.0.1:{port}"
    with _serving(environment, url, log=folder / "server.log"):
        yield Server(url, _token(environment))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def _serving(environment: dict[str, str], url: str, *, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        command = [sys.executable, "main.py", "serve"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        _wait_until_ready(process, url, log)
        yield
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_DEADLINE_S)
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            pytest.fail(f"the server ended with {process.wait(POLL_S)}:\n{log.read_text()}")
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz").is_success:
                return
    pytest.fail(f"the server was not ready after {START_DEADLINE_S} s:\n{log.read_text()}")


def _token(environment: dict[str, str]) -> str:
    arguments = ["--domain", "default", "--user", "admin", "--role", "DOMAIN_ADMIN"]
    command = [sys.executable, "main.py", "token", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def outside() -> list[str]:
    """The addresses on other hosts that the page asked for; each was blocked."""
    return []


@pytest.fixture
def context(server: Server, outside: list[str]) -> Iterator[BrowserContext]:
    """A visitor without a past. Its own for each test: a running Playwright holds the thread's event loop."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("The browser test needs Chromium: `apt-get install chromium`, or run `.ci/run`, which does that.")

    def block(route: Route) -> None:
        outside.append(route.request.url)
        route.abort()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        context.route(lambda url: not url.startswith(f"{server.url}/"), block)
        yield context
        browser.close()


@pytest.fixture
def page(context: BrowserContext, server: Server, outside: list[str]) -> Page:
    def note(socket: WebSocket) -> None:
        if not socket.url.startswith(server.url.replace("http", "ws", 1)):
            outside.append(socket.url)

    page = context.new_page()
    page.on("websocket", note)
    return page
