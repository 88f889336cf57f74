"""The library Apprise as this server uses it: which of its services, and one message through one of them. It blocks.

Its URLs are written by callers, so they decide less here than the library lets them: not which files are read, where a
redirect leads, how long or how often something is tried, or that a failure passes for a success.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import apprise
from apprise import plugins
from apprise.manager_attachment import AttachmentManager
from apprise.manager_plugins import NotificationManager
from apprise.plugins import NotifyBase
from requests.utils import get_environ_proxies

from dispatch import message as messages
from dispatch.message import Message
from dispatch.network import Blocked
from dispatch.plugins import Result
from dispatch.redaction import Redactor
from storage.models import AttemptOutcome, NotificationType

ASSET = apprise.AppriseAsset(
    app_id="Tocsin",
    app_desc="Tocsin",
    async_mode=False,  # in the thread that asks, which is guarded
    http_redirects=False,
    service_timeout=0,  # the worker's deadline holds
    default_service_retry=0,  # and its retries
)
KINDS = {
    NotificationType.INFO: apprise.NotifyType.INFO,
    NotificationType.SUCCESS: apprise.NotifyType.SUCCESS,
    NotificationType.WARNING: apprise.NotifyType.WARNING,
    NotificationType.ERROR: apprise.NotifyType.FAILURE,
}
ROOM = 2  # times as long as what a service takes: half of a text may be backslashes, which go when it is converted
UNGUARDED = frozenset({"mqtt", "mqtts", "xmpp", "xmpps"})  # connect in threads of their own, where no guard stands

# Of every address in a service's source, its host; what is put together while running shows as a bracket, or as none.
ADDRESS = re.compile(r"""\bhttps?://([^/\s"'`)>,]*)""", re.IGNORECASE)
PLACEHOLDER = re.compile(r"[{%]|^$")

UNKNOWN = "This is no URL of a service that Apprise knows, or something is missing in it."
PROXIED = "Services of this kind are not reached through a proxy: where that connects to, nobody judges."
NOT_ALLOWED = "The operator has not allowed services of this kind, which reach any host, or this machine itself."

# What it logs holds addresses, and these hold tokens: nobody reads it but `_reason`.
logging.getLogger("apprise").disabled = True
logging.getLogger("urllib3").setLevel(logging.ERROR)

# Templates and key files are attachments to the library: a URL could name any file of this machine, or any address.
AttachmentManager().remove(*AttachmentManager().schemas())


class NoService(Exception):
    """A URL that leads to no service. The text is for people, and holds nothing of the URL."""

    def __init__(self, text: str, outcome: AttemptOutcome) -> None:
        super().__init__(text)
        self.outcome = outcome


def send(
    url: str, message: Message, *, notification_type: NotificationType, allow: Collection[str], timeout: float
) -> Result:
    """`timeout` is in seconds, for each step of a request."""
    try:
        service = _service(url, allow, timeout)
    except NoService as error:
        return Result(error.outcome, error=str(error))
    notifier = apprise.Apprise(asset=ASSET)
    notifier.add(service)
    answer = notifier.notify(notify_type=KINDS[notification_type], **_rendered(message, service))
    if answer:
        return Result(AttemptOutcome.OK)
    return Result(AttemptOutcome.RETRY, error=Redactor([url]).redact(_reason(answer)))


def fault(url: str, *, allow: Collection[str], refuses: Callable[[str], bool]) -> str | None:
    """What can be seen to be wrong with a URL; None: nothing."""
    try:
        service = _service(url, allow)
    except NoService as error:
        return str(error)
    return str(Blocked()) if _takes_host(type(service)) and refuses(service.host) else None


@functools.cache
def fixed() -> frozenset[str]:
    """The schemas of services that are reached at addresses of their own. Where others lead, nobody knows."""
    return frozenset(schema for service in NotificationManager().plugins() for schema in _fixed_schemas(service))


