"""UTD-MHAD: video at test; a wearable inertial sensor, depth and skeletons besides in training."""

from __future__ import annotations

from collections.abc import Iterable

import pmbench as pm

from .dataset import UtdMhad
from .demo import UtdMhadDemo


@pm.hookimpl
def pmbench_datasets() -> Iterable[pm.Dataset]:
    return (UtdMhad(), UtdMhadDemo())
