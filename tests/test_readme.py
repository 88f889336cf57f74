"""The README says what is so: its example runs as written, and its tables are complete."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

import main
from dispatch.plugins import registry
from resolvers.access import Role
from tests.server import ServerProcess

README = (Path(__file__).parent.parent / "README.md").read_text()


def _rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its header."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def _default(name: str, value: object) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, tuple):
        return f"`{','.join(f'{part:g}' for part in value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_every_setting_is_listed_with_its_default_and_meaning() -> None:
    settings = main.Settings.model_fields

    assert sorted(_rows("Settings")) == sorted(
        [f"`{main.PREFIX}{name.upper()}`", _default(name, field.default), field.description or ""]
        for name, field in settings.items()
    )


def test_every_command_is_listed_as_it_explains_itself() -> None:
    commands = get_command(main.cli).commands  # type: ignore[attr-defined]

    assert _rows("Commands") == [[f"`{name}`", command.help] for name, command in commands.items()]


def test_every_built_in_plugin_is_listed() -> None:
    assert {row[0].strip("`") for row in _rows("Plugins")} == registry.BUILT_IN.names


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:schema|resolvers|dispatch|storage)/\w+\.py)", README))))
def test_every_file_on_the_way_of_a_notification_is_there(path: str) -> None:
    assert (Path(__file__).parent.parent / path).exists()


def test_the_call_from_a_shell_is_answered(serve: Callable[..., ServerProcess]) -> None:
    server = serve()
    [call] = re.findall(r"```sh\n(curl .*?)```", README, re.DOTALL)

    done = subprocess.run(
        call.replace("127.0.0.1:8000", server.url),
        shell=True,
        env=os.environ | {"TOKEN": server.token("admin", Role.DOMAIN_ADMIN)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert json.loads(done.stdout) == {"data": {"createNotification": {"recipientCount": 1}}}, done.stderr


def test_the_example_runs_as_it_is_written(serve: Callable[..., ServerProcess], tmp_path: Path) -> None:
    server = serve()
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "hello.py").write_text(example)
    token = server.token("admin", Role.DOMAIN_ADMIN)

    done = subprocess.run(
        [sys.executable, tmp_path / "hello.py"],
        env={"URL": f"{server.url.removeprefix('http://')}/graphql", "TOKEN": token},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    acknowledged, created, live, inbox = done.stdout.splitlines()
    assert acknowledged == "{'type': 'connection_ack'}"
    assert created == "{'createNotification': {'recipientCount': 1}}"
    assert live.startswith(
        "{'notificationCreated': {'topic': 'hello', 'message': {'title': 'It works'}, 'createdAt': '"
    )
    assert inbox == ("{'inbox': {'unreadCount': 1}, 'notifications': {'nodes': [{'topic': 'hello', 'isRead': False}]}}")
