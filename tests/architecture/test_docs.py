"""The walks of docs/architecture.md name functions that exist, and pages show the examples that tests run."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import pmbench

REPOSITORY = Path(pmbench.__file__).parents[1]
TEXT = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMES = re.findall(r"`((?:[a-z_]+\.)+[\w.]+)`", TEXT.partition("## What holds")[0])


def resolve(name: str) -> object:
    """The object that `name` denotes below pmbench; raises where there is none."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(["pmbench", *parts[:count]]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith("pm.")])
def test_the_walk_names_what_exists(name: str) -> None:
    assert resolve(name)


def test_the_walk_has_no_step_back() -> None:
    """Each function is named once."""
    assert len(NAMES) > 30
    walks = TEXT.partition("## What holds")[0].split("\n## ")
    for walk in walks:
        named = [n for n in re.findall(r"`((?:[a-z_]+\.)+[\w.]+)`", walk) if n.count(".") >= 2]
        twice = {n for n in named if named.count(n) > 1}
        assert not twice, twice


EXAMPLES = {
    "docs/first-method.md": "pmbench_follow.py",
    "docs/python.md": "from_python.py",
    "README.md": "pmbench_follow.py",
}


@pytest.mark.parametrize("page", EXAMPLES)
def test_a_page_shows_its_example_as_it_is_run(page: str) -> None:
    code = (REPOSITORY / "docs" / "example" / EXAMPLES[page]).read_text(encoding="utf-8")
    if page == "README.md":  # without the docstring
        code = code.partition("\n\n")[2]
    assert f"```python\n{code}```" in (REPOSITORY / page).read_text(encoding="utf-8")


def test_pages_show_on_github_what_they_show_on_the_site() -> None:
    pages = [page.read_text(encoding="utf-8") for page in (REPOSITORY / "docs").glob("*.md")]
    assert not any(re.search(r"{(literal)?include}", page) for page in pages)
