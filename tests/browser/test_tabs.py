"""Two tabs of one user, in a real browser: what one reads the other shows, and both outlive the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from resolvers.access import Role
from tests.server import ROOT, ServerProcess

OUTPUT = ROOT / "test-output"
PAGE = Path(__file__).with_name("badge.html")
USER = "two-tabs"
DEADLINE_MS = 30_000
TABS = 2

CREATE = """
    mutation ($message: JSON!) {
      createNotification(
        input: {resourceType: "identity.User", resourceId: "two-tabs", topic: "browser.tabs", message: $message}
      ) { notification { notificationId } }
    }
"""


@pytest.fixture
def tabs(context: BrowserContext, server: ServerProcess) -> list[Page]:
    """The page is the test's, put where the server's own answer was: from anywhere else it could not ask the server."""
    tabs = [context.new_page() for _ in range(TABS)]
    for tab in tabs:
        tab.goto(f"{server.url}/healthz#{server.token(USER, Role.USER)}")
        tab.set_content(PAGE.read_text())
    return tabs


def create(server: ServerProcess, title: str) -> str:
    """The id of a new notification of the user."""
    headers = server.client("admin", Role.DOMAIN_ADMIN).headers
    body = {"query": CREATE, "variables": {"message": {"title": title}}}
    answer = httpx.post(f"{server.url}/graphql", json=body, headers=headers, trust_env=False).json()
    return str(answer["data"]["createNotification"]["notification"]["notificationId"])


def create_elsewhere(server: ServerProcess, *titles: str) -> list[str]:
    """The same while the server does not run: by another one on its data, which no tab knows."""
    other = ServerProcess(server.folder)
    other.start()
    made = [create(other, title) for title in titles]
    other.kill()
    return made


def expect_badges(tabs: list[Page], unread: int, *, state: str = "here") -> None:
    for tab in tabs:
        badge = tab.locator("#unread")
        expect(badge).to_have_text(str(unread), timeout=DEADLINE_MS)
        expect(badge).to_have_attribute("data-state", state, timeout=DEADLINE_MS)


def read(tab: Page, notification_id: str) -> None:
    tab.locator(f"#{notification_id} button").click()


def told(tab: Page, kind: str) -> list[Any]:
    events: list[Any] = tab.evaluate("kind => told.filter(event => event.__typename === kind)", kind)
    return events


def added(tab: Page) -> list[str]:
    return [event["notification"]["notificationId"] for event in told(tab, "NotificationAdded")]


def test_both_tabs_show_what_one_reads_and_catch_up_after_the_server_was_killed(
    tabs: list[Page], server: ServerProcess, outside: list[str]
) -> None:
    expect_badges(tabs, 0)
    said = [create(server, "First"), create(server, "Second")]
    expect_badges(tabs, 2)

    read(tabs[0], said[0])
    expect_badges(tabs, 1)

    server.kill()
    expect_badges(tabs, 1, state="away")
    said += create_elsewhere(server, "Missed", "Missed too")
    server.start()
    expect_badges(tabs, 3)

    said.append(create(server, "Live again"))
    expect_badges(tabs, 4)
    read(tabs[1], said[2])
    expect_badges(tabs, 3)
    OUTPUT.mkdir(exist_ok=True)
    for number, tab in enumerate(tabs, 1):
        tab.screenshot(path=OUTPUT / f"tabs-{number}.png")
        assert added(tab) == said, "each once, and in order"
        reading = told(tab, "NotificationsRead")
        assert [event["notificationIds"] for event in reading] == [[said[0]], [said[2]]]
        assert len({event["originId"] for event in reading}) == TABS, "each says which tab it came from"
        assert told(tab, "InboxReset") == []
    assert outside == []
