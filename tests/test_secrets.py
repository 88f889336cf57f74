"""Secrets are planted in every place that takes one, and sought in everything that a server wrote, kept and answered.

The far sides send back whatever they are sent, a plugin spills whatever it is given, and callers are refused with
secrets in their hands. What callers say in public is sought too, and has to be found.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import grpc
import httpx
import pytest
from cryptography.fernet import Fernet
from sqlalchemy import make_url
from websockets.exceptions import ConnectionClosed

from resolvers.access import Role
from storage.secrets import MASK
from tests import spill
from tests.client import Client, eventually
from tests.dispatch import tls
from tests.dispatch.spaceone_plugin import GOOD_KEY, Failure, SpaceOnePlugin
from tests.mailbox import Behaviour, Mailbox
from tests.markers import Markers
from tests.server import ServerProcess
from tests.sink import Echo, Sink
from tests.tap import Tap
from tests.valkey import Valkey

PROTOCOL = """
    mutation ($input: CreateProtocolInput!) {
      createProtocol(input: $input) { protocol { protocolId options secretData } }
    }
"""
UPDATE = """
    mutation ($input: UpdateProtocolPluginInput!) { updateProtocolPlugin(input: $input) { protocol { secretData } } }
"""
VERIFY = "mutation ($id: ID!) { verifyProtocol(protocolId: $id) { ok detail } }"
CHANNEL = """
    mutation ($input: CreateProjectChannelInput!) {
      createProjectChannel(input: $input) { projectChannel { projectChannelId data } }
    }
"""
PUSH = """
    mutation ($input: PushNotificationInput!) { pushNotification(input: $input) { delivery { deliveryId } } }
"""
TEST = "mutation ($id: ID!) { testChannel(channelId: $id) { delivery { deliveryId } } }"
EVERYTHING = """
    {
      protocols { nodes { name options secretData tags dataSchema } }
      projectChannels { nodes { name data tags } }
      notifications { nodes { message decisions { detail } } }
      deliveries(first: 100) { nodes { state detail attempts { outcome error responseExcerpt } } }
      plugins { pluginId dataSchema optionsSchema secretSchema }
    }
"""
WATCH = "subscription { deliveryUpdated { state detail attempts { error responseExcerpt } } }"
BROADCAST_PASSWORD = "password of the broadcast server"
USER = "tocsin"
REPEATED = "What was said:"  # by the mail server and by the SpaceONE plugin
TITLES = ["raise", "nonsense", "refuse", "take"]  # what the plugin that spills is told to do

HERE = "<the secret>"
REFUSED_SECRETS: list[tuple[str, object]] = [
    ("spill", HERE),
    ("spill", [HERE]),
    ("spill", {"token": {"deep": HERE}}),
    ("spill", {"token": "four", "other": HERE}),
    ("webhook", {"signingSecret": HERE}),
    ("email", {"password": HERE}),
    ("spaceone", {"access_key": HERE}),
]
REFUSED_DATA: list[tuple[str, object]] = [
    ("spill", HERE),
    ("spill", {"code": [HERE]}),
    ("spill", {"code": f"lost {HERE}"}),
    ("webhook", {"url": HERE}),
    ("webhook", {"url": f"https://me:{HERE}@hooks.example.com"}),
    ("webhook", {"url": "https://hooks.example.com", "headers": HERE}),
    ("webhook", {"url": "https://hooks.example.com", "headers": {"X-Key": f"{HERE}\n"}}),
    ("apprise", {"url": f"nonsense://{HERE}"}),
    ("apprise", {"url": f"xmls://me:{HERE}@example.com"}),
    ("spaceone", {"phone_number": "0123456", "token": [HERE]}),
]
REFUSED_DOCUMENTS = [
    f'mutation {{ createProtocol(input: {{name: "n", plugin: {{pluginId: "spill", secretData: "{HERE} }}}}) {{ x }} }}',
    f'mutation {{ createProtocol(input: {{name: "n", plugin: "{HERE}"}}) {{ protocol {{ name }} }} }}',
    f'mutation {{ createProtocol(input: {{name: ["{HERE}"], plugin: {{pluginId: "x"}}}}) {{ protocol {{ name }} }} }}',
    f'{{ notifications(first: "{HERE}") {{ totalCount }} }}',
    f'{{ delivery(deliveryId: {{token: "{HERE}"}}) {{ state }} }}',
]


@dataclass(frozen=True)
class Scene:
    """A server, reached over a line that is tapped, and all that is planted in it."""

    server: ServerProcess
    admin: Client
    markers: Markers
    sink: Sink
    mailbox: Mailbox
    password: str  # of the mailbox
    spaceone: SpaceOnePlugin
    answers: Tap
    signals: Tap
    database_url: str

    async def protocol(self, plugin: str, **settings: Any) -> str:
        asked = {"name": plugin, "plugin": {"pluginId": plugin, **settings}}
        made = (await self.admin.ask(PROTOCOL, input=asked))["createProtocol"]["protocol"]
        assert made["secretData"] == (MASK if "secretData" in settings else None)
        return str(made["protocolId"])

    async def channel(self, protocol: str, data: object) -> str:
        asked = {"projectId": "p1", "protocolId": protocol, "name": "a channel", "data": data}
        made = await self.admin.ask(CHANNEL, input=asked)
        return str(made["createProjectChannel"]["projectChannel"]["projectChannelId"])

    async def refused(self, query: str, **variables: object) -> None:
        await self.posted(json.dumps({"query": query, "variables": variables}).encode())

    async def posted(self, body: bytes, *, token: str | None = None) -> None:
        """Whatever it is, it must bring an error, and not one of the server's own."""
        bearer = {"Authorization": f"Bearer {token or self.admin.token}"}
        headers = {"content-type": "application/json", **bearer}
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            answer = await client.post(f"{self.admin.url}/graphql", headers=headers, content=body)
        [error] = answer.json()["errors"]
        assert error["extensions"]["code"] != "INTERNAL", error


