"""`local/<name>`: a user's own recordings as a data set without a plugin.

`table` reads the list of samples, `reading` says how files become samples, `guess` derives that from the
files, `describe` reads what the user wrote in `dataset.toml`, and `dataset` puts them together.

May import: pmbench as plugins do.
"""

from .dataset import Local

__all__ = ["Local"]
