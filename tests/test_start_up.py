"""A server starts with what it uses: what only some servers need is loaded when they need it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.server import ROOT, START_DEADLINE_S, environment, run

# Starts a server, and ends it at once.
START = """
import socket, sys, main
settings = main._settings()
server = main._server(settings)
server.should_exit = True
with socket.create_server(("127.0.0.1", 0)) as listener:
    server.run(sockets=[listener])
print(*sys.modules)
"""
NEEDED_BY_SOME = {
    "redis": "another broadcast than memory://",
    "grpc": "the plugin spaceone",
    "google.protobuf": "the plugin spaceone",
    "apprise": "the plugin apprise",
    "aiosmtplib": "the plugin email",
    "aiohttp": "the first webhook",
    "alembic": "a database that is not at this version",
    "h11": "a server without httptools",
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The modules of a server with the settings of a new installation, on a database that has its tables."""
    folder = tmp_path_factory.mktemp("start-up") / "data"
    run(folder, "migrate")
    started = subprocess.run(
        [sys.executable, "-c", START],
        cwd=ROOT,
        env=environment(folder, {}),
        capture_output=True,
        text=True,
        timeout=START_DEADLINE_S,
    )
    assert started.returncode == 0, started.stderr
    return set(started.stdout.split())


@pytest.mark.parametrize("module", NEEDED_BY_SOME)
def test_a_server_starts_without_what_only_some_servers_need(loaded: set[str], module: str) -> None:
    assert module not in loaded


def test_it_has_what_makes_it_fast(loaded: set[str]) -> None:
    assert loaded >= {"uvloop", "httptools"}
