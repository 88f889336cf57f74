"""`main.py rotate-keys` as an operator runs it: beside a server that sends, killed and begun again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cryptography.fernet import Fernet

from resolvers.access import Role
from storage.keys import KeyFile
from tests.client import Client, eventually
from tests.server import ROOT, ServerProcess, environment, run
from tests.sink import Sink

HEADER = "Bearer open-sesame"


async def _channel(admin: Client, sink: Sink) -> None:
    data = {"url": sink.url(), "headers": {"Authorization": HEADER}}
    await admin.channel("p1", await admin.protocol("webhook"), data)


async def _arrives_with_its_secret(admin: Client, sink: Sink) -> None:
    [delivery] = (await admin.create("identity.Project", "p1"))["deliveries"]
    assert (await admin.settled(delivery["deliveryId"]))["state"] == "DELIVERED"
    assert sink.received[-1].headers["authorization"] == HEADER


@contextmanager
def _rotating(server: ServerProcess) -> Iterator[None]:
    """A rotation that waits for what began before it; killed in the end."""
    command = [sys.executable, "main.py", "rotate-keys"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(server.folder, {}), stdout=subprocess.DEVNULL)
    with process:
        try:
            yield
        finally:
            process.kill()


def _said(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


async def test_a_server_goes_on_sending_while_keys_are_rotated_killed_and_rotated_to_the_end(
    serve: Callable[..., ServerProcess], sink: Sink
) -> None:
    server = serve()
    admin = server.client("admin", Role.DOMAIN_ADMIN)
    await _channel(admin, sink)
    await _arrives_with_its_secret(admin, sink)
    file = KeyFile(server.folder / "encryption.key")
    [old] = file.load()

    async def keys() -> int:
        return len(file.load())

    with _rotating(server):
        await eventually(keys, lambda count: count == 2)
        await _arrives_with_its_secret(admin, sink)
        second = run(server.folder, "rotate-keys")
        assert (second.returncode, second.stderr) == (1, "Keys are being rotated already.\n")
    assert file.load()[1:] == (old,)
    await _arrives_with_its_secret(admin, sink)

    assert _said(run(server.folder, "rotate-keys", "--grace", "0")).startswith("Secrets put")

    assert len(file.load()) == 1
    assert old not in file.load()
    await _arrives_with_its_secret(admin, sink)


async def test_keys_of_settings_are_rotated_by_naming_both(serve: Callable[..., ServerProcess], sink: Sink) -> None:
    old, new, signing = (Fernet.generate_key().decode() for _ in range(3))
    server = serve("--with-token", encryption_key=old, signing_key=signing)
    admin = Client(server.url, server.output.split("#token=")[1].strip())
    await _channel(admin, sink)

    one = run(server.folder, "rotate-keys", encryption_key=old)
    server.kill()
    both = run(server.folder, "rotate-keys", encryption_key=f"{new}, {old}")
    server.start(encryption_key=new)

    assert one.returncode == 1
    assert one.stderr.startswith("TOCSIN_ENCRYPTION_KEY holds one key.")
    assert _said(both) == "Secrets put under the newest key: 1.\n"
    await _arrives_with_its_secret(admin, sink)
    assert not KeyFile(server.folder / "encryption.key").path.exists()
    for key in (old, new, signing):
        assert key not in one.stderr + both.stdout + server.output + server.log
