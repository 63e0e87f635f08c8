"""Packages that only some data sets need."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import UsageError


def extra(module: str, name: str) -> Any:
    """The imported `module`, which the extra `name` of pmbench installs; UsageError where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"this data needs the package {module!r}, which cannot be imported: {error}",
            f"pip install 'pmbench[{name}]'",
        ) from error
