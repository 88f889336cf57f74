"""The GraphiQL page as a person meets it: opened from the printed address, with every other host out of reach."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, TimeoutError

from tests.server import ROOT, ServerProcess

OUTPUT = ROOT / "test-output"
EVENT_TRIES = 20
EVENT_WAIT_MS = 1000
REFUSAL_WAIT_MS = 5000  # the client's own retries would take longer

QUERY = ".graphiql-query-editor .CodeMirror"
TOOL = ".graphiql-editor-tool .graphiql-editor:not(.hidden) .CodeMirror"
RESPONSE = ".result-window .CodeMirror"

CREATE = """
    mutation ($message: JSON!) {
      createNotification(
        input: {resourceType: "identity.User", resourceId: "admin", topic: "browser.test", message: $message}
      ) { recipientCount }
    }
"""


@pytest.fixture
def visit(page: Page, server: ServerProcess) -> Callable[[str], None]:
    """Opens the address that `make run` prints, with this token, and waits for the page's tabs."""

    def visit(token: str) -> None:
        page.goto(f"{server.url}/graphql#token={token}")
        page.wait_for_function("() => !location.hash && document.querySelector('.graphiql-tab')")
        page.get_by_role("button", name="Headers", exact=True).click()
        page.wait_for_selector(TOOL)

    return visit


def text_of(page: Page, editor: str) -> str:
    text: str = page.eval_on_selector(editor, "element => element.CodeMirror.getValue()")
    return text


def open_tab(page: Page, name: str) -> None:
    """Opens a tab, and waits until GraphiQL has read its query: a run before that would be of the last tab's."""
    page.get_by_role("tab", name=name).click()
    known = f"name => document.querySelector('{QUERY}').CodeMirror.operationName === name"
    page.wait_for_function(known, arg=name)


def run(page: Page) -> None:
    page.get_by_role("button", name="Execute query").click()


def wait_for_response(page: Page, text: str, **deadline: float) -> None:
    there = f"text => document.querySelector('{RESPONSE}').CodeMirror.getValue().includes(text)"
    page.wait_for_function(there, arg=text, **deadline)


def response_with(page: Page, text: str, **deadline: float) -> dict[str, Any]:
    """The `data` on the page, once its text holds this."""
    wait_for_response(page, text, **deadline)
    data: dict[str, Any] = json.loads(text_of(page, RESPONSE))["data"]
    return data


def create(server: ServerProcess, token: str, message: dict[str, str]) -> None:
    """By HTTP, from outside of the page."""
    body = {"query": CREATE, "variables": {"message": message}}
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.post(f"{server.url}/graphql", json=body, headers=headers, trust_env=False)
    assert answer.json() == {"data": {"createNotification": {"recipientCount": 1}}}


def event_after_create(page: Page, server: ServerProcess, token: str, message: dict[str, str]) -> dict[str, Any]:
    """Creates until one is seen: nothing tells the page when the server has begun to listen for it."""
    for _ in range(EVENT_TRIES):
        create(server, token, message)
        with suppress(TimeoutError):
            return response_with(page, message["title"], timeout=EVENT_WAIT_MS)
    pytest.fail(f"no event on the page:\n{text_of(page, RESPONSE)}")


def authorizations(page: Page) -> list[str]:
    """What the header tab of each of the page's tabs says."""
    found = []
    for tab in page.get_by_role("tab").all():
        tab.click()
        page.wait_for_function("tab => tab.getAttribute('aria-selected') === 'true'", arg=tab.element_handle())
        found.append(json.loads(text_of(page, TOOL))["Authorization"])
    return found


def remembered(page: Page) -> str:
    storage: str = page.evaluate("JSON.stringify(localStorage)")
    return storage


def wait_for_history(page: Page, text: str) -> None:
    page.wait_for_function("text => localStorage.getItem('tocsin:graphiql:queries')?.includes(text)", arg=text)


def write_own_tab(page: Page) -> None:
    """Puts a query of the visitor's own in place of an example, and waits until GraphiQL has stored it."""
    open_tab(page, "inbox")
    page.eval_on_selector(QUERY, "element => element.CodeMirror.setValue('query mine { viewer { userId } }')")
    page.wait_for_function("() => localStorage.getItem('tocsin:graphiql:tabState')?.includes('query mine')")


def persist_headers(page: Page, choice: str) -> None:
    page.get_by_role("button", name="Open settings dialog").click()
    page.get_by_role("button", name=choice, exact=True).click()
    page.keyboard.press("Escape")
    page.wait_for_selector(".graphiql-dialog", state="detached")


def test_the_three_examples_run_with_the_token_of_the_address(
    page: Page, server: ServerProcess, token: str, visit: Callable[[str], None], outside: list[str]
) -> None:
    """Create, inbox and live work as they stand; an event that comes from elsewhere appears on the page."""
    OUTPUT.mkdir(exist_ok=True)
    visit(token)
    assert page.url == f"{server.url}/graphql"
    assert authorizations(page) == [f"Bearer {token}"] * 3

    open_tab(page, "create")
    run(page)
    created = response_with(page, "recipientCount")["createNotification"]
    assert created["recipientCount"] == 1

    open_tab(page, "inbox")
    run(page)
    inbox = response_with(page, "unreadCount")
    page.screenshot(path=OUTPUT / "graphiql-inbox.png")
    assert inbox["inbox"]["totalCount"] >= 1
    assert created["notification"]["notificationId"] in [n["notificationId"] for n in inbox["notifications"]["nodes"]]

    open_tab(page, "live")
    run(page)
    event = event_after_create(page, server, token, {"title": "seen at once"})["notificationCreated"]
    page.screenshot(path=OUTPUT / "graphiql-live.png")
    assert event["topic"] == "browser.test"
    assert event["message"] == {"title": "seen at once"}
    assert token not in remembered(page)
    assert outside == []


def test_a_returning_visitor_keeps_the_tabs_and_gets_the_new_token(page: Page, visit: Callable[[str], None]) -> None:
    visit("first")
    write_own_tab(page)

    visit("second")

    assert page.get_by_role("tab").all_inner_texts() == ["create", "mine", "live"]
    assert authorizations(page) == ["Bearer second"] * 3
    assert "Bearer" not in remembered(page)


def test_headers_are_remembered_only_while_the_setting_says_so(page: Page, visit: Callable[[str], None]) -> None:
    """In GraphiQL's history of runs as well, which by itself keeps them all."""
    visit("first")
    write_own_tab(page)
    run(page)
    wait_for_history(page, "query mine")
    assert "Bearer" not in remembered(page)

    persist_headers(page, "On")
    visit("second")
    assert page.get_by_role("tab").all_inner_texts() == ["create", "mine", "live"]
    assert authorizations(page) == ["Bearer second"] * 3
    run(page)
    wait_for_history(page, "Bearer second")

    persist_headers(page, "Off")
    assert "Bearer" not in remembered(page)


def test_a_refused_token_is_told_at_once(page: Page, visit: Callable[[str], None]) -> None:
    visit("forged")
    open_tab(page, "live")
    run(page)
    wait_for_response(page, "4403", timeout=REFUSAL_WAIT_MS)


def test_the_block_sees_what_a_page_asks_of_other_hosts(page: Page, outside: list[str]) -> None:
    """So that an empty list above means something."""
    page.set_content('<img src="http://elsewhere.invalid/picture.png">', wait_until="load")
    assert outside == ["http://elsewhere.invalid/picture.png"]