def _fixed_schemas(service: type[NotifyBase]) -> Collection[str]:
    if service.secure_protocol is None or _takes_host(service) or not _names_its_hosts(service):
        return ()
    schemas: str | Collection[str] = service.secure_protocol
    return (schemas,) if isinstance(schemas, str) else schemas


def _takes_host(service: type[NotifyBase]) -> bool:
    templates: Collection[str] = service.templates
    return "host" in service.template_tokens or any("{host}" in template for template in templates)


def _names_its_hosts(service: type[NotifyBase]) -> bool:
    """Whether it is one file that speaks HTTP, with every address in it spelled out as far as the path."""
    module = sys.modules[service.__module__]
    file = getattr(module, "__file__", None)
    if file is None or hasattr(module, "__path__") or module.__package__ != plugins.__name__:
        return False
    hosts = ADDRESS.findall(Path(file).read_text("utf-8")) if hasattr(module, "requests") else []
    return bool(hosts) and not any(map(PLACEHOLDER.search, hosts))


def _service(url: str, allow: Collection[str], timeout: float = 0.0) -> NotifyBase:
    """Raises NoService."""
    parsed = _parsed(url)
    if parsed is None:
        raise NoService(UNKNOWN, AttemptOutcome.REFUSED)
    schema = parsed["schema"]
    if schema in UNGUARDED or (schema not in allow and schema not in fixed()):
        raise NoService(NOT_ALLOWED, AttemptOutcome.BLOCKED)
    service = apprise.Apprise.instantiate({"overflow": "truncate", **parsed}, asset=ASSET)
    if service is None:
        raise NoService(UNKNOWN, AttemptOutcome.REFUSED)
    if schema not in fixed() and _is_proxied(service.host):
        raise NoService(PROXIED, AttemptOutcome.BLOCKED)
    return _held(service, timeout)


def _is_proxied(host: str) -> bool:
    """Whether the environment names a proxy for it, which the library's HTTP client obeys."""
    return any(get_environ_proxies(f"{scheme}://{host}/") for scheme in ("http", "https"))


def _parsed(url: str) -> dict[str, Any] | None:
    try:
        parsed: dict[str, Any] | None = plugins.url_to_dict(url)
    except Exception:  # a parser of somebody else's, for what somebody else wrote
        return None
    return parsed


def _held(service: NotifyBase, timeout: float) -> NotifyBase:
    """The service without what its URL says about how it is sent, and with a logger that ends in its answer."""
    service.logger = logging.Logger("apprise", logging.WARNING)
    service.logger.addHandler(logging.NullHandler())
    service.redirects = False
    service.retry = 0
    service.optional = False
    service.persistent_storage = False
    service.request_rate_per_sec = 0.0  # waiting would hold the thread: the worker says how much is sent at once
    service.socket_connect_timeout = service.socket_read_timeout = timeout
    return service


def _rendered(message: Message, service: NotifyBase) -> dict[str, Any]:
    """The message in the form that the service takes best."""
    if service.title_maxlen <= 0:  # the library would put the title into the body, unescaped
        message = replace(message, title="", description=f"{message.title}\n\n{message.description}".strip())
    if service.resolve_format(apprise.NotifyFormat.MARKDOWN) is apprise.NotifyFormat.TEXT:
        body, body_format = messages.as_text(message), apprise.NotifyFormat.TEXT
    else:
        body, body_format = messages.as_markdown(message), apprise.NotifyFormat.MARKDOWN
    longest = ROOM * service.body_maxlen  # the library cuts what it has converted, which takes long of what is long
    return {
        "title": message.title if body else "",
        "body": (body or message.title)[:longest],
        "body_format": body_format,
    }


def _reason(answer: apprise.AppriseResult) -> str:
    """What the library logged last of what it did: its answer itself is a yes or a no."""
    lines = [entry.message for result in answer for attempt in result for entry in attempt]
    return lines[-1] if lines else "The service did not take the message."
