from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import markdown  # type: ignore[import-untyped]
import orjson
import pytest
from hypothesis import given, settings
from markdown_it import MarkdownIt

from dispatch import message
from dispatch.message import Callback, Message, Tag
from storage.models import JsonObject, NotificationType
from tests.dispatch.messages import HOSTILE, messages

TOPIC = "monitoring.alert"
SAID: JsonObject = {
    "title": "Disk full",
    "description": "2 % left\non /var",
    "link": "https://example.org/alert?id=1&x=2",
    "image_url": "https://example.org/graph.png",
    "tags": {"State": "TRIGGERED", "Number": 108664, "Ratio": 3.0, "Muted": False, "Owner": None, "Hosts": ["a", "b"]},
    "callbacks": [{"label": "Acknowledge", "url": "https://example.org/ack"}],
    "occurred_at": "2026-01-31T17:12:40.990Z",
}
ALLOWED = {  # each element of a page, and its attributes
    "html": set(),
    "head": set(),
    "meta": {"charset"},
    "title": set(),
    "body": {"style"},
    "h1": {"style"},
    "p": {"style"},
    "br": set(),
    "table": {"style"},
    "tr": set(),
    "th": {"style"},
    "td": {"style"},
    "a": {"href", "style"},
    "img": {"src", "alt", "style"},
}
MARKED = {"p": set(), "br": set(), "ul": set(), "li": set(), "strong": set(), "a": {"href"}}


