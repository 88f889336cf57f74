"""What a receiver of webhooks can tell by their signatures, as an independent verifier sees it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from dispatch.network import Network
from dispatch.plugins import DispatchRequest, Envelope, JsonObject, schemas, signatures
from dispatch.plugins.schemas import SchemaViolation
from dispatch.plugins.webhook import SECRET_SCHEMA, Webhook
from storage.models import AttemptOutcome, NotificationLevel, NotificationType
from tests.sink import Received, Sink

SPECIFICATION = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # the key of the specification's example
SEED = bytes(range(32))


def encoded(prefix: str, key: bytes) -> str:
    return prefix + base64.b64encode(key).decode()


CURRENT, PREVIOUS = encoded("whsec_", b"c" * 24), encoded("whsec_", b"p" * 64)


async def received(network: Network, sink: Sink, secret_data: JsonObject, *, attempts: int = 1) -> list[Received]:
    """What came at the sink, by as many attempts of one delivery, at this moment."""
    now = datetime.now(UTC)
    envelope = Envelope(
        delivery_id="delivery-0123456789ab",
        notification_id="notification-0123456789ab",
        domain_id="d",
        topic="monitoring.alert",
        notification_level=NotificationLevel.LV2,
        created_at=now,
        attempted_at=now,
    )
    request = DispatchRequest(
        options={},
        message={"title": "Größe"},
        notification_type=NotificationType.ERROR,
        secret_data=secret_data,
        channel_data={"url": sink.url()},
        envelope=envelope,
    )
    for _ in range(attempts):
        assert (await Webhook(network).dispatch(request)).outcome is AttemptOutcome.OK
    return sink.received


def test_the_examples_of_the_specification_hold() -> None:
    signed = signatures.header([SPECIFICATION], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_receiver_verifies_what_it_got(network: Network, sink: Sink) -> None:
    [got] = await received(network, sink, {"signingSecret": CURRENT})

    assert Verifier(CURRENT).verify(got.body, got.headers)["message"] == {"title": "Größe"}


async def test_a_message_that_was_changed_or_signed_by_another_is_told(network: Network, sink: Sink) -> None:
    [got] = await received(network, sink, {"signingSecret": CURRENT})

    for key, body, headers in (
        (PREVIOUS, got.body, got.headers),
        (CURRENT, got.body + b" ", got.headers),
        (CURRENT, got.body, {**got.headers, "webhook-id": "delivery-ba9876543210"}),
    ):
        with pytest.raises(WebhookVerificationError):
            Verifier(key).verify(body, headers)


async def test_while_a_key_is_changed_both_sign(network: Network, sink: Sink) -> None:
    [got] = await received(network, sink, {"signingSecret": CURRENT, "previousSigningSecret": PREVIOUS})

    for key in (CURRENT, PREVIOUS):
        assert Verifier(key).verify(got.body, got.headers)
    assert len(got.headers["webhook-signature"].split(" ")) == 2


async def test_the_id_is_the_same_for_each_attempt(network: Network, sink: Sink) -> None:
    got = await received(network, sink, {"signingSecret": CURRENT}, attempts=2)

    assert {each.headers["webhook-id"] for each in got} == {"delivery-0123456789ab"}


async def test_without_a_secret_nothing_is_signed(network: Network, sink: Sink) -> None:
    [got] = await received(network, sink, {})

    assert "webhook-signature" not in got.headers


@pytest.mark.parametrize(
    "key", [SEED, SEED + Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()]
)
async def test_an_ed25519_key_signs_too(network: Network, sink: Sink, key: bytes) -> None:
    [got] = await received(network, sink, {"signingSecret": encoded("whsk_", key), "previousSigningSecret": CURRENT})

    own, former = got.headers["webhook-signature"].split(" ")
    version, _, signature = own.partition(",")
    signed = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key()
    public.verify(base64.b64decode(signature), signed)
    with pytest.raises(InvalidSignature):
        public.verify(base64.b64decode(signature), signed + b" ")
    assert (version, former.partition(",")[0]) == ("v1a", "v1")
    assert Verifier(CURRENT).verify(got.body, got.headers)


@pytest.mark.parametrize("length", [24, 25, 26, 27, 32, 62, 63, 64])
def test_a_secret_has_24_to_64_bytes(length: int) -> None:
    schemas.validate({"signingSecret": encoded("whsec_", b"k" * length)}, SECRET_SCHEMA)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        CURRENT.removeprefix("whsec_"),
        encoded("whsec_", b"k" * 23),
        encoded("whsec_", b"k" * 65),
        encoded("whsec_", b"k" * 66),
        encoded("whsec_", b"k" * 25).rstrip("="),
        CURRENT[:-1],
        f"{CURRENT}\n",
        f"{CURRENT[:-1]}-",
        f" {CURRENT}",
        encoded("whsk_", b"k" * 31),
        encoded("whsk_", b"k" * 33),
        encoded("whsk_", b"k" * 63),
        encoded("whpk_", b"k" * 32),
        17,
        None,
    ],
)
@pytest.mark.parametrize("name", ["signingSecret", "previousSigningSecret"])
def test_a_malformed_secret_is_refused_with_its_place(name: str, secret: Any) -> None:
    with pytest.raises(SchemaViolation) as caught:
        schemas.validate({"signingSecret": CURRENT, name: secret}, SECRET_SCHEMA)

    assert caught.value.path == (name,)
    assert str(secret).partition("_")[2] in ("", *caught.value.message) or str(secret) not in caught.value.message


@pytest.mark.parametrize("data", [{"signingsecret": CURRENT}, {"previousSigningSecret": PREVIOUS}])
def test_a_secret_that_would_not_sign_is_refused(data: JsonObject) -> None:
    with pytest.raises(SchemaViolation):
        schemas.validate(data, SECRET_SCHEMA)
