"""What a message says, read once for all plugins, and its renderings: text, Markdown, HTML, the original's form. Pure.

Callers say a message as they like; here it gets the shape that plugins rely on. Nothing of it is trusted: what is not
text becomes text, every rendering escapes it, and only http and https addresses become links. A receiver of JSON, such
as the plugin `webhook`, needs none of this: it is sent the message as it was said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlsplit

import orjson

from storage.models import JsonObject, NotificationType

UNTITLED = "Notification"  # where neither the message nor its topic has a name for it
UNNAMED = "tag"  # the key of a tag that is only a value
MAX_TAGS = 200  # and callbacks, that people are shown
DESCRIPTIONS = ("description", "short_description", "contents")  # the first that says something
# What the original's plugins take for texts, which have no other words for a number than 5.0.
TEXTS = frozenset(
    {*DESCRIPTIONS, "content_type", "short_message", "link", "image_url", "occurred_at", "occured_at", "domain_name"}
)

COLOURS = {
    NotificationType.INFO: "#2563eb",
    NotificationType.SUCCESS: "#15803d",
    NotificationType.WARNING: "#b45309",
    NotificationType.ERROR: "#b91c1c",
}

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # but for tab and line feed
_ADDRESS = re.compile(r"https?://[^\s<>\"'`\\^{}|]+", re.IGNORECASE)
_MARKED = re.compile(r"[\\`*_\[\]]|~(?=~)|(?<=~)~")  # what Markdown understands anywhere in a line
_OPENING = re.compile(r"(?m)^[ \t]*(?:([#+=>~|-])|([0-9]+)([.)]))")  # and at its beginning
_ENTITY = re.compile(r"&(?=#?[0-9A-Za-z]+;)")
_TAG_OPEN = re.compile(r"<(?=\S)")


@dataclass(frozen=True)
class Tag:
    key: str
    value: str


@dataclass(frozen=True)
class Callback:
    """Something that a reader may answer with. Only an address of the web is rendered as a link."""

    label: str
    url: str


@dataclass(frozen=True)
class Message:
    """Texts without control characters; an empty one says nothing."""

    title: str  # one line, never empty
    description: str = ""
    link: str = ""
    image_url: str = ""
    tags: Sequence[Tag] = ()
    callbacks: Sequence[Callback] = ()
    occurred_at: str = ""


def read(message: JsonObject, *, topic: str) -> Message:
    """The message as it is shown to people."""
    descriptions = (_text(message.get(name)).strip() for name in DESCRIPTIONS)
    return Message(
        title=_title(message, topic),
        description=next(filter(None, descriptions), ""),
        link=_line(message.get("link")),
        image_url=_line(message.get("image_url")),
        tags=tuple(Tag(_line(tag["key"]), _text(tag["value"]).strip()) for tag in tags(message)[:MAX_TAGS]),
        callbacks=tuple(Callback(_line(each["label"]), _line(each["url"])) for each in _callbacks(message)[:MAX_TAGS]),
        occurred_at=_line(message.get("occurred_at")),
    )


def tags(message: JsonObject) -> list[JsonObject]:
    """The tags as a list of `{key, value, options?}`, keys and values strings, whichever form they were said in."""
    said = message.get("tags")
    if isinstance(said, dict):
        return list(_pairs(said))
    return [tag for item in _listed(said) for tag in _tags_of(item)]


def as_original(message: JsonObject, *, topic: str) -> JsonObject:
    """The message as the original's plugins take it: title, tags and callbacks always, nothing null, the rest kept."""
    said = _without_nulls(message)
    return {
        **said,
        **{name: _text(said[name]) for name in TEXTS & said.keys() if not isinstance(said[name], str)},
        "title": _title(message, topic),
        "tags": tags(message),
        "callbacks": _callbacks(message),
    }


def as_text(message: Message) -> str:
    """The body: all but the title, which goes beside it."""
    return _joined(
        message.description,
        _lines(f"{tag.key}: {tag.value}" for tag in message.tags),
        _lines(f"{each.label}: {each.url}" for each in message.callbacks),
        _lines(filter(None, (message.link, message.image_url, message.occurred_at))),
    )


def as_markdown(message: Message) -> str:
    """The body: all but the title, which goes beside it. Reads well where Markdown is not understood, too."""
    return _joined(
        _marked(message.description).replace("\n", "  \n"),
        _lines(f"- **{_marked_line(tag.key)}**: {_marked_line(tag.value)}" for tag in message.tags),
        _lines(f"- {_marked_link(each.label, each.url)}" for each in message.callbacks),
        _lines(_marked_link(url, url) for url in filter(None, (message.link, message.image_url))),
        _marked_line(message.occurred_at),
    )


def as_html(message: Message, *, notification_type: NotificationType = NotificationType.INFO) -> str:
    """A whole page for readers of mail: styled in place, without scripts, forms or anything else that acts."""
    colour = COLOURS[notification_type]
    parts = (
        f'<h1 style="{_STYLES["h1"].format(colour=colour)}">{escape(message.title)}</h1>',
        _paragraph(message.description),
        _table(message.tags),
        "".join(_button(each, colour) for each in message.callbacks),
        _image(message.image_url),
        _link(message.link),
        _note(message.occurred_at),
    )
    return _PAGE.format(title=escape(message.title), style=_STYLES["body"], body="\n".join(filter(None, parts)))


