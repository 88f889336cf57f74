"""The command line as whoever operates the server meets it: what it prints, and how it says what is wrong."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import typer.main
from typer.testing import CliRunner

import main
from resolvers.access import Role
from storage import migrations
from tests.client import Client, eventually
from tests.server import ROOT, ServerProcess, run

COMMANDS = sorted(typer.main.get_command(main.cli).commands)  # type: ignore[attr-defined]
LIVE = "subscription { notificationCreated { notificationId } }"
VIEWER = "{ viewer { userId domainId role } }"
SHUTDOWN_SECONDS = 10


def complaint(ended: subprocess.CompletedProcess[str]) -> str:
    """The one sentence on standard error that a command ended with, having printed nothing else."""
    assert ended.returncode != 0
    assert ended.stdout == ""
    [sentence] = ended.stderr.splitlines()
    return sentence


def token_arguments(**given: str) -> list[str]:
    wanted = {"domain": "default", "user": "user1", "role": "USER", **given}
    return ["token", *(part for name, value in wanted.items() for part in (f"--{name}", value))]


def status(url: str) -> tuple[int, str]:
    answer = httpx.get(url, trust_env=False)
    return answer.status_code, answer.text


# Help.


def test_without_a_command_it_names_them_all() -> None:
    said = CliRunner().invoke(main.cli, []).output

    assert COMMANDS == ["export-schema", "migrate", "renew-cursors", "rotate-keys", "serve", "token", "worker"]
    assert all(re.search(rf"^│ {command} +\S", said, re.MULTILINE) for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_each_of_its_options_has_help(command: str) -> None:
    done = CliRunner().invoke(main.cli, [command, "--help"])

    assert done.exit_code == 0
    declared = typer.main.get_command(main.cli).commands[command]  # type: ignore[attr-defined]
    assert declared.help
    assert all(parameter.help for parameter in declared.params)


# Tokens.


async def test_a_token_is_all_that_is_printed_and_it_is_taken(live: ServerProcess) -> None:
    ended = run(live.folder, *token_arguments(role="service", user="monitoring"))

    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", ended.stdout)
    client = Client(live.url, ended.stdout.strip())
    expected = {"userId": "monitoring", "domainId": "default", "role": "SERVICE"}
    assert await client.ask(VIEWER) == {"viewer": expected}


async def test_a_token_ends_when_its_time_is_up(live: ServerProcess) -> None:
    token = run(live.folder, *token_arguments(), "--ttl", "1").stdout.strip()

    async def refusal() -> str:
        async with httpx.AsyncClient(trust_env=False, headers={"Authorization": f"Bearer {token}"}) as client:
            answer = await client.post(f"{live.url}/graphql", json={"query": VIEWER})
        return "".join(error["message"] for error in answer.json().get("errors", []))

    assert await eventually(refusal, bool) == "The bearer token has expired."


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("ttl", "soon"),
        ("ttl", "-1"),
        ("ttl", "999999999d"),
        ("role", "KING"),
        ("domain", ""),
        ("user", "u" * 129),
    ],
)
def test_a_wrong_option_is_named(option: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_DATA_DIR", str(tmp_path / "data"))

    done = CliRunner().invoke(main.cli, token_arguments(**{option: value}))

    assert done.exit_code == 2
    assert done.stdout == ""
    assert f"--{option}" in done.stderr


def test_keys_are_readable_by_their_owner_alone(live: ServerProcess) -> None:
    modes = {key.name: key.stat().st_mode & 0o777 for key in live.folder.glob("*.key")}

    assert modes == {"signing.key": 0o600, "encryption.key": 0o600}


def test_a_new_data_folder_is_open_to_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the embedded database, and messages are not encrypted."""
    monkeypatch.setenv("TOCSIN_DATA_DIR", str(tmp_path / "data"))
    before = os.umask(0o022)
    done = CliRunner().invoke(main.cli, token_arguments())
    os.umask(before)

    assert done.exit_code == 0
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


# Schema and migrations.


def test_the_committed_schema_is_the_exported_one(tmp_path: Path) -> None:
    assert run(tmp_path, "export-schema").stdout == (ROOT / "schema" / "schema.graphql").read_text()


def test_migrating_prints_the_revision_and_may_be_repeated(tmp_path: Path) -> None:
    folder = tmp_path / "data"

    assert [run(folder, "migrate").stdout for _ in range(2)] == [f"{migrations.newest()}\n"] * 2


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    run(folder, "migrate")
    set_revision(folder, "9999")

    for command in ("serve", "migrate"):
        sentence = complaint(run(folder, command))
        assert sentence.startswith("The database is at revision 9999, which is newer than this server")


def set_revision(folder: Path, revision: str) -> None:
    with closing(sqlite3.connect(folder / "tocsin.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", [revision])


# What is wrong where it runs.


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = complaint(run(tmp_path / "data", "serve", port=str(port)))

    assert sentence.startswith(f"Cannot listen on 127.0.0.1:{port}: Address already in use")
    assert "TOCSIN_PORT" in sentence


def test_a_second_server_on_an_embedded_database_is_refused(serve: Callable[..., ServerProcess]) -> None:
    server = serve()

    sentence = complaint(run(server.folder, "serve"))

    assert sentence.startswith(f"A server runs on {server.folder} already.")


def test_a_key_file_that_holds_no_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "encryption.key").write_text("garbage")

    assert "encryption.key is not a key" in complaint(run(tmp_path, "serve"))


