"""Video with audio privileged: emotions of actors (CREMA-D, RAVDESS), events seen and heard (AVE)."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm

from .ave import Ave
from .cremad import CremaD
from .demos import AveDemo, CremaDDemo, RavdessDemo
from .ravdess import Ravdess


@pm.hookimpl
def pmbench_datasets() -> Iterable[pm.Dataset]:
    return (CremaD(), Ravdess(), Ave(), CremaDDemo(), RavdessDemo(), AveDemo())