def is_web_address(text: str) -> bool:
    """Whether it is an http or https address, and nothing else."""
    if not _ADDRESS.fullmatch(text):
        return False
    try:
        return bool(urlsplit(text).hostname)
    except ValueError:
        return False


def _without_nulls(value: JsonObject) -> JsonObject:
    return {name: item for name, item in value.items() if item is not None}


def _title(message: JsonObject, topic: str) -> str:
    return _line(message.get("title")) or _line(topic) or UNTITLED


def _callbacks(message: JsonObject) -> list[JsonObject]:
    """Each with a label and an address; what has no address is left out."""
    said = (each for each in _listed(message.get("callbacks")) if isinstance(each, dict))
    return [
        {**_without_nulls(each), "label": _line(each.get("label")) or _line(each["url"]), "url": _line(each["url"])}
        for each in said
        if _line(each.get("url"))
    ]


def _tags_of(item: Any) -> Iterator[JsonObject]:
    """A tag of a list: with a key, as pairs without one, or as nothing but a value."""
    if not isinstance(item, dict):
        yield {"key": UNNAMED, "value": _text(item)}
    elif "key" in item:
        named = {"key": _text(item["key"]), "value": _text(item.get("value"))}
        yield {**named, "options": item["options"]} if isinstance(item.get("options"), dict) else named
    else:
        yield from _pairs(item)


def _pairs(tags: JsonObject) -> Iterator[JsonObject]:
    yield from ({"key": _text(key), "value": _text(value)} for key, value in tags.items())


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    """As people read it: texts as they are, everything else as JSON spells it."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _line(value: Any) -> str:
    return " ".join(_text(value).split())


def _joined(*parts: str) -> str:
    return "\n\n".join(filter(None, parts))


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines)


def _marked(text: str) -> str:
    """Text that Markdown takes for text."""
    text = _MARKED.sub(r"\\\g<0>", _ENTITY.sub("&amp;", text))
    return _OPENING.sub(_without_meaning, _TAG_OPEN.sub("&lt;", text))


def _without_meaning(opening: re.Match[str]) -> str:
    sign, number, end = opening.groups()
    return f"\\{sign}" if sign else f"{number}\\{end}"


def _marked_line(text: str) -> str:
    return _marked(" ".join(text.split()))


def _marked_link(label: str, url: str) -> str:
    if not is_web_address(url):
        return _marked_line(label if label == url else f"{label}: {url}")
    address = url.replace("(", "%28").replace(")", "%29").replace("[", "%5B").replace("]", "%5D")
    return f"[{_marked_line(label)}]({address})"


_PAGE = """\
<!DOCTYPE html>
<html>
<head><meta charset="utf-8"><title>{title}</title></head>
<body style="{style}">
{body}
</body>
</html>
"""
_STYLES = {
    "body": "margin:0 auto;max-width:40em;padding:1em;font-family:sans-serif;color:#111827",
    "h1": "margin:0 0 .75em;padding-left:.5em;border-left:.25em solid {colour};font-size:1.25em",
    "table": "margin:1em 0;border-collapse:collapse",
    "cell": "padding:.25em .75em .25em 0;text-align:left;vertical-align:top;border-bottom:1px solid #e5e7eb",
    "button": "display:inline-block;margin:0 .5em .5em 0;padding:.5em 1em;border-radius:.25em;color:#fff;"
    "text-decoration:none;background:{colour}",
    "image": "max-width:100%",
    "note": "color:#6b7280;font-size:.875em",
}


def _paragraph(text: str) -> str:
    return text and f"<p>{_broken(text)}</p>"


def _broken(text: str) -> str:
    return escape(text).replace("\n", "<br>\n")


def _table(tags: Sequence[Tag]) -> str:
    rows = _lines(_row(tag) for tag in tags)
    return rows and f'<table style="{_STYLES["table"]}">\n{rows}\n</table>'


def _row(tag: Tag) -> str:
    cell = _STYLES["cell"]
    return f'<tr><th style="{cell}">{escape(tag.key)}</th><td style="{cell}">{_broken(tag.value)}</td></tr>'


def _button(callback: Callback, colour: str) -> str:
    if not is_web_address(callback.url):
        return f"<p>{escape(callback.label)}: {escape(callback.url)}</p>"
    style = _STYLES["button"].format(colour=colour)
    return f'<a href="{escape(callback.url)}" style="{style}">{escape(callback.label)}</a>\n'


def _link(url: str) -> str:
    shown = escape(url)
    return f'<p><a href="{shown}">{shown}</a></p>' if is_web_address(url) else _paragraph(url)


def _image(url: str) -> str:
    shown = escape(url)
    return f'<p><img src="{shown}" alt="" style="{_STYLES["image"]}"></p>' if is_web_address(url) else _paragraph(url)


def _note(text: str) -> str:
    return text and f'<p style="{_STYLES["note"]}">{escape(text)}</p>'