@pytest.fixture
async def scene(
    serve: Callable[..., ServerProcess], database_url: str, sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    markers, url = Markers(), make_url(database_url)
    spill.install(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    if url.get_backend_name() == "postgresql":
        url = url.set(password=markers.plant("password of the database"))
    password = markers.plant("password of a mail server")
    certificate = tls.certificate(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with AsyncExitStack() as open_ends:
        signals, broadcast_url = await open_ends.enter_async_context(_signals(markers.plain(BROADCAST_PASSWORD)))
        mailbox = await open_ends.enter_async_context(
            Mailbox(starttls=tls.serving(certificate), users={USER: password})
        )
        spaceone = await open_ends.enter_async_context(SpaceOnePlugin(data_type="SECRET"))
        server = await asyncio.to_thread(
            serve,
            log_level="debug",
            database_url=url.render_as_string(hide_password=False),
            broadcast_url=broadcast_url,
            dispatch_retry_schedule="0.05",
            apprise_allow="json",
            **_keys(tmp_path / "data-0", markers),
        )
        async with Tap(int(server.url.rpartition(":")[2])) as answers:
            admin = replace(server.client("admin", Role.DOMAIN_ADMIN), url=answers.url)
            markers.known("token", admin.token.rpartition(".")[2])
            yield Scene(server, admin, markers, sink, mailbox, password, spaceone, answers, signals, database_url)


@asynccontextmanager
async def _signals(password: str) -> AsyncIterator[tuple[Tap, str]]:
    """A broadcast server behind a tapped line, and the URL that leads there."""
    with Valkey() as valkey:
        valkey.require(password)
        async with Tap(valkey.port) as tap:
            yield tap, f"redis://:{password}@127.0.0.1:{tap.port}"


def _keys(folder: Path, markers: Markers) -> dict[str, str]:
    """Given as settings; tests sign their tokens with what is in the folder."""
    keys = {name: Fernet.generate_key().decode() for name in ("encryption_key", "signing_key")}
    for name, key in keys.items():
        markers.known(name, key.rstrip("="))
    folder.mkdir()
    (folder / "signing.key").write_text(keys["signing_key"])
    return keys


async def _plant(scene: Scene) -> dict[str, str]:
    """Secrets in every place of protocols and channels that takes one. The protocols, by plugin."""
    plant, port = scene.markers.plant, scene.sink.port
    deep = {"list": [plant("deep in a protocol secret")]}
    signing = base64.b64encode(scene.markers.plain("signing secret").encode()).decode()
    mail = {"host": "localhost", "port": scene.mailbox.port, "from": "tocsin@example.com"}
    login = {"username": USER, "password": scene.password}
    pager, pin = {"endpoint": scene.spaceone.endpoint()}, plant("protocol secret of a SpaceONE plugin")
    token = plant("channel data of a SpaceONE plugin")
    made = {
        "spill": await scene.protocol("spill", secretData={"token": plant("protocol secret"), "deep": deep}),
        "webhook": await scene.protocol("webhook", secretData={"signingSecret": f"whsec_{signing}"}),
        "email": await scene.protocol("email", options=mail, secretData=login),
        "apprise": await scene.protocol("apprise"),
        "spaceone": await scene.protocol("spaceone", options=pager, secretData={"access_key": GOOD_KEY, "pin": pin}),
    }
    wrong = {"pluginId": "spaceone", "options": pager, "secretData": {"access_key": plant("wrong key")}}
    await scene.refused(PROTOCOL, input={"name": "wrong", "plugin": wrong})
    scene.mailbox.behaviour = Behaviour(data=f"451 {REPEATED} {_spelled(scene.password)}")
    scene.spaceone.otherwise = Failure(grpc.StatusCode.INTERNAL, f"{REPEATED} {_spelled(pin)} {_spelled(token)}")
    basic = base64.b64encode(f"tocsin:{plant('password in a header')}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "X-Key": plant("key in a header")}
    service = f"json://{USER}:{scene.markers.plain('password in an Apprise URL')}@127.0.0.1:{port}/"
    data: dict[str, object] = {
        "spill": {"code": plant("channel data"), "deep": [plant("deep in channel data")]},
        "webhook": {"url": scene.sink.url(), "headers": headers},
        "email": {"to": ["somebody@example.com"]},
        "apprise": {"url": service},
        "spaceone": {"phone_number": "0123456", "token": token},
    }
    for plugin, protocol in made.items():
        channel = await scene.channel(protocol, data[plugin])
        await scene.admin.ask(TEST, id=channel)
    return made


async def _change(scene: Scene, spilling: str) -> None:
    """The secret is verified, replaced, and replaced by what is refused."""
    verified = (await scene.admin.ask(VERIFY, id=spilling))["verifyProtocol"]
    assert (verified["ok"], MASK in verified["detail"]) == (True, True)
    changed = {"protocolId": spilling, "secretData": {"token": scene.markers.plant("changed protocol secret")}}
    await scene.admin.ask(UPDATE, input=changed)
    for login in ("fails", "raises"):
        secret = {"token": scene.markers.plant(f"secret of a login that {login}")}
        await scene.refused(UPDATE, input={**changed, "secretData": secret, "options": {"login": login}})


async def _push(scene: Scene, protocols: dict[str, str]) -> None:
    path, key = scene.markers.plain("path of a push"), scene.markers.plain("key of a push")
    to = {
        "spill": {"code": scene.markers.plant("push data")},
        "webhook": {
            "url": scene.sink.url(f"/{path}?key={key}"),
            "headers": {"Authorization": f"Bearer {scene.markers.plant('token of a push')}"},
        },
    }
    for plugin, data in to.items():
        asked = {"protocolId": protocols[plugin], "data": data, "message": {"title": "refuse"}}
        await scene.admin.ask(PUSH, input=asked)


async def _be_refused(scene: Scene, protocols: dict[str, str]) -> None:
    """With secrets in the hand: values of wrong types, forms and places, and documents that are none."""
    plant, plain = scene.markers.plant, scene.markers.plain
    for plugin, wrong in REFUSED_SECRETS:
        secret = _filled(wrong, plant(f"refused secret: {plugin} {wrong}"))
        await scene.refused(PROTOCOL, input={"name": "wrong", "plugin": {"pluginId": plugin, "secretData": secret}})
    for plugin, wrong in REFUSED_DATA:
        data, protocol = _filled(wrong, plant(f"refused data: {plugin} {wrong}")), protocols[plugin]
        channel = {"projectId": "p1", "protocolId": protocol, "name": "wrong", "data": data}
        await scene.refused(CHANNEL, input=channel)
        await scene.refused(PUSH, input={"protocolId": protocol, "data": data, "message": {}})
    for document in REFUSED_DOCUMENTS:
        await scene.refused(document.replace(HERE, plain(f"refused: {document}")))
    await scene.posted(f'{{"query": "{{ viewer {{ userId }} }}", "variables": "{plain("half a body")}"'.encode())
    await scene.posted(b'{"query": "{ viewer { userId } }"}', token=plain("token that is none"))


async def _be_refused_a_socket(scene: Scene) -> None:
    wrong = {"name": {"secret": scene.markers.plant("name")}, "plugin": scene.markers.plant("plugin")}
    async with scene.admin.subscription(PROTOCOL, input=wrong) as screen:
        assert (await screen.receive())["type"] == "error"
    stranger = replace(scene.admin, token=scene.markers.plain("token of a socket that is none"))
    with pytest.raises(ConnectionClosed):
        async with stranger.subscription(WATCH):
            raise AssertionError("it was let in")


def _spelled(secret: str) -> str:
    return f"{secret} {quote(secret)} {base64.b64encode(secret.encode()).decode()}"


def _filled(template: object, secret: str) -> Any:
    return json.loads(json.dumps(template).replace(HERE, json.dumps(secret)[1:-1]))


async def _rows(database_url: str) -> bytes:
    """Everything in every table, as text."""
    connection = await asyncpg.connect(database_url)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [await connection.fetch(f"SELECT row_to_json(each)::text FROM {name} AS each") for (name,) in tables]
    await connection.close()
    assert len(rows) > 10
    return "\n".join(text for table in rows for (text,) in table).encode()


async def _kept(scene: Scene) -> bytes:
    """Everything that is in the database and in the data folder, but for the keys."""
    folder = scene.server.folder
    files = [path for path in [*folder.iterdir(), *folder.parent.glob("*.db*")] if path.suffix != ".key"]
    content = b"".join(path.read_bytes() for path in files)
    is_postgres = scene.database_url.startswith("postgresql")
    return content + (await _rows(scene.database_url) if is_postgres else b"")


async def test_no_secret_is_written_kept_or_answered(scene: Scene) -> None:
    public = Markers()
    scene.sink.otherwise = Echo(500)
    async with scene.admin.subscription(WATCH) as screen:
        protocols = await _plant(scene)
        await _push(scene, protocols)
        await _change(scene, protocols["spill"])
        await _be_refused(scene, protocols)
        await _be_refused_a_socket(scene)
        for title in TITLES:
            await scene.admin.create("identity.Project", "p1", message={"title": title, "text": public.plain(title)})
        await eventually(scene.admin.open_deliveries, lambda count: count == 0)
        shown = json.dumps(await scene.admin.ask(EVERYTHING))
        await screen.event()
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        assert (await client.get(f"{scene.admin.url}/readyz")).status_code == 200
    kept_before = await _kept(scene)
    assert await asyncio.to_thread(scene.server.terminate) == 0

    kept = kept_before + await _kept(scene)
    answered = bytes(scene.answers.answered)
    signalled = bytes(scene.signals.asked)
    written = scene.server.output + scene.server.log
    found = {
        "kept": scene.markers.found_in(kept),
        "answered": scene.markers.found_in(answered),
        "signalled": scene.markers.found_in(signalled) - {BROADCAST_PASSWORD},  # which is where it belongs
        "written": scene.markers.found_in(written),
    }
    assert found == {where: set() for where in found}

    # The search finds what is there, and the secrets were where they had to be.
    assert public.found_in(kept) == public.found_in(answered) == set(TITLES)
    assert b"deliver" in signalled
    assert "delivery_attempted" in written
    assert shown.count(MASK) > 20
    assert shown.count(f"{REPEATED} {MASK}") == 20  # two attempts of five messages to either
    sent = b"\n".join(repr(request).encode() for request in scene.sink.received)
    assert {"password in a header", "key in a header", "token of a push", "password in an Apprise URL"} <= (
        scene.markers.found_in(sent)
    )
