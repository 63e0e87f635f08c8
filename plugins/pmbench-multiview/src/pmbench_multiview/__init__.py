"""Actions seen from several sides: colour at test, depth besides in training."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm

from .demos import NwUclaDemo, Uwa3dDemo
from .nwucla import NwUcla
from .uwa3d import Uwa3d

__all__ = ["NwUcla", "Uwa3d"]


@pm.hookimpl
def pmbench_datasets() -> Iterable[pm.Dataset]:
    return (NwUcla(), Uwa3d(), NwUclaDemo(), Uwa3dDemo())
