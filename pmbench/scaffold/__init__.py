"""Writes new plugin distributions from templates.

`templates/common` has the files of every distribution, the folder of a kind the module with its example.

May import `errors` and `files`.
"""

from .write import KINDS, distribution_of, write_plugin

__all__ = ["KINDS", "distribution_of", "write_plugin"]
