"""The command line: one small file per command.

May import: all rooms but builtin. Nothing imports it.
"""

from .app import main

__all__ = ["main"]
