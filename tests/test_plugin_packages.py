"""A plugin of a package: the one of docs/plugins.md, installed and used as that says."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dispatch.plugins import tables
from resolvers.access import Role
from tests.client import Client
from tests.dispatch import tls
from tests.server import ROOT, ServerProcess
from tests.sink import Answer, Sink

EXAMPLE = ROOT / "tests" / "example_plugin"
GUIDE = (ROOT / "docs" / "plugins.md").read_text()
TOKEN = "a token that nobody may see"
PROTOCOL = """
    mutation ($input: CreateProtocolInput!) { createProtocol(input: $input) { protocol { protocolId } } }
"""
PLUGINS = "{ plugins { pluginId name } }"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example is installed in, by pip, out of a wheel of it."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    wheel = _wheel(tmp_path_factory.mktemp("wheel"))
    subprocess.run([*pip, "--target", folder, wheel], check=True, capture_output=True, text=True, timeout=120)
    return folder


def _wheel(folder: Path) -> Path:
    """What the example's build backend makes of it: that is not here, and nothing is downloaded for a test."""
    settings = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    project = settings["project"]
    name, version = project["name"], project["version"]
    info = f"{name}-{version}.dist-info"
    groups = "".join(
        f"[{group}]\n" + "".join(f"{entry} = {value}\n" for entry, value in entries.items())
        for group, entries in project["entry-points"].items()
    )
    contents = {
        f"{name}.py": (EXAMPLE / f"{name}.py").read_text(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": groups,
    }
    contents[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for within, text in contents.items():
            wheel.writestr(within, text)
    return path


@pytest.fixture
def server(installed: Path, serve: Callable[..., ServerProcess], monkeypatch: pytest.MonkeyPatch) -> ServerProcess:
    """A server that finds the package."""
    monkeypatch.setenv("PYTHONPATH", str(installed))
    return serve(dispatch_retry_schedule="0.1")


async def create_protocol(admin: Client, plugin_id: str, **plugin: Any) -> str:
    asked = {"name": plugin_id, "plugin": {"pluginId": plugin_id, **plugin}}
    return str((await admin.ask(PROTOCOL, input=asked))["createProtocol"]["protocol"]["protocolId"])


@pytest.mark.parametrize("name", ["pyproject.toml", "tocsin_pager.py", "check_pager.py"])
def test_the_guide_shows_the_files_of_the_example_as_they_are(name: str) -> None:
    language = name.rpartition(".")[2].replace("py", "python")

    assert f"```{language}\n{(EXAMPLE / name).read_text()}```\n" in GUIDE


async def test_the_tables_of_the_guide_are_those_that_the_plugins_make() -> None:
    """`make tables` writes them anew."""
    assert tables.written(GUIDE, await tables.tables()) == GUIDE


async def test_an_installed_plugin_delivers(server: ServerProcess, sink: Sink) -> None:
    """Through a running server, from the protocol to the far side, which takes the second attempt."""
    admin = server.client("admin", Role.DOMAIN_ADMIN)
    sink.script.append(Answer(503))
    settings = {"options": {"gateway": sink.url("/pages")}, "secretData": {"token": TOKEN}}
    pager = await create_protocol(admin, "pager", **settings)
    await admin.channel("shop", pager, {"number": "01234567"})
    created = await admin.create("identity.Project", "shop", message={"title": "Disk full"})
    delivery = await admin.settled(created["deliveries"][0]["deliveryId"])

    assert (delivery["state"], delivery["pluginId"]) == ("DELIVERED", "pager")
    assert [attempt["outcome"] for attempt in delivery["attempts"]] == ["RETRY", "OK"]
    page = {"id": delivery["deliveryId"], "number": "01234567", "text": "Disk full\n"}
    assert [received.json for received in sink.received] == [page, page]
    assert sink.received[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert {plugin["pluginId"]: plugin["name"] for plugin in (await admin.ask(PLUGINS))["plugins"]}["pager"] == "Pager"
    assert TOKEN not in server.log


def test_it_passes_the_conformance_suite(installed: Path, tmp_path: Path) -> None:
    """As who writes a plugin runs that."""
    # One authority: reading all those of the system for every test would take most of the time.
    changed = {"PYTHONPATH": str(installed), "SSL_CERT_FILE": str(tls.certificate(tmp_path, "localhost"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE / "check_pager.py"],
        cwd=ROOT,
        env={**os.environ, **changed},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
