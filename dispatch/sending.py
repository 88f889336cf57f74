"""Sending one delivery through its plugin: what the plugin is given, within which time, and what is kept of its answer.

It writes nothing: what came of it is for the worker to judge and to record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dispatch.plugins import DispatchRequest, Envelope, JsonObject, Plugin, Result, Splitting
from dispatch.redaction import Redactor, strings
from storage.errors import WrongKey
from storage.models import AttemptOutcome
from storage.queue import Claimed
from storage.secrets import Vault

MAX_ERROR = 500  # bytes kept
MAX_EXCERPT = 20_000
KEPT_SECRETS = 256  # channels whose secrets stay opened, for the next delivery through them

Sealed = tuple[bytes | None, bytes | None]  # the protocol's secret, and the channel's data


@dataclass(frozen=True)
class Sent:
    """What came of it. `is_of_destination`: whether it says something about the channel's address."""

    result: Result
    is_of_destination: bool = True


@dataclass(frozen=True)
class _Secrets:
    secret_data: dict[str, Any]
    hidden: dict[str, Any]
    redactor: Redactor


class Sender:
    def __init__(self, plugins: Mapping[str, Plugin], vault: Vault, clock: Callable[[], datetime]) -> None:
        self._plugins = plugins
        self._vault = vault
        self._clock = clock
        self._opened: dict[Sealed, _Secrets] = {}

    async def send(self, claimed: Claimed, timeout: float) -> Sent:
        """`timeout` is in seconds."""
        plugin = self._plugins.get(claimed.delivery.plugin_id)
        if plugin is None:
            return _ours("The plugin is not installed here.")
        try:
            secrets = self._open(claimed)
            request = _to_recipient(plugin, _request(claimed, secrets, self._clock()), claimed.delivery.part)
        except WrongKey as error:
            return _ours(str(error))
        except Exception as error:
            return _ours(f"The plugin failed ({type(error).__name__}).")
        if request is None:
            gone = Result(AttemptOutcome.REFUSED, error="This recipient is no longer in the channel's data.")
            return Sent(gone, is_of_destination=False)
        result = await _call(plugin, request, timeout)
        return Sent(_presentable(result, secrets.redactor))

    def _open(self, claimed: Claimed) -> _Secrets:
        """The secrets that sending takes. Raises WrongKey."""
        assert claimed.protocol is not None
        channel = claimed.channel
        sealed = claimed.protocol.secret_data, claimed.delivery.push_data if channel is None else channel.secret_data
        if sealed not in self._opened:
            if len(self._opened) >= KEPT_SECRETS:
                self._opened.pop(next(iter(self._opened)))
            secret_data, hidden = map(self._unseal, sealed)
            self._opened[sealed] = _Secrets(secret_data, hidden, Redactor([*strings(secret_data), *strings(hidden)]))
        return self._opened[sealed]

    def _unseal(self, sealed: bytes | None) -> dict[str, Any]:
        return {} if sealed is None else self._vault.unseal(sealed)


def _ours(error: str) -> Sent:
    return Sent(Result(AttemptOutcome.RETRY, error=error), is_of_destination=False)


def _request(claimed: Claimed, secrets: _Secrets, now: datetime) -> DispatchRequest:
    delivery, content, protocol = claimed.delivery, claimed.content, claimed.protocol
    assert content is not None
    assert protocol is not None
    shown = None if claimed.channel is None else claimed.channel.data
    return DispatchRequest(
        options=protocol.options,
        message=content.message,
        notification_type=content.notification_type,
        secret_data=secrets.secret_data,
        channel_data=secrets.hidden or shown or {},
        envelope=Envelope(
            delivery_id=delivery.delivery_id,
            notification_id=delivery.notification_id,
            domain_id=delivery.domain_id,
            topic=content.topic,
            notification_level=content.notification_level,
            created_at=delivery.created_at,
            attempted_at=now,
        ),
    )


def _to_recipient(plugin: Plugin, request: DispatchRequest, part: int) -> DispatchRequest | None:
    """The request for the one recipient of this part; None where the channel has lost it since."""
    if not isinstance(plugin, Splitting):
        return request
    parts: Sequence[JsonObject] = plugin.parts(request.channel_data)
    return replace(request, channel_data=parts[part]) if part < len(parts) else None


async def _call(plugin: Plugin, request: DispatchRequest, timeout: float) -> Result:
    # Of an exception only the class is kept: its text may hold what the plugin was given.
    try:
        async with asyncio.timeout(timeout):
            result = await plugin.dispatch(request)
    except TimeoutError:
        return Result(AttemptOutcome.TIMEOUT, error="The attempt did not end in time.")
    except Exception as error:
        return Result(AttemptOutcome.RETRY, error=f"The plugin failed ({type(error).__name__}).")
    if not isinstance(result, Result):
        return Result(AttemptOutcome.RETRY, error="The plugin did not say what came of it.")
    return result


def _presentable(result: Result, redactor: Redactor) -> Result:
    """The same without secrets, and in a form that every database can hold."""
    if result.error is None and result.response_excerpt is None:
        return result
    return replace(
        result,
        error=_kept(result.error, redactor, MAX_ERROR),
        response_excerpt=_kept(result.response_excerpt, redactor, MAX_EXCERPT),
    )


def _kept(text: str | None, redactor: Redactor, longest: int) -> str | None:
    if text is None:
        return None
    storable = text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    is_cut = len(storable.encode()) >= longest  # by the plugin, or here
    return redactor.redact(storable, is_cut=is_cut).encode()[:longest].decode(errors="ignore")
