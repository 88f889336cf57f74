"""The tables of docs/plugins.md, from what the built-in plugins say they need. It is never loaded by a server.

.venv/bin/python -m dispatch.plugins.tables docs/plugins.md
"""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from dispatch.network import Network
from dispatch.plugins import JsonObject, PluginInfo, apprise_services, registry

WIDTH = 120
HEADER = "| plugin | part | name | type | meaning |\n|---|---|---|---|---|"


def written(document: str, tables: Mapping[str, str]) -> str:
    """The document with each table between its two markers: `<!-- name -->` and `<!-- end of name -->`."""
    for name, table in tables.items():
        before, rest = document.split(f"<!-- {name} -->\n")
        _, after = rest.split(f"<!-- end of {name} -->\n")
        document = f"{before}<!-- {name} -->\n{table}\n<!-- end of {name} -->\n{after}"
    return document


async def tables() -> dict[str, str]:
    """Every generated table by its name."""
    network = Network([], timeout=1)
    plugins = registry.discover(network)
    infos = {plugin_id: await plugins[plugin_id].init({}) for plugin_id in sorted(registry.BUILT_IN.names)}
    await registry.close(plugins.values())
    await network.close()
    return {"plugins": _needs(infos), "apprise": _services()}


def _needs(infos: Mapping[str, PluginInfo]) -> str:
    return "\n".join([HEADER, *(row for plugin_id, info in infos.items() for row in _rows(plugin_id, info))])


def _rows(plugin_id: str, info: PluginInfo) -> list[str]:
    data = "channel data (secret)" if info.data_is_secret else "channel data"
    parts = {data: info.data_schema, "options": info.options_schema, "secret": info.secret_schema}
    rows = [f"| `{plugin_id}` | {part} | {row} |" for part, schema in parts.items() for row in _properties(schema)]
    return rows or [f"| `{plugin_id}` | | | | Takes anything, and needs nothing. |"]


def _properties(schema: JsonObject) -> list[str]:
    required = schema.get("required", ())
    return [
        f"`{name}{'' if name in required else '?'}` | {_type(property)} | {_meaning(property)}"
        for name, property in schema.get("properties", {}).items()
    ]


def _type(schema: JsonObject) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    inside = _inside(schema)
    return f"{schema.get('type', 'any')}{f' of {_type(inside)}' if inside else ''}"


def _meaning(schema: JsonObject) -> str:
    said = schema.get("description") or f"{schema['title']}."
    is_secret = schema.get("writeOnly") or _inside(schema).get("writeOnly")
    return f"{said}{' Secret.' if is_secret else ''}".replace("|", "\\|")


def _inside(schema: JsonObject) -> JsonObject:
    """What the items of a list, or the values of an object, are."""
    inside = schema.get("items", schema.get("additionalProperties"))
    return inside if isinstance(inside, dict) else {}


def _services() -> str:
    names = ", ".join(f"`{schema}`" for schema in sorted(apprise_services.fixed()))
    return textwrap.fill(names, WIDTH, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(written(path.read_text(), asyncio.run(tables())))
