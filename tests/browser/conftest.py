"""A server process of its own, and a real browser that can reach nothing but that server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, Route, WebSocket, sync_playwright

from tests.server import ServerProcess, run

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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("browser") / "data")
    server.start()
    yield server
    server.terminate()


@pytest.fixture(scope="session")
def token(server: ServerProcess) -> str:
    """As the command line prints it, for the user that the examples name."""
    printed = run(server.folder, "token", "--domain", "default", "--user", "admin", "--role", "DOMAIN_ADMIN")
    return printed.stdout.strip()


@pytest.fixture
def outside() -> list[str]:
    """The addresses on other hosts that the page asked for; each was blocked."""
    return []


@pytest.fixture
def context(server: ServerProcess, outside: list[str]) -> Iterator[BrowserContext]:
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
def page(context: BrowserContext, server: ServerProcess, outside: list[str]) -> Page:
    def note(socket: WebSocket) -> None:
        if not socket.url.startswith(server.url.replace("http", "ws", 1)):
            outside.append(socket.url)

    page = context.new_page()
    page.on("websocket", note)
    return page
