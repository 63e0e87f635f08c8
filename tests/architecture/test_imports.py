"""Imports go one way; torch comes late; the public names are there."""

from __future__ import annotations

import ast
import functools
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pmbench
from pmbench.testing import media

ROOT = Path(pmbench.__file__).parent
REPOSITORY = ROOT.parent
ROOMS = (
    "tracebacks",
    "errors",
    "files",
    "seeding",
    "arrow",
    "processes",
    "scaffold",
    "isolation",
    "contracts",
    "metrics",
    "plugins",
    "networks",
    "store",
    "media",
    "data",
    "training",
    "evaluation",
    "report",
    "run",
    "testing",
    "cli",
    "__main__",
)
"""The parts of pmbench, in the order in which they may import: only what stands before them."""
NARROW = {
    "scaffold": {"errors", "files"},
    "isolation": set(),
    "contracts": {"errors"},
    "metrics": {"errors", "contracts"},
    "networks": {"errors", "contracts"},
    "media": {"errors", "contracts"},
    "report": {"errors", "files", "contracts", "metrics"},
    "builtin": set(),
}
"""Parts that may import less, besides themselves and the public names."""


def allowed(room: str) -> set[str]:
    return {room, *NARROW.get(room, ROOMS[: ROOMS.index(room)] if room in ROOMS else ())}


@functools.cache
def imported(path: Path, package: str) -> set[str]:
    """Names of all modules that a file may import, wherever in it the statement stands, but for annotations.

    `package` is the dotted name of the package that the file is in.
    """
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    annotations = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in annotations:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            known = (REPOSITORY / Path(*base.split("."))).is_dir()
            found |= {f"{base}.{alias.name}" for alias in node.names} if known else {base}
    return found


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
PLUGINS = sorted(p for p in (REPOSITORY / "plugins").glob("*/src/*") if (p / "__init__.py").is_file())
PLUGIN_FILES = [path for plugin in PLUGINS for path in sorted(plugin.rglob("*.py"))]


HEAVY = ("torch", "lightning_fabric", "safetensors.torch", "scipy.stats", "av", "cv2", "librosa")


def package_of(name: str) -> str:
    return name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]


@pytest.mark.parametrize("name", [n for n in MODULES if n != "pmbench"])
def test_imports_go_one_way(name):
    room = name.split(".")[1]
    assert room in ROOMS or room == "builtin", f"{name}: add its room to ROOMS"
    for other in imported(MODULES[name], package_of(name)):
        public = other.removeprefix("pmbench.")
        if other.startswith("pmbench.") and (
            other in MODULES or (other.rpartition(".")[0] in MODULES and "." in public)
        ):
            assert public.split(".")[0] in allowed(room), f"{name} imports {other}"


@pytest.mark.parametrize("room", [p.name for p in sorted(ROOT.iterdir()) if (p / "__init__.py").is_file()])
def test_rooms_say_what_they_are_for(room):
    text = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8")))
    assert text, room
    if room in ROOMS:
        assert "May import" in text, f"{room}: its docstring says what it may import"


def test_nobody_imports_the_command_line():
    for name, path in MODULES.items():
        if not name.startswith(("pmbench.cli", "pmbench.__main__")):
            assert not any(
                o == "pmbench.cli" or o.startswith("pmbench.cli.") for o in imported(path, package_of(name))
            ), name


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda p: "/".join(p.parts[-2:]))
def test_plugins_use_public_names_and_no_other_plugin(path):
    own = next(plugin.name for plugin in PLUGINS if plugin in path.parents)
    package = ".".join(path.relative_to(next(p for p in PLUGINS if p in path.parents).parent).parts[:-1])
    others = {plugin.name for plugin in PLUGINS} - {own}
    public = {"pmbench", *(f"pmbench.{name}" for name in pmbench.__all__)}
    if path.name == "miniature.py":  # of tests and demos
        writers = "pmbench.testing.media"
        public |= {writers, *(f"{writers}.{name}" for name in media.__all__)}
    for other in imported(path, package):
        assert other.split(".")[0] not in others, f"{path} imports {other}"
        if other.split(".")[0] == "pmbench":
            assert other in public, f"{path} imports {other}"


def test_there_are_plugins():
    assert len(PLUGINS) >= 6


@pytest.mark.parametrize("name", MODULES)
def test_a_module_fits_its_size(name):
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda p: "/".join(p.parts[-2:]))
def test_a_module_of_a_plugin_fits_its_size(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_public_names_are_there():
    assert pmbench.__all__ == sorted(set(pmbench.__all__))
    for name in pmbench.__all__:
        value = getattr(pmbench, name)
        home = pmbench._HOME_OF.get(name)
        if home and hasattr(value, "__module__") and name != "Terms":
            assert value is getattr(importlib.import_module(f"pmbench.{home}"), name)
    assert set(pmbench.__all__) <= set(dir(pmbench))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pmbench.nothing


def test_type_checkers_see_the_same_names():
    """The names under TYPE_CHECKING are those that are imported on first use."""
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        f"{node.module}:{alias.asname or alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module
        for alias in node.names
    }
    assert seen == {f"{home}:{name}" for name, home in pmbench._HOME_OF.items()} | {"run.api:run"}


def test_light_parts_never_import_torch():
    light = [
        "pmbench",
        "pmbench.media",
        "pmbench.run.plan",
        "pmbench.plugins",
        "pmbench.cli",
        "pmbench.errors",
        "pmbench.files",
    ]
    light += [name for name in MODULES if name.startswith(("pmbench.report", "pmbench.cli"))]
    code = (
        "import importlib, sys\n"
        f"for name in {light!r}:\n"
        "    importlib.import_module(name)\n"
        f"    heavy = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "    assert not heavy, (name, heavy)\n"
        "from pmbench.plugins import load_plugins\n"
        "found = load_plugins()\n"
        "assert found.names('method') and not found.broken, found.broken\n"
        "assert 'torch' not in sys.modules, 'listing plugins imports torch'\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
