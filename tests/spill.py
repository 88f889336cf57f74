"""A plugin of somebody else's that spills whatever it is given wherever it is let: for the test that nothing keeps it.

A server finds it when the folder that `install` fills is on its path.
"""

from __future__ import annotations

import base64
import html
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import orjson

from dispatch import redaction
from dispatch.network import Network
from dispatch.plugins import DispatchRequest, JsonObject, PluginInfo, Result, Verification
from storage.models import AttemptOutcome

INFO = PluginInfo(
    name="Spill",
    data_schema={
        "type": "object",
        "properties": {"code": {"type": "string"}, "deep": {"type": "array", "items": {"type": "string"}}},
        "required": ["code"],
        "additionalProperties": False,
    },
    options_schema={"type": "object", "properties": {"login": {"enum": ["fails", "raises"]}}},
    secret_schema={
        "type": "object",
        "properties": {"token": {"type": "string", "minLength": 4}, "deep": {"type": "object"}},
        "required": ["token"],
        "additionalProperties": False,
    },
    data_is_secret=True,
)


def install(folder: Path) -> None:
    """What an installed package tells of itself."""
    about = folder / "spill-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: spill\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[tocsin.plugins]\nspill = tests.spill:Spill\n")


class Spill:
    def __init__(self, _network: Network) -> None: ...

    async def init(self, options: JsonObject) -> PluginInfo:
        return INFO

    async def verify(self, options: JsonObject, secret_data: JsonObject) -> Verification:
        if options.get("login") == "raises":
            raise PermissionError(f"no login with {secret_data}")
        return Verification(ok="login" not in options, detail=_spilled(secret_data))

    def destination(self, channel_data: JsonObject) -> str:
        if channel_data["code"].startswith("lost"):
            raise LookupError(f"nowhere: {channel_data}")
        return ""

    async def dispatch(self, request: DispatchRequest) -> Result:
        """Does what the message's title says."""
        spilled = _spilled({"secret": request.secret_data, "data": request.channel_data})
        match request.message["title"]:
            case "raise":
                raise ConnectionError(spilled)
            case "nonsense":
                return cast(Result, spilled)
            case "refuse":
                return Result(AttemptOutcome.REFUSED, error=spilled, response_excerpt=spilled)
            case _:
                return Result(AttemptOutcome.OK, response_excerpt=spilled)


def _spilled(value: Any) -> str:
    """A value in every form that a far side may have it in."""
    text = orjson.dumps(value).decode()
    spelled = [f"{secret} {quote(secret)} {html.escape(secret)}" for secret in redaction.strings(value)]
    return "\n".join([*spelled, text, base64.b64encode(text.encode()).decode()])
