"""What resolvers work with: the parts of one running server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dispatch.hub import Hub
from dispatch.plugins import Plugin
from resolvers.access import Revocations
from resolvers.grouping import Groups
from resolvers.logs import Logs
from storage.engine import Database
from storage.secrets import Vault

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Server:
    database: Database
    vault: Vault
    plugins: Mapping[str, Plugin]
    hub: Hub
    wake_worker: Callable[[], None]  # deliveries were committed; lost wake-ups only cost time
    wake_fanout: Callable[[], None]  # recipients were left for later chunks
    clock: Clock
    mark_read_on_fetch: bool = True
    revocations: Revocations = field(default_factory=Revocations)
    creates: Groups[Any, Any] = field(default_factory=Groups)  # of calls, and what each led to
    logs: Logs = field(default_factory=Logs, init=False)