@pytest.mark.parametrize("command", [["serve"], ["migrate"], token_arguments()], ids=lambda command: command[0])
def test_a_data_folder_that_cannot_be_is_named(command: list[str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    sentence = complaint(run(file / "data", *command))

    assert sentence.startswith(f"The data folder {file / 'data'} cannot be used: Not a directory.")
    assert "TOCSIN_DATA_DIR" in sentence


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_folder_that_is_read_only_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    assert "Permission denied" in complaint(run(tmp_path / "data", "serve"))


@pytest.mark.parametrize("address", ["sqlite:///{folder}/missing/tocsin.db", "postgresql://user:hunter2@127.0.0.1:1/x"])
def test_a_database_that_cannot_be_opened_is_named(address: str, tmp_path: Path) -> None:
    ended = run(tmp_path / "data", "serve", database_url=address.format(folder=tmp_path))

    assert complaint(ended) == "The database cannot be opened. TOCSIN_DATABASE_URL says where it is."


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "tocsin.db").write_text("something else entirely")

    assert complaint(run(tmp_path, "migrate")) == "The database cannot be opened. TOCSIN_DATABASE_URL says where it is."


# Settings.


def test_every_wrong_setting_is_named_at_once(tmp_path: Path) -> None:
    """Each in a line of its own, without its value, which may be a secret."""
    wrong = {
        "port": "abc",
        "encryption_key": "hunter2",
        "signing_key": "hunter2",
        "database_url": "mysql://user:hunter2@host/x",
        "broadcast_url": "redis://:hunter2@host:port",
        "dispatch_retry_schedule": "-1,hunter2",
        "dispatch_allow_networks": "10.0.0.1/8,hunter2",
        "dispatch_timeout": "0",
        "apprise_allow": "json,json://hunter2",
        "allowed_origins": "https://user:hunter2@app.example",
        "log_level": "loud",
        "mark_read_on_fetch": "perhaps",
    }

    ended = run(tmp_path, "serve", **wrong)

    lines = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (2, "")
    assert sorted(line.partition(":")[0] for line in lines) == sorted(f"TOCSIN_{name.upper()}" for name in wrong)
    assert all(re.fullmatch(r"\w+: .+\.", line) for line in lines)
    assert "hunter2" not in ended.stderr


@pytest.mark.parametrize("address", ["", "nonsense", "postgresql://user:hunter2@host:port/x"])
def test_an_address_that_is_none_is_a_wrong_setting(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOCSIN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TOCSIN_DATABASE_URL", address)

    done = CliRunner().invoke(main.cli, ["migrate"])

    assert done.exit_code == 2
    assert done.stderr == "TOCSIN_DATABASE_URL: must be a sqlite:/// or a postgresql:// address.\n"


def test_an_unknown_setting_is_warned_of_and_passed_over(tmp_path: Path) -> None:
    ended = run(tmp_path / "data", "migrate", prot="8000", wholly_other="1")

    assert ended.returncode == 0
    assert ended.stderr.splitlines() == [
        "Unknown setting TOCSIN_PROT: did you mean TOCSIN_PORT?",
        "Unknown setting TOCSIN_WHOLLY_OTHER.",
    ]
    assert ended.stdout == f"{migrations.newest()}\n"


# A running server.


async def test_it_says_where_it_listens_and_nothing_else_and_ends_when_it_is_told(
    serve: Callable[..., ServerProcess],
) -> None:
    """A page that is open learns that the server restarts: 1012 makes its client come back."""
    server = serve()
    async with server.client("user1", Role.USER).subscription(LIVE) as screen:
        asked_at = time.monotonic()
        code, closed = await asyncio.gather(asyncio.to_thread(server.terminate), screen.closed())

    assert time.monotonic() - asked_at < SHUTDOWN_SECONDS
    assert code == 0
    assert closed[0] == 1012
    assert server.output == f"Tocsin listens. GraphiQL: {server.url}/graphql\n"
    assert server.log == ""


async def test_a_token_to_start_with_is_printed_when_it_is_asked_for(serve: Callable[..., ServerProcess]) -> None:
    """In the fragment of the address, which browsers keep to themselves, and once more to be copied."""
    server = serve("--with-token")
    assert server.terminate() == 0

    first, second = server.output.splitlines()
    address, _, token = first.partition("#token=")
    assert address == f"Tocsin listens. GraphiQL: {server.url}/graphql"
    assert second.endswith(f" {token}")
    server.start()
    viewer = (await Client(server.url, token).ask(VIEWER))["viewer"]
    assert viewer == {"userId": "admin", "domainId": "default", "role": "DOMAIN_ADMIN"}
    assert token not in server.log


def test_probes_tell_a_server_that_lives_from_one_that_is_ready(serve: Callable[..., ServerProcess]) -> None:
    server = serve()
    parts = httpx.get(f"{server.url}/readyz", trust_env=False).json()
    names = ("database", "migrations", "hub", "fanout", "heads", "revocations", "sweep", "alerts", "worker")
    assert parts == dict.fromkeys(names, "ok")

    set_revision(server.folder, "9999")

    assert status(f"{server.url}/healthz") == (200, "ok")
    code, text = status(f"{server.url}/readyz")
    assert code == 503
    assert "not at the newest revision" in text
