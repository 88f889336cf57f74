"""What docs/deploy shows can be used as it is: its settings, commands, options and files exist, and fit together."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml  # type: ignore[import-untyped]
from click import Command
from pydantic import ValidationError

import main

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "docs" / "deploy"
FILES = sorted(DEPLOY.iterdir())
UNITS = sorted(DEPLOY.glob("*.service"))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OURS = [name for name, service in COMPOSE["services"].items() if service["image"] == "tocsin"]
COMMANDS: dict[str, Command] = typer.main.get_command(main.cli).commands  # type: ignore[attr-defined]


def arguments_of_main(text: str) -> list[list[str]]:
    """What follows each `main.py` of a page, up to the end of its line or of its code."""
    return [
        shlex.split(found.strip()) for found in re.findall(r"main\.py((?: +[\w-][\w./-]*)+)", text.replace("\\\n", " "))
    ]


def check(arguments: list[str]) -> None:
    """A command of the command line with options that it has."""
    command, *rest = arguments
    known = {option for parameter in COMMANDS[command].params for option in parameter.opts}
    assert {each for each in rest if each.startswith("-")} <= known


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(path)
    return parser


def settings(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> main.Settings:
    for name in [name for name in os.environ if name.startswith(main.PREFIX)]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:\?\}", "secret", value))
    return main.Settings()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    named = {name.removeprefix(main.PREFIX).lower() for name in re.findall(rf"{main.PREFIX}[A-Z_]+", path.read_text())}

    assert named <= set(main.Settings.model_fields)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_command_that_is_named_exists_with_its_options(path: Path) -> None:
    for arguments in arguments_of_main(path.read_text()):
        check(arguments)


def test_the_page_names_every_file_and_no_other() -> None:
    page = (DEPLOY / "README.md").read_text()

    assert sorted(re.findall(r"^\| \[([^]]+)\]\(\1\)", page, re.MULTILINE)) == [
        path.name for path in FILES if path.name != "README.md"
    ]


# compose.yaml


def test_the_services_are_what_the_page_promises() -> None:
    assert OURS == ["server", "worker"]
    assert set(COMPOSE["services"]) == {*OURS, "postgres", "valkey"}


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_with_settings_that_are_right(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = COMPOSE["services"][name]
    python, program, *arguments = service["command"]
    assert (python, program) == (".venv/bin/python", "main.py")
    check(arguments)

    found = settings(service["environment"], monkeypatch)

    for url, port in ((found.database_url, "postgres"), (found.broadcast_url, "valkey")):
        assert re.search(r"@(\w+)", str(url)).group(1) == port  # type: ignore[union-attr]
    assert f"{found.data_dir}" in {volume.partition(":")[2] for volume in service["volumes"]}
    assert int(service["stop_grace_period"].removesuffix("s")) > main.END_SECONDS


def test_what_services_refer_to_is_declared() -> None:
    for service in COMPOSE["services"].values():
        assert {volume.partition(":")[0] for volume in service.get("volumes", [])} <= set(COMPOSE["volumes"])
        for needed, condition in service.get("depends_on", {}).items():
            assert condition["condition"] == "service_started" or "healthcheck" in COMPOSE["services"][needed]


def test_the_server_answers_on_the_port_that_is_published_and_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    server = COMPOSE["services"]["server"]
    found = settings(server["environment"], monkeypatch)

    assert found.host == "0.0.0.0"
    assert [mapping.rpartition(":")[2] for mapping in server["ports"]] == [str(found.port)]
    assert f"http://127.0.0.1:{found.port}/healthz" in server["healthcheck"]["test"][-1]


def test_the_image_holds_all_that_the_program_needs(tmp_path: Path) -> None:
    """Its files alone are copied elsewhere, and the program runs there."""
    build: dict[str, Any] = COMPOSE["services"]["server"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    for line in build["dockerfile_inline"].splitlines():
        if line.startswith("COPY"):
            _, *sources, target = [word for word in line.split() if not word.startswith("--")]
            copy(sources, tmp_path / target)

    targets = re.findall(r"RUN make (.*)", build["dockerfile_inline"])[0].split()
    assert all(
        subprocess.run(["make", "--dry-run", target], cwd=tmp_path, capture_output=True).returncode == 0
        for target in targets
    )
    exported = subprocess.run(
        [sys.executable, "main.py", "export-schema"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert "type Query {" in exported.stdout, exported.stderr


def copy(sources: list[str], target: Path) -> None:
    """As COPY does: a folder's content, or files into a folder."""
    for source in sources:
        if (ROOT / source).is_dir():
            ignored = shutil.ignore_patterns("node_modules", "__pycache__")
            shutil.copytree(ROOT / source, target, ignore=ignored, dirs_exist_ok=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, target)


# systemd


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_a_command_and_gives_it_time_to_end(path: Path) -> None:
    service = unit(path)["Service"]
    folder = service["WorkingDirectory"]

    python, program, *arguments = service["ExecStart"].split()

    assert (python, program) == (f"{folder}/.venv/bin/python", "main.py")
    check(arguments)
    assert int(service["TimeoutStopSec"]) > main.END_SECONDS
    assert unit(path)["Install"]["WantedBy"] == "multi-user.target"


def test_the_settings_of_the_units_are_right_and_name_a_folder_that_they_make(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (DEPLOY / "tocsin.env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    found = settings(given, monkeypatch)

    for path in UNITS:
        assert str(found.data_dir) == f"/var/lib/{unit(path)['Service']['StateDirectory']}"


def test_settings_that_are_not_right_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError):
        settings({"TOCSIN_BROADCAST_URL": "kafka://valkey"}, monkeypatch)


# nginx


def test_nginx_passes_on_what_sockets_need_and_waits_longer_than_their_pings() -> None:
    text = re.sub(r"#.*", "", (DEPLOY / "nginx.conf").read_text())
    [location] = re.findall(r"location / \{(.*?)\}", text, re.DOTALL)
    directives = dict(line.strip().rstrip(";").split(None, 1) for line in location.strip().splitlines()[::-1])
    headers = dict(re.findall(r"proxy_set_header (\S+) (\S+);", location))

    assert text.count("{") == text.count("}")
    assert headers == {"Host": "$http_host", "Upgrade": "$http_upgrade", "Connection": "$connection_of_tocsin"}
    assert "map $http_upgrade $connection_of_tocsin" in text
    assert f"upstream {directives['proxy_pass'].removeprefix('http://')} {{" in text
    assert "non_idempotent" not in directives["proxy_next_upstream"]
    pinged_every: float = main.Settings.model_fields["socket_timeout"].default
    assert int(directives["proxy_read_timeout"].removesuffix("s")) > 2 * pinged_every
