"""Optional packages."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import UsageError


def extra(module: str, name: str) -> Any:
    """Import `module`; raises UsageError that names the extra of pmbench which installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"this data needs the package {module!r}, which cannot be imported: {error}",
            f"pip install 'pmbench[{name}]'",
        ) from error
