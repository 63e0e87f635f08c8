"""A run, from a request to records.

`request` names cells, `plan` expands them to cells and a graph of stages, `estimate` says how long these
take, `queue` orders the graph, `coordinator` gives tasks to an executor (`executors`) whose processes carry
them out (`worker`), evaluates and scores; of identical commands one does so (`joining`). `recording` makes
the records, with their `provenance`; `listeners` tells plugins of epochs and records. `session` does all
this for the command line and for `api`, which is `pmbench.run(...)` and `pmbench.plan(...)` in Python.
`tuning` chooses options on validation data. `publishing` makes a submission of results, `new_repository` a
repository for those of many authors from the files in `repository`, `referee` verifies those of others.
`model` writes trained models, `exports` results and data in the forms of others.

May import: all rooms but testing, builtin and cli.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..report.results import Results


class _Room(ModuleType):
    """The class of this module: `pmbench.run` is a package, and a call of it is one of `api.run`."""

    @property
    def __call__(self) -> Callable[..., Results]:
        from .api import run

        return run

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.__call__)


sys.modules[__name__].__class__ = _Room