class Page(HTMLParser):
    """A page as a browser takes it apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.elements.append(("!--", {}))

    def handle_pi(self, data: str) -> None:
        self.elements.append(("?", {}))

    def addresses(self, attribute: str) -> list[str]:
        return [str(attributes[attribute]) for _, attributes in self.elements if attribute in attributes]


def test_what_is_said_is_read() -> None:
    assert message.read(SAID, topic=TOPIC) == Message(
        title="Disk full",
        description="2 % left\non /var",
        link="https://example.org/alert?id=1&x=2",
        image_url="https://example.org/graph.png",
        tags=(
            Tag("State", "TRIGGERED"),
            Tag("Number", "108664"),
            Tag("Ratio", "3.0"),
            Tag("Muted", "false"),
            Tag("Owner", ""),
            Tag("Hosts", '["a","b"]'),
        ),
        callbacks=(Callback("Acknowledge", "https://example.org/ack"),),
        occurred_at="2026-01-31T17:12:40.990Z",
    )


@pytest.mark.parametrize(
    ("said", "tags"),
    [
        (None, []),
        ({}, []),
        ([], []),
        ({"a": 1}, [{"key": "a", "value": "1"}]),
        ([{"key": "a", "value": 3}], [{"key": "a", "value": "3"}]),
        (
            [{"key": "a", "value": "b", "options": {"short": True}}],
            [{"key": "a", "value": "b", "options": {"short": True}}],
        ),
        ([{"key": "a", "value": "b", "options": None, "x": 1}], [{"key": "a", "value": "b"}]),
        ([{"key": 1}], [{"key": "1", "value": ""}]),
        ([{"severity": "high", "n": 2}], [{"key": "severity", "value": "high"}, {"key": "n", "value": "2"}]),
        (["urgent", None], [{"key": "tag", "value": "urgent"}, {"key": "tag", "value": ""}]),
        ("urgent", [{"key": "tag", "value": "urgent"}]),
    ],
)
def test_tags_are_a_list_of_strings_whichever_form_they_were_said_in(said: Any, tags: list[JsonObject]) -> None:
    assert message.tags({"tags": said}) == tags


@pytest.mark.parametrize(
    ("title", "topic", "shown"),
    [
        ("Disk full", TOPIC, "Disk full"),
        ("Disk\r\nfull\t!", TOPIC, "Disk full !"),
        ("  ", TOPIC, TOPIC),
        (None, TOPIC, TOPIC),
        ("", TOPIC, TOPIC),
        (404, TOPIC, "404"),
        (None, "", "Notification"),
    ],
)
def test_there_is_always_a_title_of_one_line(title: Any, topic: str, shown: str) -> None:
    assert message.read({"title": title}, topic=topic).title == shown
    assert message.as_original({"title": title}, topic=topic)["title"] == shown


@pytest.mark.parametrize(
    ("said", "description"),
    [
        ({"description": "a", "short_description": "b"}, "a"),
        ({"description": " ", "short_description": "b"}, "b"),
        ({"contents": "c", "content_type": "MARKDOWN"}, "c"),
        ({"description": "a\r\nb\rc"}, "a\nb\nc"),
        ({}, ""),
    ],
)
def test_the_description_is_the_first_that_says_something(said: JsonObject, description: str) -> None:
    assert message.read(said, topic=TOPIC).description == description


def test_the_originals_plugins_always_find_what_they_look_for() -> None:
    assert message.as_original({"link": None, "contents": "x"}, topic=TOPIC) == {
        "title": TOPIC,
        "tags": [],
        "callbacks": [],
        "contents": "x",
    }


def test_what_the_originals_plugins_take_for_a_text_is_one() -> None:
    said = {"description": 5, "occurred_at": 1_700_000_000, "link": "https://example.org ", "count": 3}

    assert message.as_original(said, topic=TOPIC) == {
        "title": TOPIC,
        "tags": [],
        "callbacks": [],
        "description": "5",
        "occurred_at": "1700000000",
        "link": "https://example.org ",
        "count": 3,
    }


def test_callbacks_without_an_address_are_left_out_and_without_a_label_show_it() -> None:
    said = [
        {"label": "a"},
        "x",
        {"url": "https://example.org", "options": {"x": 1}, "icon": None},
        {"label": "b", "url": " "},
    ]

    assert message.as_original({"callbacks": said}, topic=TOPIC)["callbacks"] == [
        {"label": "https://example.org", "url": "https://example.org", "options": {"x": 1}}
    ]


def test_a_text_is_all_but_the_title() -> None:
    assert message.as_text(message.read(SAID, topic=TOPIC)).splitlines() == [
        "2 % left",
        "on /var",
        "",
        "State: TRIGGERED",
        "Number: 108664",
        "Ratio: 3.0",
        "Muted: false",
        "Owner: ",
        'Hosts: ["a","b"]',
        "",
        "Acknowledge: https://example.org/ack",
        "",
        "https://example.org/alert?id=1&x=2",
        "https://example.org/graph.png",
        "2026-01-31T17:12:40.990Z",
    ]
    assert message.as_text(message.read({"title": "Disk full"}, topic=TOPIC)) == ""


@pytest.mark.parametrize(
    ("said", "marked"),
    [
        ("2 % left, 5 < 6 & more", "2 % left, 5 < 6 & more"),
        ("*a* _b_ `c` [d] \\", r"\*a\* \_b\_ \`c\` \[d\] " + "\\\\"),
        ("# a\n  - b\n1. c\n> d\n+ e\n=== f", "\\# a  \n\\- b  \n1\\. c  \n\\> d  \n\\+ e  \n\\=== f"),
        ("<b>&lt;", "&lt;b>&amp;lt;"),
        ("~~gone~~ ~5", r"\~\~gone\~\~ ~5"),
    ],
)
def test_markdown_takes_no_text_for_its_own(said: str, marked: str) -> None:
    assert message.as_markdown(Message("t", description=said)) == marked


def test_markdown_lists_tags_and_links_what_is_an_address() -> None:
    said = Message(
        "t",
        tags=[Tag("a*", "b\nc")],
        callbacks=[Callback("[Go]", "https://example.org/(x)"), Callback("Run", "javascript:alert(1)")],
        link="https://example.org/",
    )

    assert message.as_markdown(said).splitlines() == [
        r"- **a\***: b c",
        "",
        r"- [\[Go\]](https://example.org/%28x%29)",
        "- Run: javascript:alert(1)",
        "",
        "[https://example.org/](https://example.org/)",
    ]


def test_a_page_shows_all_of_it() -> None:
    html = message.as_html(message.read(SAID, topic=TOPIC), notification_type=NotificationType.ERROR)
    page = Page(html)
    names = [name for name, _ in page.elements]

    assert (names.count("tr"), names.count("th"), names.count("td")) == (6, 6, 6)
    assert page.addresses("href") == ["https://example.org/ack", "https://example.org/alert?id=1&x=2"]
    assert page.addresses("src") == ["https://example.org/graph.png"]
    shown = "".join(page.texts)
    assert all(text in shown for text in ("Disk full", "2 % left", "TRIGGERED", "Acknowledge", "2026-01-31"))
    assert message.COLOURS[NotificationType.ERROR] in html


def test_people_are_shown_so_many_tags_at_most() -> None:
    said = message.read({"tags": {str(number): number for number in range(1_000)}}, topic=TOPIC)

    assert len(said.tags) == message.MAX_TAGS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org",
        "//example.org",
        "ftp://example.org",
        "javascript:alert(1)",
        "https://",
        "https:///x",
        "https://[::1",
        "https://example.org/ x",
        'https://example.org/"x',
        "view-source:https://example.org",
    ],
)
def test_what_is_no_web_address_is_never_linked(text: str) -> None:
    said = message.read({"link": text, "image_url": text, "callbacks": [{"label": "x", "url": text}]}, topic=TOPIC)
    page = Page(message.as_html(said))

    assert page.addresses("href") + page.addresses("src") == []
    assert message.is_web_address("HTTPS://Example.org:8443/a?b=c#d")


@settings(max_examples=100)
@given(messages)
def test_nothing_that_is_said_becomes_markup(said: JsonObject) -> None:
    shown = message.read(said, topic=TOPIC)
    page = Page(message.as_html(shown))

    assert all(name in ALLOWED and set(attributes) <= ALLOWED[name] for name, attributes in page.elements)
    assert [name for name, _ in page.elements].count("tr") == len(shown.tags)
    assert all(message.is_web_address(url) for url in page.addresses("href") + page.addresses("src"))
    assert {style for style in page.addresses("style") if "url(" in style or "expression" in style} == set()


@settings(max_examples=100)
@given(messages)
def test_the_title_of_a_page_is_the_title_said(said: JsonObject) -> None:
    shown = message.read(said, topic=TOPIC)
    page = Page(message.as_html(shown))

    assert shown.title in "".join(page.texts)
    assert shown.title.strip()
    assert "\n" not in shown.title


@settings(max_examples=100)
@given(messages)
def test_the_originals_form_is_kept_for_whatever_is_said(said: JsonObject) -> None:
    original = message.as_original(said, topic=TOPIC)

    assert orjson.loads(orjson.dumps(original)) == original
    assert isinstance(original["title"], str)
    assert original["title"].strip()
    assert all(isinstance(tag["key"], str) and isinstance(tag["value"], str) for tag in original["tags"])
    assert all(each["url"] and each["label"] for each in original["callbacks"])
    assert None not in original.values()
    assert all(isinstance(original[name], str) for name in message.TEXTS & original.keys())
    assert original.items() >= {
        (name, value) for name, value in said.items() if name == "other" and isinstance(value, str)
    }


@settings(max_examples=100)
@given(messages)
def test_a_text_holds_no_control_character(said: JsonObject) -> None:
    text = message.as_text(message.read(said, topic=TOPIC))

    assert not set(text) & {chr(code) for code in [*range(9), *range(11, 32), *range(127, 160)]}


@pytest.mark.parametrize(
    "render", [MarkdownIt("commonmark").render, markdown.markdown], ids=["CommonMark", "Apprise's"]
)
@settings(max_examples=100)
@given(said=messages)
def test_markdown_becomes_nothing_but_what_was_meant(render: Callable[[str], str], said: JsonObject) -> None:
    page = Page(render(message.as_markdown(message.read(said, topic=TOPIC))))

    assert all(name in MARKED and set(attributes) <= MARKED[name] for name, attributes in page.elements)
    assert all(message.is_web_address(url) for url in page.addresses("href"))


@pytest.mark.parametrize("text", HOSTILE)
def test_each_known_trick_stays_a_text(text: str) -> None:
    said = dict.fromkeys(("title", "description", "link", "image_url", "occurred_at"), text)
    tricks = {**said, "tags": {text: text}, "callbacks": [{"label": text, "url": text}]}
    page = Page(message.as_html(message.read(tricks, topic=TOPIC)))

    assert all(name in ALLOWED and set(attributes) <= ALLOWED[name] for name, attributes in page.elements)
    assert all(message.is_web_address(url) for url in page.addresses("href") + page.addresses("src"))
