"""The generated reference: every hook, command, option and member of a contract has a text."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import pmbench

DOCS = Path(pmbench.__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(generate: ModuleType) -> dict[str, str]:
    return generate.pages()


def test_nothing_is_undocumented(generate: ModuleType) -> None:
    assert generate.undocumented() == []


def test_the_check_sees_what_is_missing(generate: ModuleType) -> None:
    class Silent:
        """A class."""

        weight: float = 1.0
        told: int = 0
        """How often."""

        def quiet(self) -> None: ...

    found = dict(generate.members(Silent))
    assert found == {"weight": "", "told": "How often.", "quiet": ""}


def test_the_pages_have_every_public_name(generate: ModuleType, pages: dict[str, str]) -> None:
    text = "\n".join(pages.values())
    headed = set(re.findall(r"^## (\S+)$", text, re.MULTILINE))
    missing = set(pmbench.__all__) - headed - {"__version__", "media", "Terms", "TEACHERS"}
    assert not missing
    for path, command in generate.commands():
        assert f"## {' '.join(path)}\n" in pages["cli.md"]
        for option in (o for p in command.params if p.name != "help" for o in p.opts if o.startswith("--")):
            assert option in pages["cli.md"]
    for name in ("kd", "hoffman", "self_distill"):
        assert f"## {name}\n" in pages["methods.md"]
    for name in ("hapt", "planted"):
        assert f"## {name}\n" in pages["datasets.md"]
        assert f"## {name}\n" in pages["protocols.md"]
    assert "`mlp-8`" in pages["backbones.md"]
    assert "| `accuracy` | accuracy | `predicted` | higher | Top-1: correct / all. |" in pages["metrics.md"]
    assert "|  |\n" not in pages["metrics.md"], "a metric has no meaning"
    assert "| `cell_key` |" in pages["records.md"]


def test_every_page_is_in_the_table_of_contents(pages: dict[str, str]) -> None:
    listed = set(re.findall(r"^([\w/-]+)$", (DOCS / "index.md").read_text(encoding="utf-8"), re.MULTILINE))
    written = {p.stem for kind in ("*.md", "*.ipynb") for p in DOCS.glob(kind)} - {"index"}
    assert listed == written | {f"reference/{path.removesuffix('.md')}" for path in pages}


LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """In the repository, too, which has no generated pages."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://", "#")):
            continue
        path = target.partition("#")[0]
        assert not path.startswith("reference/"), target
        assert (page.parent / path).exists(), target
