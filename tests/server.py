"""Tocsin as a process of its own: any of its commands, and its server with a folder, a port and a log."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from resolvers import access
from resolvers.access import Caller, Role
from storage.keys import load_key
from tests.client import Client

ROOT = Path(__file__).parents[1]
START_DEADLINE_S = 60
STOP_DEADLINE_S = 30

FIRST_LINE = re.compile(r"Tocsin listens\. GraphiQL: (http://127\.0\.0\.1:(\d+))/graphql\S*\n")


def environment(folder: Path, settings: dict[str, str]) -> dict[str, str]:
    """This process's variables, with these settings of Tocsin and no others."""
    foreign = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    given = {"data_dir": str(folder), "port": "0", **settings}
    return foreign | {f"TOCSIN_{name.upper()}": value for name, value in given.items()}


def run(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`main.py` with these arguments, to its end."""
    return subprocess.run(
        [sys.executable, "main.py", *arguments],
        cwd=ROOT,
        env=environment(folder, settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_DEADLINE_S,
    )


class ServerProcess:
    """`main.py serve` with its data in one folder: started, ended and started again on the same port."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self.folder = folder
        self.url = ""
        self.output = ""  # what the server has printed: its first line, and the rest once it has ended
        self._arguments = arguments
        self._settings = settings
        self._log = folder.with_name(f"{folder.name}.log")
        self._process: subprocess.Popen[str] | None = None

    def start(self, **changed: str) -> None:
        """Start it, with these settings changed for good, and return once it is ready."""
        self._settings |= changed
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "main.py", "serve", *self._arguments],
                cwd=ROOT,
                env=environment(self.folder, self._settings),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.output = self._first_line(self._process)
        found = FIRST_LINE.fullmatch(self.output)
        assert found, f"the server printed {self.output!r}, and in its log:\n{self.log}"
        self.url, self._settings["port"] = found[1], found[2]
        # It listens already: the request waits until the server is there to answer it.
        ready = httpx.get(f"{self.url}/readyz", timeout=START_DEADLINE_S, trust_env=False)
        assert ready.status_code == 200, ready.text

    def kill(self) -> None:
        """End it where it stands."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """Ask it to end, and return its exit code."""
        return self._end(signal.SIGTERM)

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process, "it does not run"
        return self._process.pid

    @property
    def database_url(self) -> str:
        return self._settings.get("database_url", f"sqlite:///{self.folder / 'tocsin.db'}")

    @property
    def log(self) -> str:
        return self._log.read_text()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines of the log that tell of this event."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def token(self, user: str, role: Role, domain: str = "default") -> str:
        """As `main.py token` prints it, without the second that a process takes."""
        key = load_key(self.folder / "signing.key")
        now = datetime.now(UTC)
        return access.issue(key, Caller(domain, user, role, now + timedelta(hours=1), issued_at=now))

    def client(self, user: str, role: Role, domain: str = "default") -> Client:
        return Client(self.url, self.token(user, role, domain))

    def _first_line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout
        readable, _, _ = select.select([process.stdout], [], [], START_DEADLINE_S)
        return process.stdout.readline() if readable else ""

    def _end(self, how: signal.Signals) -> int:
        """Every end is an end: what does not follow the signal in time is killed, and the test fails."""
        process, self._process = self._process, None
        assert process, "it does not run"
        with process:  # waits, and closes the pipe
            assert process.stdout
            process.send_signal(how)
            try:
                code = process.wait(STOP_DEADLINE_S)
            finally:
                process.kill()
            self.output += process.stdout.read()
        return code
