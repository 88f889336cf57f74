"""The rules of the layout, read off the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ["storage", "dispatch", "resolvers", "schema", "main"]  # each may import those before it
SOURCES = sorted(path for layer in LAYERS for path in [*ROOT.glob(f"{layer}/**/*.py"), *ROOT.glob(f"{layer}.py")])
SOURCES = [path for path in SOURCES if "node_modules" not in path.parts]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_imports_run_one_way(path: Path) -> None:
    layer = path.relative_to(ROOT).parts[0].removesuffix(".py")
    to_its_left = LAYERS[LAYERS.index(layer) + 1 :]

    imported = {module.partition(".")[0] for module in _imports(ast.parse(path.read_text()))}

    assert imported.isdisjoint({*to_its_left, "tests", "benchmarks"})


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_only_storage_writes_sql_and_only_the_hub_broadcasts(path: Path) -> None:
    imported = set(_imports(ast.parse(path.read_text())))

    if path.relative_to(ROOT).parts[0] != "storage":
        # A resolver names the session that it passes on, and nothing else of the database's libraries.
        assert {module for module in imported if module.startswith(("sqlalchemy", "sqlmodel", "alembic"))} <= {
            "sqlmodel.ext.asyncio.session"
        }
    if _name(path) != "dispatch/hub.py":
        assert "broadcaster" not in imported


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_imports_stand_at_the_top(path: Path) -> None:
    tree = ast.parse(path.read_text())

    inside = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom) and node.col_offset]

    assert inside == []


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_every_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_no_file_is_a_dumping_ground() -> None:
    names = {path.stem for path in SOURCES}

    assert names.isdisjoint({"utils", "util", "helpers", "common", "manager", "misc"})


def test_the_clock_is_read_at_the_edge_only() -> None:
    reading = {_name(path) for path in SOURCES for part in ("datetime.now(", ".utcnow(") if part in path.read_text()}

    # The default of the transport's clock, which only decides when a socket is closed.
    assert reading == {"main.py", "schema/http.py"}


def test_the_environment_is_read_in_main_only() -> None:
    assert {_name(path) for path in SOURCES if "os.environ" in path.read_text()} == {"main.py"}
