"""docs/streams.md says what is so: close codes, limits and times are those of the code."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import main
from resolvers.retention import Keep
from schema import bounded_socket, websocket
from schema.sockets import CloseCode, Limits

PAGE = (Path(__file__).parent.parent / "docs" / "streams.md").read_text()
DEAD_WITHIN_S = 30


def _rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its header."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_every_close_code_is_explained_and_no_other() -> None:
    assert [(int(code), name) for code, name, *_ in _rows("Why a socket closes")] == [
        (code.value, code.name) for code in CloseCode
    ]


def test_the_limits_are_the_defaults_of_the_settings_and_of_the_code() -> None:
    defaults = [(f"{main.PREFIX}{name.upper()}", field.default) for name, field in main.Settings.model_fields.items()]
    listed = [(setting, int(count)) for _, count, _, setting in _rows("Limits")]

    assert listed == [default for default in defaults if "_LIMIT" in default[0]] + [("", websocket.MAX_OPERATIONS)]
    assert main.Settings.model_construct().limits == Limits()


def test_what_is_kept_is_as_it_is_said_to_be() -> None:
    page = " ".join(PAGE.split())
    keep = Keep()

    assert main.Settings.model_construct().keep == keep
    assert f"keeps {keep.log_age.days} days (`TOCSIN_LOG_KEEP_DAYS`)" in page
    assert f"the latest {keep.log_changes} changes of an inbox (`TOCSIN_LOG_KEEP_CHANGES`)" in page
    named = main.Settings.model_construct(log_keep_days=1, log_keep_changes=2, notification_keep_days=3)
    assert named.keep == Keep(timedelta(days=1), 2, timedelta(days=3))


def test_times_are_as_they_are_said_to_be() -> None:
    timeout = main.Settings.model_fields["socket_timeout"].default

    assert f"within `TOCSIN_SOCKET_TIMEOUT` ({timeout:g} seconds)" in " ".join(PAGE.split())
    assert f"A client has {bounded_socket.LINGER_SECONDS:g} seconds" in PAGE
    assert f"waits {main.SHUTDOWN_SECONDS} seconds" in PAGE
    assert 2 * timeout + bounded_socket.LINGER_SECONDS <= DEAD_WITHIN_S
    assert re.search(rf"within {DEAD_WITHIN_S} seconds", " ".join(PAGE.split()))
