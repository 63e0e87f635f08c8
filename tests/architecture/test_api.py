"""The public API is documented."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import pmbench

TEXT = (Path(pmbench.__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| .*\S.* \|$", TEXT, re.MULTILINE)
VALUES = {"__version__", "Terms", "TEACHERS"}  # values and aliases have no docstring


def test_reference_has_one_row_per_exported_name() -> None:
    assert sorted(ROWS) == pmbench.__all__


@pytest.mark.parametrize("name", sorted(set(pmbench.__all__) - VALUES))
def test_exported_names_have_docstrings(name: str) -> None:
    assert inspect.getdoc(getattr(pmbench, name))
