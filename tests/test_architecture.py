"""The shape of the program: who may import whom, who keeps which outside thing, size budgets."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MINIFY = ROOT / "minify"

# Shelves from the top: a module imports from lower shelves only, never from its neighbours.
# A folder is one room: its files may import each other unless it is a folder of variants.
SHELVES = [
    {"__main__"},
    {"cli"},
    {"pipeline", "init"},
    {"prove"},
    {"gather"},
    {"make"},
    {"building"},
    {
        "observe",
        "resolve",
        "pack",
        "verify",
        "sweep",
        "plan",
        "why",
        "analyze",
        "reports",
        "context",
    },
    {"cache", "provenance"},
    {"report"},
    {"compare", "gates", "outputs", "fleet"},
    {"runs"},
    {"names", "lock", "config", "doctor", "builder"},
    {"documents", "options"},
    {"bench"},
    {"engines"},
    {"resolvers"},
]
VARIANTS = {"reports"}
KEEPERS = {
    "click": {"cli"},
    "rich": {"cli/console.py"},
    "docker": {
        "engines/docker_api.py",
        "engines/docker_build.py",
        "engines/docker_client.py",
        "engines/docker_companions.py",
        "engines/docker_connect.py",
        "engines/docker_container.py",
        "engines/docker_context.py",
        "engines/docker_disk.py",
        "engines/docker_fetch.py",
        "engines/docker_output.py",
        "engines/docker_platform.py",
        "engines/docker_source.py",
    },
    "requests": {"engines/docker_container.py", "engines/docker_fetch.py", "imports/openapi.py"},
    "psutil": {"ready.py"},
    "subprocess": {"run.py", "probe.py"},
    "ctypes": set(),
    "jsonschema": {"config/read.py"},
    "schemathesis": {"imports/openapi.py"},
    "hypothesis": {"imports/openapi.py"},
}
# Drives may use a package of an extra, imported where it is needed.
OPTIONAL = {
    "drive_http.py": {"httpx"},
    "drive_websocket.py": {"websockets"},
    "drive_sql.py": {"psycopg", "pymysql"},
    "drive_grpc.py": {"grpc", "grpc_reflection", "google"},
}
STDLIB_ONLY = ROOT / "probes"
MAX_LINES = 400


def modules() -> list[Path]:
    return sorted(MINIFY.rglob("*.py"))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def room(path: Path) -> str:
    relative = path.relative_to(MINIFY)
    return relative.parts[0].removesuffix(".py")


def shelf(name: str) -> int | None:
    return next((n for n, names in enumerate(SHELVES) if name in names), None)


def name_of(path: Path) -> str:
    return path.relative_to(MINIFY).as_posix()


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_down(path: Path) -> None:
    mine = room(path)
    for imported in imports(path):
        parts = imported.split(".")
        if parts[0] != "minify" or len(parts) < 2 or parts[1] == mine:
            continue
        above, here = shelf(parts[1]), shelf(mine)
        if above is None:
            continue  # the lowest rooms: anybody may stand on them
        assert here is not None, f"{mine} is a lowest room and may not import {parts[1]}"
        assert above > here, f"{mine} may not import {parts[1]}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_outside_things_have_one_keeper(path: Path) -> None:
    name = name_of(path)
    for imported in imports(path):
        keepers = KEEPERS.get(imported.split(".")[0])
        if keepers is not None:
            allowed = any(name == k or name.startswith(k + "/") for k in keepers)
            assert allowed, f"{name} may not import {imported}"


def test_resolvers_do_not_know_each_other() -> None:
    """A resolver's helper files share its prefix; another resolver's are none of its business."""
    folder = MINIFY / "resolvers"
    names = {p.stem for p in folder.glob("*.py")} - {"__init__"}
    makers = {p.stem for p in folder.glob("*.py") if "def make(" in p.read_text()}
    for path in folder.glob("*.py"):
        for imported in imports(path):
            other = imported.removeprefix("minify.resolvers.")
            if other in names and other in makers:
                assert other == path.stem.partition("_")[0], f"{path.stem} imports {other}"


@pytest.mark.parametrize("path", sorted(STDLIB_ONLY.glob("*.py")), ids=lambda p: p.name)
def test_probes_stand_alone(path: Path) -> None:
    import sys

    for imported in imports(path):
        first = imported.split(".")[0]
        allowed = first in sys.stdlib_module_names or first in OPTIONAL.get(path.name, ())
        assert allowed, f"{path.name}: {imported}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


def functions() -> list[tuple[str, ast.FunctionDef]]:
    found = []
    for path in modules():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef):
                found.append((f"{name_of(path)}:{node.name}", node))
    return found


def test_functions_stay_small() -> None:
    long = {
        name: node.end_lineno - node.lineno + 1
        for name, node in functions()
        if node.end_lineno is not None and node.end_lineno - node.lineno >= 50
    }
    # Command-line functions carry a decorator per flag, which is data.
    assert {n: s for n, s in long.items() if not n.startswith("cli/")} == {}


def test_every_module_says_what_it_is() -> None:
    silent = [name_of(p) for p in modules() if not ast.get_docstring(parsed(p))]
    assert silent == []
