from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatch import message
from dispatch.plugins import DispatchRequest, Envelope, JsonObject, mail, schemas
from dispatch.plugins.email import OPTIONS_SCHEMA
from storage.models import NotificationLevel, NotificationType
from tests.dispatch.messages import HOSTILE, messages
from tests.dispatch.rows import SATURDAY_EVENING

BOB = "bob@example.org"
ALWAYS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
]


def request(said: JsonObject, **options: Any) -> DispatchRequest:
    envelope = Envelope(
        delivery_id="delivery-0123456789ab",
        notification_id="notification-0123456789ab",
        domain_id="d",
        topic="monitoring.alert",
        notification_level=NotificationLevel.LV2,
        created_at=SATURDAY_EVENING,
        attempted_at=SATURDAY_EVENING,
    )
    return DispatchRequest(
        options={"host": "mail.test", "from": "tocsin@example.com", **options},
        message=said,
        notification_type=NotificationType.INFO,
        secret_data={},
        channel_data={},
        envelope=envelope,
    )


def parsed(written: bytes) -> EmailMessage:
    return message_from_bytes(written, policy=policy.SMTP)


def test_a_mail_says_who_writes_to_whom_about_what_and_when() -> None:
    found = parsed(mail.write(request({"title": "Disk full"}, fromName="Ops, Inc.", replyTo="ops@example.net"), [BOB]))

    assert dict(found.items()) == {
        "From": '"Ops, Inc." <tocsin@example.com>',
        "To": BOB,
        "Subject": "Disk full",
        "Date": "Sat, 31 Jan 2026 17:12:40 +0000",
        "Message-ID": "<delivery-0123456789ab@example.com>",
        "Auto-Submitted": "auto-generated",
        "Reply-To": "ops@example.net",
        "MIME-Version": "1.0",
        "Content-Type": found["content-type"],
    }
    assert [part.get_content_type() for part in found.walk()] == ["multipart/alternative", "text/plain", "text/html"]


def test_an_error_is_important() -> None:
    asked = request({})
    found = parsed(mail.write(DispatchRequest(**{**vars(asked), "notification_type": NotificationType.ERROR}), [BOB]))

    assert found["importance"] == "high"


@pytest.mark.parametrize(
    ("configured", "address", "post"),
    [
        (
            "https://example.org/leave?who={recipient}",
            "<https://example.org/leave?who=bob%40example.org>",
            "List-Unsubscribe=One-Click",
        ),
        ("mailto:leave@example.org?subject={recipient}", "<mailto:leave@example.org?subject=bob%40example.org>", None),
        (f"https://example.org/{'x' * 400}", f"<https://example.org/{'x' * 400}>", "List-Unsubscribe=One-Click"),
    ],
)
def test_a_reader_can_unsubscribe_where_that_is_configured(configured: str, address: str, post: str | None) -> None:
    schemas.validate({"host": "h", "from": BOB, "listUnsubscribe": configured}, OPTIONS_SCHEMA)
    written = mail.write(request({}, listUnsubscribe=configured), [BOB])

    assert f"\r\nList-Unsubscribe: {address}\r\n".encode() in written  # on one line, as it is
    assert parsed(written)["list-unsubscribe-post"] == post


def test_nobody_is_told_anothers_address_for_unsubscribing() -> None:
    written = mail.write(request({}, listUnsubscribe="https://example.org/{recipient}"), [BOB, "al@example.org"])

    assert parsed(written)["list-unsubscribe"] == "<https://example.org/>"


def test_a_long_title_is_cut_in_the_subject_and_stands_in_the_mail() -> None:
    found = parsed(mail.write(request({"title": "Disk full " * 50}), [BOB]))
    text = found.get_body(("plain",))

    assert len(found["subject"]) <= mail.MAX_SUBJECT
    assert found["subject"].endswith("…")
    assert text is not None
    assert text.get_content().startswith(("Disk full " * 50).strip())


@pytest.mark.parametrize("title", ["Störung: Платформа 磁盘已满 🔥", "ü" * 300, "a" * 300, "=?utf-8?q?x?=", "x " * 90])
def test_any_title_comes_back_as_it_was(title: str) -> None:
    found = parsed(mail.write(request({"title": title}), [BOB]))

    assert found["subject"].rstrip("…") == title[: mail.MAX_SUBJECT - 1].strip() or found["subject"] == title.strip()


@settings(max_examples=100)
@given(messages)
@example({"title": "=?utf-8?q?=0D=0ABcc:_eve@example.org?="})
def test_whatever_is_said_the_headers_are_ours(said: JsonObject) -> None:
    written = mail.write(request(said), [BOB])
    found = parsed(written)

    assert found.keys() == ALWAYS
    assert (str(found["from"]), str(found["to"])) == ("tocsin@example.com", BOB)
    assert [part.get_content_type() for part in found.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert not any(part.defects for part in found.walk())
    assert max(map(len, written.split(b"\r\n"))) <= 998
    assert b"\n" not in written.replace(b"\r\n", b"")
    assert written.isascii()


@settings(max_examples=60)
@given(messages)
def test_whatever_is_said_can_be_read(said: JsonObject) -> None:
    found = parsed(mail.write(request(said), [BOB]))
    shown = message.read(said, topic="monitoring.alert")
    text, html = (part.get_content().replace("\r\n", "\n") for part in found.iter_parts())

    assert text == f"{shown.title}\n\n{message.as_text(shown)}\n"
    assert html == message.as_html(shown)


@given(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=64)))
@settings(max_examples=100)
def test_a_senders_name_that_the_schema_takes_stays_a_name(name: str) -> None:
    try:
        schemas.validate({"host": "h", "from": BOB, "fromName": name}, OPTIONS_SCHEMA)
    except schemas.SchemaViolation:
        return
    found = parsed(mail.write(request({"title": "t"}, fromName=name), [BOB]))

    assert found.keys() == ALWAYS
    assert [address.addr_spec for address in found["from"].addresses] == ["tocsin@example.com"]
